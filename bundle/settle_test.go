package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func mustJSON(t *testing.T, x any) []byte {
	t.Helper()
	p, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

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
			if w, err := Lacking(c.m, testRun); err == nil {
				t.Errorf("Lacking: got %v and no error", w)
			}
			if err := Settle(c.m, []Want{{Temp: filepath.Join(root, "x")}}); err == nil {
				t.Error("Settle: got no error")
			}
			if left, _ := os.ReadDir(base); len(left) != 0 {
				t.Errorf("made %v, want nothing", left)
			}
		})
	}
	for _, run := range []string{"", "../../x", "a/b", "a\nb"} {
		if _, err := Lacking(Manifest{root, []File{good}}, run); err == nil {
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
	if w, err := Lacking(Manifest{root, []File{fileOf("l/a", "x")}}, testRun); err == nil {
		t.Errorf("got %v and no error", w)
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("made %v, want nothing", left)
	}
}

func TestLackingKeepsPrivateFilesPrivate(t *testing.T) {
	root := t.TempDir()
	secret := fileOf("secret", "x")
	secret.Mode = 0o600
	w, err := Lacking(Manifest{root, []File{fileOf("open", "y"), secret}}, testRun)
	if err != nil || len(w) != 2 {
		t.Fatalf("got %v, %v, want both", w, err)
	}
	if info, err := os.Stat(w[1].Temp); err != nil || info.Mode() != 0o600 {
		t.Errorf("the private file's temporary: got %v, %v, want 0600", info, err)
	}
	if _, err := os.Stat(w[0].Temp); err == nil {
		t.Error("the other one's is there already")
	}
}

func TestLackingRefusesWhatCannotFit(t *testing.T) {
	root := t.TempDir()
	big := fileOf("big", "x")
	big.Size = 1 << 60
	_, err := Lacking(Manifest{root, []File{big}}, testRun)
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), root) || !strings.Contains(err.Error(), "1.2 EB") {
		t.Errorf("got %v, want it to name the path and the size", err)
	}
}

func TestSettleIsAllOrNothing(t *testing.T) {
	setup := func(t *testing.T) (Manifest, []Want) {
		m := Manifest{t.TempDir(), []File{fileOf("a", "new a"), fileOf("sub/b", "new b")}}
		w, err := Lacking(m, testRun)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range m.Files {
			write(t, filepath.Join(m.Root, f.Path), []byte("old"), 0o644)
			write(t, w[i].Temp, []byte("new "+filepath.Base(f.Path)), 0o600)
		}
		return m, w
	}
	content := func(m Manifest) string {
		var all []string
		for _, f := range m.Files {
			p, _ := os.ReadFile(filepath.Join(m.Root, f.Path))
			all = append(all, string(p))
		}
		return strings.Join(all, ",")
	}
	t.Run("right", func(t *testing.T) {
		m, w := setup(t)
		if err := Settle(m, w); err != nil || content(m) != "new a,new b" || leftovers(t, m.Root) != nil {
			t.Errorf("got %v, %q, %v", err, content(m), leftovers(t, m.Root))
		}
	})
	for _, c := range []struct {
		name string
		do   func(m Manifest, w []Want) error
	}{
		{"wrong content", func(_ Manifest, w []Want) error { return os.WriteFile(w[1].Temp, []byte("new X"), 0o600) }},
		{"too short", func(_ Manifest, w []Want) error { return os.Truncate(w[1].Temp, 2) }},
		{"too long", func(_ Manifest, w []Want) error { return appendTo(w[1].Temp, "+") }},
		{"not there", func(_ Manifest, w []Want) error { return os.Remove(w[1].Temp) }},
		{"a FIFO", func(_ Manifest, w []Want) error {
			return errors.Join(os.Remove(w[1].Temp), syscall.Mkfifo(w[1].Temp, 0o600))
		}},
		{"a symlink", func(m Manifest, w []Want) error {
			return errors.Join(os.Rename(w[1].Temp, m.Root+"/real"), os.Symlink("../real", w[1].Temp))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, w := setup(t)
			if err := c.do(m, w); err != nil {
				t.Fatal(err)
			}
			if err := Settle(m, w); err == nil || !strings.Contains(err.Error(), filepath.Join(m.Root, "sub/b")) {
				t.Errorf("got %v, want it to name sub/b", err)
			}
			if content(m) != "old,old" || leftovers(t, m.Root) != nil {
				t.Errorf("got %q, %v, want the old files alone", content(m), leftovers(t, m.Root))
			}
		})
	}
	t.Run("names that Lacking did not give", func(t *testing.T) {
		m, w := setup(t)
		victim := write(t, filepath.Join(m.Root, "victim"), []byte("new a"), 0o644)
		for _, bad := range []Want{
			{Index: 0, Temp: victim},
			{Index: 0, Temp: w[1].Temp},
			{Index: 2, Temp: w[0].Temp},
			{Index: -1, Temp: w[0].Temp},
			{Index: 0, Temp: "/" + filepath.Base(w[0].Temp)},
			{Index: 0, Temp: m.Root + "/../" + filepath.Base(m.Root) + "/" + filepath.Base(w[0].Temp)},
		} {
			if err := Settle(m, []Want{bad}); err == nil {
				t.Errorf("%+v: got no error", bad)
			}
		}
		if p, err := os.ReadFile(victim); err != nil || !bytes.Equal(p, []byte("new a")) {
			t.Errorf("victim: got %q, %v", p, err)
		}
		if content(m) != "old,old" {
			t.Errorf("got %q, want the old files", content(m))
		}
	})
}
