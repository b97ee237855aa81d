package jobs

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.org/conc/config"
)

func TestTemplate(t *testing.T) {
	for _, c := range []struct{ name, text, want, said string }{
		{"a plain key", "v{{.version}}", "v1.4.2", ""},
		{"a dotted key", `port={{attr "http.port"}}`, "port=8000", ""},
		{"index", `port={{index . "http.port"}}`, "port=8000", ""},
		{"has", `{{if has "http.port"}}yes{{end}}{{if has "nope"}}no{{end}}`, "yes", ""},
		{"a secret", `{{attr "db.password"}}`, "s3cret", ""},
		{"a secret through a function", `{{attr "db.password" | printf "%.2s"}}`, "s3", ""},
		{"a value of the line", `{{.colour}} {{attr "colour"}}`, "blue blue", ""},
		{"a key with =", `{{.eq}}`, "a=b", ""},
		{"nothing to fill in", "100% plain\n", "100% plain\n", ""},
		{"a missing key", "one\n{{.nope}}\n", "", `app.in:2:2: executing "app.in" at <.nope>: map has no entry for key "nope"`},
		{"a missing dotted key", "\n\n {{attr \"no.pe\"}}", "", `app.in:3:3: executing "app.in" at <attr "no.pe">: error calling attr: web1 has no attribute "no.pe"`},
		{"a missing key by index", `{{index . "no.pe"}}`, "", `no attribute "no.pe"`},
		{"not a template", "{{.version", "", "app.in:1: unclosed action"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t, Remote)
			p.write("shop-bundle/app.in", c.text)
			words := []string{"template", "app.in", "app.conf", "colour=blue", "eq=a=b"}
			if c.said != "" {
				p.write("app.conf", "old")
				p.want(Failed, c.said, words...)
				c.want = "old"
			} else {
				p.want(OK, "", words...)
			}
			if got := p.read("app.conf"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTemplateFile(t *testing.T) {
	p := newPlace(t, Remote)
	p.write("shop-bundle/app.in", "{{.version}}")
	mode := func(want fs.FileMode) {
		t.Helper()
		if info, err := os.Lstat(p.abs("etc/app.conf")); err != nil || info.Mode() != want {
			t.Errorf("got mode %v, %v, want %v", info.Mode(), err, want)
		}
	}
	p.want(Failed, "there is no directory", "template", "app.in", "etc/app.conf")
	p.want(OK, "", "mkdir", "etc")
	p.want(OK, "", "template", "app.in", "etc/app.conf")
	mode(0o644)
	p.want(OK, "", "template", "app.in", "etc/app.conf", "mode=0600")
	mode(0o600)
	p.said = ""
	p.want(OK, "", "template", "*.in", "etc/app.conf")
	mode(0o600)
	if p.said != "unchanged" {
		t.Errorf("the same again: got note %q, want unchanged", p.said)
	}
	op := Template{Source: "app.in", Destination: "etc/app.conf"}
	if err := op.Verify(t.Context(), p.Env); err != nil {
		t.Error(err)
	}
	p.write("etc/app.conf", "other")
	if err := op.Verify(t.Context(), p.Env); err == nil {
		t.Error("Verify: got no error for other content")
	}

	// A link is replaced, not what it points to.
	target := p.write("elsewhere", "stays")
	if err := os.Remove(p.abs("etc/app.conf")); err != nil {
		t.Fatal(err)
	}
	p.link(target, "etc/app.conf")
	p.want(OK, "", "template", "app.in", "etc/app.conf")
	mode(0o644)
	if p.read("elsewhere") != "stays" {
		t.Error("wrote through the link")
	}
	p.want(Failed, "is a directory", "template", "app.in", "etc")
	if err := syscall.Mkfifo(p.abs("etc/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.run("template", "app.in", "etc/fifo"); err == nil || !strings.Contains(err.Error(), "a device or a FIFO") {
		t.Errorf("over a FIFO: got %v", err)
	}
	if err := os.Remove(p.abs("etc/fifo")); err != nil {
		t.Errorf("the FIFO is gone: %v", err)
	}
	p.want(Blocked, "there is no template", "template", "gone.in", "etc/app.conf")
	p.write("bad.in", "{{.http.port}}")
	var hinted *Error
	if err := p.run("template", "~/bad.in", "etc/app.conf"); !errors.As(err, &hinted) || hinted.Hint != `a key with a dot is written {{attr "http.port"}}` {
		t.Errorf("a dotted key as a field: got %v, want a hint", err)
	}
	p.want(Blocked, "nothing matches", "template", "gone*.in", "etc/app.conf")
	p.noLeftovers()
}

func TestTemplateAsksOnlyForSecretsThatItUses(t *testing.T) {
	p := newPlace(t, Remote)
	p.Secret = func(string) (string, error) { return "", errors.New("not sent to this node") }
	p.write("shop-bundle/app.in", "{{.version}}")
	p.want(OK, "", "template", "app.in", "app.conf")
	p.write("shop-bundle/app.in", `{{attr "db.password"}}`)
	p.want(Errored, "not sent to this node", "template", "app.in", "app.conf")
	if got := p.read("app.conf"); got != "1.4.2" {
		t.Errorf("got %q, want the old file", got)
	}
}

func TestTemplateSecrets(t *testing.T) {
	n := newPlace(t, Remote).Node
	if got := (Template{}).Secrets(n); !slices.Equal(got, []string{"db"}) {
		t.Errorf("got %q, want those of the attributes", got)
	}
	own := Template{Values: map[string]string{"k": config.SecretToken("other")}}
	if got := own.Secrets(n); got != nil {
		t.Errorf("a line that names one: got %q, want no others", got)
	}
}
