package jobs

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestUntarTwice(t *testing.T) {
	app := func(more ...member) []member {
		return append([]member{
			{name: "app-1/"},
			{name: "app-1/bin/run", body: "#!", mode: 0o755},
			{name: "app-1/lib/a.txt", body: "hello"},
			{name: "app-1/current", link: "lib/a.txt", kind: '2'},
			{name: "README", body: "read me"},
		}, more...)
	}
	setup := func(t *testing.T) *place {
		p := newPlace(t, Remote)
		p.tar("shop-bundle/app.tar", app()...)
		p.want(OK, "", "untar", "app.tar", "to=releases")
		return p
	}
	do := func(f func(name string, mode os.FileMode) error, name string, mode os.FileMode) func(*place) {
		return func(p *place) {
			if err := f(p.abs(name), mode); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	write := func(name, text string) func(*place) { return func(p *place) { p.write(name, text) } }
	remove := func(name string) func(*place) {
		return do(func(name string, _ os.FileMode) error { return os.RemoveAll(name) }, name, 0)
	}
	for _, c := range []struct {
		name   string
		change func(*place)
		status Status
		say    string // in the note, or in the error
	}{
		{"the same", func(*place) {}, OK, "already there, unchanged"},
		{"another app beside it", write("releases/other/x", "x"), OK, "already there, unchanged"},
		{"a new file in it", write("releases/app-1/lib/run.log", "x"), OK, "already there, unchanged; 1 name not of the archive: app-1/lib/run.log"},
		{"other content", write("releases/app-1/lib/a.txt", "hallo"), Blocked, "app-1/lib/a.txt has other content"},
		{"another size", write("releases/README", "read me!"), Blocked, "README has 8 bytes there, 7 in the archive"},
		{"another mode", do(os.Chmod, "releases/app-1/bin/run", 0o644), Blocked, "app-1/bin/run has mode 0644 there, 0755 in the archive"},
		{"a file gone", remove("releases/app-1/bin/run"), Blocked, "app-1/bin/run is not there"},
		{"another link", func(p *place) {
			remove("releases/app-1/current")(p)
			p.link("bin/run", "releases/app-1/current")
		}, Blocked, `app-1/current points to "bin/run" there, to "lib/a.txt" in the archive`},
		{"another kind", func(p *place) {
			remove("releases/app-1/lib")(p)
			p.link("bin", "releases/app-1/lib")
		}, Blocked, "app-1/lib is a link there, a directory in the archive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := setup(t)
			c.change(p)
			before := p.tree("releases")
			err := p.run("untar", "app.tar", "to=releases")
			if got := StatusOf(err); got != c.status {
				t.Fatalf("got %s (%v), want %s", got, err, c.status)
			}
			said := p.said
			if err != nil {
				said = err.Error()
			}
			if !strings.Contains(said, c.say) {
				t.Errorf("got %q, want %q in it", said, c.say)
			}
			if got := p.tree("releases"); !slices.Equal(got, before) {
				t.Errorf("got %q, want it as it was: %q", got, before)
			}
			// replace brings exactly the archive's, and leaves alone what is that already.
			p.want(OK, "", "untar", "app.tar", "to=releases", "replace")
			p.want(OK, "", "untar", "app.tar", "to=releases", "replace")
			if p.said != "already there, unchanged" {
				t.Errorf("after replace got %q", p.said)
			}
			p.noLeftovers()
		})
	}
	t.Run("the rest after one that was killed between two names", func(t *testing.T) {
		p := setup(t)
		want := p.tree("releases")
		remove("releases/app-1")(p)
		p.want(OK, "", "untar", "app.tar", "to=releases")
		if got := p.tree("releases"); !slices.Equal(got, want) || !strings.Contains(p.said, "1 of 2 names there already, unchanged") {
			t.Errorf("got %q (%s), want %q", got, p.said, want)
		}
	})
}
