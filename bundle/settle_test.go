package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func appendTo(name, s string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s)
	return errors.Join(err, f.Close())
}

func fileOf(path, content string) File {
	sum := sha256.Sum256([]byte(content))
	return File{Path: path, Size: int64(len(content)), Mode: 0o644, SHA256: hex.EncodeToString(sum[:])}
}

func TestManifestOfAHostilePeer(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "root")
	good := fileOf("a", "x")
	mod := func(fn func(*File)) []File {
		f := good
		fn(&f)
		return []File{f}
	}
	for _, c := range []struct {
		name string
		m    Manifest
	}{
		{"relative root", Manifest{"root", []File{good}}},
		{"unclean root", Manifest{root + "/../root", []File{good}}},
		{"climbs out", Manifest{root, []File{fileOf("../x", "x")}}},
		{"climbs out in the middle", Manifest{root, []File{fileOf("a/../../x", "x")}}},
		{"absolute", Manifest{root, []File{fileOf("/etc/x", "x")}}},
		{"the root itself", Manifest{root, []File{fileOf(".", "x")}}},
		{"empty", Manifest{root, []File{fileOf("", "x")}}},
		{"NUL", Manifest{root, []File{fileOf("a\x00b", "x")}}},
		{"the owner record", Manifest{root, []File{fileOf(OwnerFile, "x")}}},
		{"twice", Manifest{root, []File{good, good}}},
		{"negative size", Manifest{root, mod(func(f *File) { f.Size = -1 })}},
		{"setuid", Manifest{root, mod(func(f *File) { f.Mode |= os.ModeSetuid })}},
		{"no hash", Manifest{root, mod(func(f *File) { f.SHA256 = "" })}},
		{"half a hash", Manifest{root, mod(func(f *File) { f.SHA256 = f.SHA256[:32] })}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Store{Home: t.TempDir(), Run: testRun}
			if a, err := s.Ask(t.Context(), Query{Manifest: c.m}); err == nil {
				t.Errorf("Ask: got %v and no error", a)
			}
			if err := s.Settle(t.Context(), Settlement{Last: true}); err == nil {
				t.Error("Settle: got no error")
			}
			if left, _ := os.ReadDir(base); len(left) != 0 {
				t.Errorf("made %v, want nothing", left)
			}
		})
	}
	for _, run := range []string{"", "../../x", "a/b", "a\nb"} {
		s := &Store{Home: t.TempDir(), Run: run}
		if _, err := s.Ask(t.Context(), Query{Manifest: Manifest{root, []File{good}}}); err == nil {
			t.Errorf("run %q: got no error", run)
		}
	}
}

func TestManifestThroughALinkThatLeavesTheRoot(t *testing.T) {
	base := t.TempDir()
	root, outside := filepath.Join(base, "root"), filepath.Join(base, "outside")
	if err := errors.Join(os.Mkdir(root, 0o755), os.Mkdir(outside, 0o755), os.Symlink("../outside", filepath.Join(root, "l"))); err != nil {
		t.Fatal(err)
	}
	s := &Store{Home: t.TempDir(), Run: testRun}
	if a, err := s.Ask(t.Context(), Query{Manifest: Manifest{root, []File{fileOf("l/a", "x")}}}); err == nil {
		t.Errorf("got %v and no error", a)
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("made %v, want nothing", left)
	}
}

func TestWhatIsOnItsWayIsPrivate(t *testing.T) {
	f := newFar(t)
	src := t.TempDir()
	secret := write(t, filepath.Join(src, "secret"), noise(2<<20), 0o600)
	f.lacked = func([]Want) {
		if info, err := os.Stat(filepath.Join(f.home, ".conc/cache/in")); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("where it is sent to: got %v, %v, want 0700", info, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(f.home, ".conc/cache/in"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := f.deliver(t, Source{Local: secret, Path: "secret"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(f.bundle, "secret")); err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v, %v, want 0600", info, err)
	}
}

func TestWhatCannotFitIsRefused(t *testing.T) {
	root := t.TempDir()
	big := fileOf("big", "x")
	big.Size = 1 << 60
	s := &Store{Home: t.TempDir(), Run: testRun}
	_, err := s.Ask(t.Context(), Query{Manifest: Manifest{root, []File{big}}})
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "1.2 EB") {
		t.Errorf("got %v, want it to name the path and the size", err)
	}
}

func TestSettleIsAllOrNothing(t *testing.T) {
	big := string(noise(2 << 20))
	setup := func(t *testing.T) (*Store, Manifest, Answer) {
		m := Manifest{t.TempDir(), []File{fileOf("a", "new a"), fileOf("sub/b", big)}}
		s := &Store{Home: t.TempDir(), Run: testRun, Limit: 1 << 30}
		a, err := s.Ask(t.Context(), Query{Manifest: m})
		if err != nil || len(a.Wants) != 2 {
			t.Fatal(a, err)
		}
		for _, f := range m.Files {
			write(t, filepath.Join(m.Root, f.Path), []byte("old"), 0o644)
		}
		write(t, s.partial(m.Files[1].SHA256), []byte(big), 0o600)
		return s, m, a
	}
	pack := func() []byte {
		p := &packer{}
		p.record(0, 0, []byte("new a"))
		return p.finish()
	}
	content := func(m Manifest) string {
		var all []string
		for _, f := range m.Files {
			p, _ := os.ReadFile(filepath.Join(m.Root, f.Path))
			all = append(all, string(p[:min(len(p), 5)]))
		}
		return strings.Join(all, ",")
	}
	t.Run("right", func(t *testing.T) {
		s, m, a := setup(t)
		if err := s.Settle(t.Context(), Settlement{ID: a.ID, Data: pack(), Last: true}); err != nil || content(m) != "new a,"+big[:5] || leftovers(t, m.Root) != nil {
			t.Errorf("got %v, %q, %v", err, content(m), leftovers(t, m.Root))
		}
	})
	for _, c := range []struct {
		name string
		do   func(object string) error
	}{
		{"wrong content", func(o string) error { return os.WriteFile(o, noise(2<<20), 0o600) }},
		{"too short", func(o string) error { return os.Truncate(o, 2) }},
		{"too long", func(o string) error { return appendTo(o, "+") }},
		{"not there", os.Remove},
		{"a FIFO", func(o string) error { return errors.Join(os.Remove(o), syscall.Mkfifo(o, 0o600)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, m, a := setup(t)
			if err := c.do(s.partial(m.Files[1].SHA256)); err != nil {
				t.Fatal(err)
			}
			err := s.Settle(t.Context(), Settlement{ID: a.ID, Data: pack(), Last: true})
			if err == nil || !strings.Contains(err.Error(), filepath.Join(m.Root, "sub/b")) {
				t.Errorf("got %v, want it to name sub/b", err)
			}
			if content(m) != "old,old" || leftovers(t, m.Root) != nil {
				t.Errorf("got %q, %v, want the old files alone", content(m), leftovers(t, m.Root))
			}
		})
	}
	t.Run("a hostile peer", func(t *testing.T) {
		s, m, a := setup(t)
		victim := write(t, filepath.Join(m.Root, "victim"), []byte("kept"), 0o644)
		record := func(index int, at int64, data string) []byte {
			p := &packer{}
			p.record(index, at, []byte(data))
			return p.finish()
		}
		for name, p := range map[string]Settlement{
			"another delivery":   {ID: a.ID + 1, Last: true},
			"no delivery":        {ID: -1, Last: true},
			"a pack elsewhere":   {ID: a.ID, Packs: []string{"../../" + filepath.Base(victim)}},
			"a pack by its path": {ID: a.ID, Packs: []string{victim}},
			"a pack not there":   {ID: a.ID, Packs: []string{"0-1.pack"}},
			"no file of it":      {ID: a.ID, Data: record(2, 0, "x")},
			"behind its end":     {ID: a.ID, Data: record(0, 1, "new a")},
			"other content":      {ID: a.ID, Data: record(0, 0, "NEW a")},
			"no pack":            {ID: a.ID, Data: []byte("0123456789abcdef")},
			"a cut pack":         {ID: a.ID, Data: pack()[:10]},
		} {
			if err := s.Settle(t.Context(), p); err == nil {
				t.Errorf("%s: got no error", name)
			}
		}
		if p, err := os.ReadFile(victim); err != nil || !bytes.Equal(p, []byte("kept")) {
			t.Errorf("victim: got %q, %v", p, err)
		}
		if content(m) != "old,old" {
			t.Errorf("got %q, want the old files", content(m))
		}
	})
}
