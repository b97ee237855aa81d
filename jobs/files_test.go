package jobs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/conc/config"
)

// place is a host to try ops on: a home, a bundle in it, a folder with a
// deploy.ini, all below a temporary directory.
type place struct {
	*Env
	t    *testing.T
	said string // the last note
}

func newPlace(t *testing.T, h Host) *place {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t}
	p.Env = &Env{
		Node: config.NewNode("web1", map[string]string{
			"name": "web1", "bundle": "shop-bundle", "admin": "deployer", "sshd.ip": "192.0.2.11", "sshd.port": "2222",
			"version": "1.4.2", "http.port": "8000", "db.password": config.SecretToken("db"),
		}),
		Host: h, Home: filepath.Join(base, "home"), Dir: filepath.Join(base, "home"), Bundle: filepath.Join(base, "home/shop-bundle"),
		Progress: func(int64, int64) {},
		Secret: func(name string) (string, error) {
			if name == "db" {
				return "s3cret", nil
			}
			return "", errors.New("nobody knows it")
		},
		note: func(s string) { p.said = s },
	}
	if h == Local {
		p.Dir = filepath.Join(base, "project")
	}
	for _, d := range []string{p.Home, p.Dir, p.Bundle} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// write makes a file below the home.
func (p *place) write(name, text string) string {
	p.t.Helper()
	name = p.abs(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		p.t.Fatal(err)
	}
	return name
}

func (p *place) link(target, name string) {
	p.t.Helper()
	name = p.abs(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.Symlink(target, name)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) abs(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Home, name)
}

// read gives a file's text, "-> target" for a link, "/" for a directory, "" for nothing.
func (p *place) read(name string) string {
	p.t.Helper()
	name = p.abs(name)
	info, err := os.Lstat(name)
	switch {
	case err != nil:
		return ""
	case info.IsDir():
		return "/"
	case info.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(name)
		return "-> " + target
	}
	text, err := os.ReadFile(name)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// tree lists everything below dir, so that two states can be compared.
func (p *place) tree(dir string) []string {
	p.t.Helper()
	var all []string
	top := p.abs(dir)
	err := filepath.WalkDir(top, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && name != top {
			rel, _ := filepath.Rel(top, name)
			all = append(all, rel+" "+p.read(name))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
	return all
}

// run parses a line's words as deploy.ini would have them, and runs the op.
func (p *place) run(words ...string) error {
	p.t.Helper()
	e, ok := Stock().Lookup(words[0])
	if !ok {
		p.t.Fatalf("no op %s", words[0])
	}
	op, err := e.Parse(words[1:])
	if err != nil {
		p.t.Fatalf("%v: %v", words, err)
	}
	return op.Do(p.t.Context(), p.Env)
}

func (p *place) want(status Status, part string, words ...string) {
	p.t.Helper()
	err := p.run(words...)
	if got := StatusOf(err); got != status {
		p.t.Errorf("%v: got %s (%v), want %s", words, got, err, status)
	}
	if part != "" && (err == nil || !strings.Contains(err.Error(), part)) {
		p.t.Errorf("%v: got %v, want it to say %q", words, err, part)
	}
}

// noLeftovers fails when an op left a hidden name of its own.
func (p *place) noLeftovers() {
	p.t.Helper()
	for _, f := range p.tree(filepath.Dir(p.Home)) {
		if strings.Contains(f, ".conc-") {
			p.t.Errorf("left over: %s", f)
		}
	}
}

func TestMkdir(t *testing.T) {
	p := newPlace(t, Remote)
	p.want(OK, "", "mkdir", "a/b/c", "mode=0700")
	if info, _ := os.Stat(p.abs("a/b/c")); info.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v, want 0700", info.Mode())
	}
	p.want(OK, "", "mkdir", "a/b/c")
	if p.said != "already there" {
		t.Errorf("again: got the note %q", p.said)
	}
	if info, _ := os.Stat(p.abs("a/b/c")); info.Mode().Perm() != 0o700 {
		t.Errorf("again: got mode %v, want it left alone", info.Mode())
	}
	p.want(OK, "", "mkdir", "bundle:x")
	if p.read("shop-bundle/x") != "/" {
		t.Error("bundle:x is not in the bundle")
	}
	p.write("file", "text")
	p.want(Failed, "not a directory", "mkdir", "file")
	p.want(Failed, "not a directory", "mkdir", "file/x")
	if p.read("file") != "text" {
		t.Error("the file is gone")
	}
}

func TestSymlink(t *testing.T) {
	p := newPlace(t, Remote)
	p.write("shop/releases/1/app", "one")
	p.write("shop/releases/2/app", "two")
	p.want(OK, "", "symlink", "releases/1", "shop/current")
	if got := p.read("shop/current"); got != "-> releases/1" {
		t.Errorf("got %s, want the target as written", got)
	}
	p.want(OK, "", "symlink", "releases/2", "shop/current")
	if got := p.read("shop/current/app"); got != "two" || p.said != "was releases/1" {
		t.Errorf("got %q, note %q, want the switch, and what was before", got, p.said)
	}
	p.want(OK, "", "symlink", "releases/2", "shop/current")
	if p.said != "unchanged" {
		t.Errorf("again: got note %q, want unchanged", p.said)
	}
	p.want(OK, "", "symlink", "~/shop/releases/1", "shop/current")
	if got := p.read("shop/current"); got != "-> "+p.abs("shop/releases/1") {
		t.Errorf("~/: got %s", got)
	}

	p.want(Blocked, "is a directory", "symlink", "1", "shop/releases")
	p.want(Blocked, "is a file", "symlink", "app", "shop/releases/1/app")
	p.want(Blocked, "is not there", "symlink", "releases/3", "shop/current")
	p.want(Failed, "there is no directory", "symlink", "~/shop", "gone/link")
	if got := p.read("shop/current"); got != "-> "+p.abs("shop/releases/1") {
		t.Errorf("after BLOCKED: got %s, want it as it was", got)
	}
	p.noLeftovers()
}

func TestRemove(t *testing.T) {
	p := newPlace(t, Remote)
	p.write("a/b/c", "x")
	p.write("d", "x")
	p.write("kept/x", "x")
	p.link("kept", "l")
	p.want(OK, "", "remove", "a", "d", "l", "never-there", "d/below-a-file")
	if got := p.tree("."); !slices.Equal(got, []string{"kept /", "kept/x x", "shop-bundle /"}) {
		t.Errorf("got %q", got)
	}
	if os.Getuid() != 0 {
		p.write("ro/sub/x", "x")
		_ = os.Chmod(p.abs("ro/sub"), 0o500)
		p.want(OK, "", "remove", "ro")
	}
	p.link(p.Home, "way-home")
	p.link("shop-bundle", "b")
	before := p.tree(".")
	for _, bad := range []string{
		"/", ".", "~", "~/", "..", "~/..", "kept/..", "bundle:", "shop-bundle", "~/.conc", "/../",
		"bundle:.conc-owner.json", "b/.conc-owner.json", "~/.conc/runs/x",
		"way-home/shop-bundle", filepath.Dir(p.Home),
	} {
		p.want(Blocked, "does not remove", "remove", "kept", bad)
	}
	if got := p.tree("."); !slices.Equal(got, before) {
		t.Errorf("after BLOCKED: got %q, want %q", got, before)
	}
	p.want(OK, "", "remove", "b", "way-home") // the links themselves
	p.noLeftovers()

	l := newPlace(t, Local)
	l.want(Blocked, "does not remove", "remove", l.Dir)
	l.want(Blocked, "does not remove", "remove", "~")
}

func TestMove(t *testing.T) {
	p := newPlace(t, Remote)
	p.write("new/conf", "new")
	p.write("old/conf", "old")
	p.want(Blocked, "is there already", "move", "new", "old")
	p.want(Blocked, "is not there", "move", "gone", "x")
	p.want(Blocked, "inside one another", "move", "new", "new/sub")
	p.want(Blocked, "inside one another", "move", "new/conf", "new", "replace")
	p.want(Blocked, "does not remove", "move", "shop-bundle", "x")
	p.want(Blocked, "does not remove", "move", "new", "~/shop-bundle", "replace")
	p.want(Failed, "there is no directory", "move", "new", "gone/new")
	if got := p.tree("."); !slices.Equal(got, []string{"new /", "new/conf new", "old /", "old/conf old", "shop-bundle /"}) {
		t.Errorf("nothing should have moved: %q", got)
	}
	p.want(OK, "", "move", "new", "old", "replace")
	p.want(OK, "", "move", "old/conf", "conf")
	if got := p.tree("."); !slices.Equal(got, []string{"conf new", "old /", "shop-bundle /"}) {
		t.Errorf("got %q", got)
	}
	p.link("conf", "l")
	p.want(OK, "", "move", "l", "m")
	if p.read("m") != "-> conf" {
		t.Errorf("a link: got %s", p.read("m"))
	}
	p.noLeftovers()
}

func TestKeep(t *testing.T) {
	setup := func(t *testing.T) *place {
		p := newPlace(t, Remote)
		for _, v := range []string{"1.9.0", "1.10.0", "1.10.0-rc1", "1.2.0", "1.8.0", "notes.txt"} {
			p.write("shop/releases/"+v+"/app", v)
		}
		return p
	}
	names := func(p *place) string {
		entries, _ := os.ReadDir(p.abs("shop/releases"))
		var all []string
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return strings.Join(all, " ")
	}
	t.Run("by version", func(t *testing.T) {
		p := setup(t)
		p.want(OK, "", "keep", "shop/releases/[0-9]*", "2")
		if got := names(p); got != "1.10.0 1.10.0-rc1 notes.txt" || p.said != "removed 1.2.0 to 1.9.0, 3 in all" {
			t.Errorf("got %s, note %q", got, p.said)
		}
		p.want(OK, "", "keep", "shop/releases/[0-9]*", "2")
		if p.said != "nothing to remove" {
			t.Errorf("again: got note %q", p.said)
		}
		p.noLeftovers()
	})
	t.Run("not what is in use", func(t *testing.T) {
		p := setup(t)
		p.link("releases/1.2.0", "shop/current")    // above
		p.link("1.8.0/app", "shop/releases/a-link") // beside, and into it
		p.link("../shop/releases/1.9.0", "etc/live")
		p.want(OK, "", "keep", "shop/releases/[0-9]*", "1", "except=etc/live")
		if got := names(p); got != "1.10.0 1.2.0 1.8.0 1.9.0 a-link notes.txt" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a link that is none", func(t *testing.T) {
		p := setup(t)
		before := names(p)
		p.write("etc/live", "x")
		p.want(Blocked, "is not a link", "keep", "shop/releases/*", "1", "except=etc/live")
		if got := names(p); got != before {
			t.Errorf("got %s, want %s", got, before)
		}
	})
	t.Run("the bundle is no old release", func(t *testing.T) {
		p := newPlace(t, Remote)
		p.write("zebra/x", "x")
		p.want(Blocked, "does not remove", "keep", "~/*", "1")
		if p.read("shop-bundle") != "/" {
			t.Error("the bundle is gone")
		}
	})
	t.Run("nothing there", func(t *testing.T) {
		newPlace(t, Remote).want(OK, "", "keep", "gone/*", "3")
	})
}

func TestCompareVersions(t *testing.T) {
	for _, order := range [][]string{
		{"1.2", "1.9", "1.10", "1.10.1", "2"},
		{"shop-1.4.0-alpha", "shop-1.4.0-beta2", "shop-1.4.0-rc1", "shop-1.4.0-rc2", "shop-1.4.0-rc10", "shop-1.4.0", "shop-1.4.0-1", "shop-1.4.0.1"},
		{"1.4.0a1", "1.4.0b1", "1.4.0rc1", "1.4.0", "1.4.0.post1"},
		{"1.4.0-rc1.tar.gz", "1.4.0.tar.gz", "1.5.0.tar.gz"},
		{"1.0~rc1", "1.0"},
		{"20260101120000", "20260101120001", "20261121000000"},
		{"99999999999999999999999998", "99999999999999999999999999"},
		{"1.01", "1.1"},
		{"", "x"},
	} {
		for i, a := range order {
			for j, b := range order {
				got, want := compareVersions(a, b), 0
				if i < j {
					want = -1
				} else if i > j {
					want = 1
				}
				if got != want {
					t.Errorf("%q and %q: got %d, want %d", a, b, got, want)
				}
			}
		}
	}
}
