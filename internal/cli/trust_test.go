package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"example.org/conc/internal/testnode"
)

// stranger is an operator who has no host key on record.
func stranger(t *testing.T) (o *operator, record string) {
	t.Helper()
	o = newOperator(t, inProcess(t, testnode.Options{Dir: t.TempDir()}), "hi = remote run true\n")
	record = filepath.Join(o.home, ".ssh", "known_hosts")
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	return o, record
}

func mustContain(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("got %q, want %q in it", text, w)
		}
	}
}

func TestTrustRecordsWithYes(t *testing.T) {
	o, record := stranger(t)
	r := o.want(exitUnreachable, "deploy", "web1")
	mustContain(t, r.out+r.err, o.node.HostKey, "conc trust web1", record)

	r = o.want(exitBlocked, "trust", "web1")
	mustContain(t, r.out, "ssh-ed25519", o.node.HostKey, "new")
	mustContain(t, r.err, "nobody to ask", "trust web1 -y")
	if _, err := os.Lstat(record); err == nil {
		t.Error("got a known_hosts file, want none without a yes")
	}

	mustContain(t, o.want(exitOK, "trust", "web1", "-y").out, "recorded in "+record)
	mustContain(t, o.want(exitOK, "trust", "web1").out, "known", "every key is on record")
	o.want(exitOK, "deploy", "web1")
}

func TestTrustNeverReplacesAKey(t *testing.T) {
	o, record := stranger(t)
	other := inProcess(t, testnode.Options{Dir: t.TempDir()})
	text, err := os.ReadFile(other.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(text), " ")
	host, _, _ := strings.Cut(o.node.Addr, ":")
	old := "[" + host + "]:" + o.node.Addr[len(host)+1:] + " " + key
	if err := os.WriteFile(record, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"trust", "web1"}, {"trust", "web1", "-y"}, {"trust", "web1", "-y", "--json"}} {
		r := o.want(exitUnreachable, args...)
		mustContain(t, r.out, "CHANGED", o.node.HostKey)
		mustContain(t, r.err, "CHANGED", o.node.HostKey, record+":1", "ssh-keygen -R")
		if got, _ := os.ReadFile(record); string(got) != old {
			t.Errorf("got %q, want the record as it was", got)
		}
	}
}

func TestTrustWithAPin(t *testing.T) {
	o, record := stranger(t)
	o.write("deploy.ini", o.ini("hi = remote run true\n", map[string]string{"sshd.hostkey": o.node.HostKey}))
	mustContain(t, o.want(exitOK, "trust", "web1").out, "known", "nothing to record")
	o.write("deploy.ini", o.ini("hi = remote run true\n", map[string]string{"sshd.hostkey": "SHA256:" + strings.Repeat("A", 43)}))
	mustContain(t, o.want(exitUnreachable, "trust", "web1", "-y").err, "sshd.hostkey")
	if _, err := os.Lstat(record); err == nil {
		t.Error("got a known_hosts file, want none with a pin")
	}
}

func TestTrustJSON(t *testing.T) {
	o, record := stranger(t)
	r := o.want(exitOK, "trust", "web1", "-y", "--json")
	var got trusted
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if got.V != 1 || got.Node != "web1" || got.Recorded != record || len(got.Keys) != 1 || got.Keys[0] != (trustedKey{"ssh-ed25519", o.node.HostKey, "new", ""}) {
		t.Errorf("got %+v", got)
	}
}

func TestTrustAsksOnATerminal(t *testing.T) {
	for answer, want := range map[string]struct {
		code     int
		recorded bool
	}{
		"y\n":   {exitOK, true},
		"yes\n": {exitOK, true},
		"n\n":   {exitStopped, false},
		"\n":    {exitStopped, false},
	} {
		t.Run(strings.TrimSpace(answer), func(t *testing.T) {
			o, record := stranger(t)
			keyboard, terminal, err := pty.Open()
			if err != nil {
				t.Skip(err)
			}
			defer keyboard.Close()
			defer terminal.Close()
			if _, err := keyboard.WriteString(answer); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			p := &program{streams: Streams{In: terminal, Out: &out, Err: &errs}, env: o.env}
			if code := p.main(context.Background(), []string{"-c", filepath.Join(o.dir, "deploy.ini"), "trust", "web1"}); code != want.code {
				t.Errorf("got exit code %d, want %d\n%s%s", code, want.code, &out, &errs)
			}
			mustContain(t, errs.String(), "Compare with what the node itself says", "\n  ssh-keygen -lf ", "\nDid you compare")
			if _, err := os.Lstat(record); (err == nil) != want.recorded {
				t.Errorf("got %v, want recorded: %v", err, want.recorded)
			}
		})
	}
}
