package bundle

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// closed takes everything out of the node's bundle, as the end of a deploy does.
func (f *far) closed(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(f.bundle); err != nil {
		t.Fatal(err)
	}
	f.again()
}

func (f *far) holds(t *testing.T, name string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(f.bundle, name)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes, %v, want %d others", name, len(got), err, len(want))
	}
}

func (f *far) objects(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(f.home, ".conc/cache", strings.Repeat("[0-9a-f]", 64)))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What a node had once is not sent again, whatever became of the bundle.
func TestTheCache(t *testing.T) {
	f := newFar(t)
	src := t.TempDir()
	data := map[string][]byte{"big": noise(3 << 20), "mid": noise(300 << 10), "small": noise(1000), "empty": nil}
	var sources []Source
	for _, name := range []string{"big", "mid", "small", "empty"} {
		sources = append(sources, Source{Local: write(t, filepath.Join(src, name), data[name], 0o644), Path: name})
	}
	deliver := func(want int64) {
		t.Helper()
		sent, err := f.deliver(t, sources...)
		if err != nil || sent.SentFiles != want {
			t.Errorf("got %+v, %v, want %d files sent", sent, err, want)
		}
		for name, p := range data {
			f.holds(t, name, p)
		}
	}
	deliver(4)
	f.closed(t)
	deliver(0)

	t.Run("a change by hand of what was delivered", func(t *testing.T) {
		if err := appendTo(filepath.Join(f.bundle, "mid"), "changed"); err != nil {
			t.Fatal(err)
		}
		f.closed(t)
		deliver(1)
	})
	t.Run("an object that was damaged", func(t *testing.T) {
		f.closed(t)
		for _, o := range f.objects(t) {
			p, err := os.ReadFile(o)
			if err != nil {
				t.Fatal(err)
			}
			if len(p) == 3<<20 {
				p[1<<20] ^= 1
				if err := os.WriteFile(o, p, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		sent, err := f.deliver(t, sources...)
		if err != nil || sent.SentFiles != 1 || sent.SentBytes > 3<<20 {
			t.Errorf("got %+v, %v, want the damaged one sent", sent, err)
		}
		f.holds(t, "big", data["big"])
	})
	t.Run("another place", func(t *testing.T) {
		twin := Source{Local: sources[0].Local, Path: "twin"}
		sent, err := f.deliver(t, twin)
		if err != nil || sent.SentFiles != 0 {
			t.Errorf("got %+v, %v, want nothing sent", sent, err)
		}
		// They are no longer the same once one is changed.
		if err := appendTo(filepath.Join(f.bundle, "twin"), "changed"); err != nil {
			t.Fatal(err)
		}
		f.holds(t, "big", data["big"])
	})
	t.Run("twice in one delivery", func(t *testing.T) {
		p := noise(400 << 10)
		local := write(t, filepath.Join(src, "fresh"), p, 0o644)
		sent, err := f.deliver(t, Source{Local: local, Path: "one"}, Source{Local: local, Path: "two"})
		if err != nil || sent.SentFiles != 1 {
			t.Errorf("got %+v, %v, want it sent once", sent, err)
		}
		f.holds(t, "one", p)
		f.holds(t, "two", p)
		if err := appendTo(filepath.Join(f.bundle, "one"), "changed"); err != nil {
			t.Fatal(err)
		}
		f.holds(t, "two", p)
		if err := os.Truncate(filepath.Join(f.bundle, "one"), int64(len(p))); err != nil {
			t.Fatal(err)
		}
		// One of them is there, and no object.
		f.store.Limit = 0
		f.again()
		for _, o := range f.objects(t) {
			if err := os.Remove(o); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(filepath.Join(f.bundle, "two")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.deliver(t, Source{Local: local, Path: "one"}, Source{Local: local, Path: "two"}); err != nil {
			t.Fatal(err)
		}
		f.holds(t, "two", p)
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	f := newFar(t)
	f.store.Limit = 1 << 20
	src := t.TempDir()
	for i := range 8 {
		name := fmt.Sprint("f", i)
		if _, err := f.deliver(t, Source{Local: write(t, filepath.Join(src, name), noise(300<<10), 0o644), Path: name}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // the clock of inodes is a coarse one
	}
	if n := len(f.objects(t)); n != 3 {
		t.Errorf("got %d objects of 300 KiB, want 3", n)
	}
	f.closed(t)
	for _, tt := range []struct {
		name string
		want int64
	}{{"f7", 0}, {"f5", 0}, {"f0", 1}} {
		sent, err := f.deliver(t, Source{Local: filepath.Join(src, tt.name), Path: tt.name})
		if err != nil || sent.SentFiles != tt.want {
			t.Errorf("%s: got %+v, %v, want %d sent", tt.name, sent, err, tt.want)
		}
	}
	f.store.Limit = 0
	if _, err := f.deliver(t, Source{Local: write(t, filepath.Join(src, "x"), noise(10), 0o644), Path: "x"}); err != nil {
		t.Fatal(err)
	}
	if all := f.objects(t); len(all) > 0 {
		t.Errorf("without a cache: got %v", all)
	}
	f.holds(t, "f7", must(os.ReadFile(filepath.Join(src, "f7"))))
}

func must(p []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return p
}

// Of a file that has changed in part, little more than that travels: against the
// one in its place, and against that of an earlier release.
func TestAChangedFileIsSentInPart(t *testing.T) {
	old := noise(8 << 20)
	fresh := bytes.Clone(old)
	for i := range len(fresh) / 100 / 4096 {
		copy(fresh[i*100*4096+555:], noise(4096))
	}
	fresh = append(fresh[:1000:1000], append([]byte("an insertion"), fresh[1000:]...)...)
	for name, to := range map[string]string{"in its place": "app-1.0.bin", "of another release": "app-1.1.bin"} {
		t.Run(name, func(t *testing.T) {
			f := newFar(t)
			src := t.TempDir()
			if _, err := f.deliver(t, Source{Local: write(t, filepath.Join(src, "old"), old, 0o755), Path: "app-1.0.bin"}); err != nil {
				t.Fatal(err)
			}
			f.again()
			sent, err := f.deliver(t, Source{Local: write(t, filepath.Join(src, "new"), fresh, 0o755), Path: to})
			if err != nil || sent.SentBytes > int64(len(fresh))*35/1000 {
				t.Errorf("got %+v, %v, want at most 3.5 %% of %d bytes sent", sent, err, len(fresh))
			}
			f.holds(t, to, fresh)
		})
	}
}

// A pack is smaller than what is in it, where that can be.
func TestPacks(t *testing.T) {
	text := bytes.Repeat([]byte("all work and no play makes Jack a dull boy\n"), 60_000)
	p := &packer{}
	want := map[int][]byte{0: text[:100], 1: nil, 2: noise(700 << 10), 3: text[:1<<20]}
	for i := range 4 {
		p.record(i, int64(i*7), want[i])
	}
	data := p.finish()
	if len(data) > 750<<10 {
		t.Errorf("got a pack of %d bytes", len(data))
	}
	n := 0
	err := unpack(bytes.NewReader(data), func(i int, at int64, got []byte) error {
		if i != n || at != int64(i*7) || !bytes.Equal(got, want[i]) {
			t.Errorf("got %d bytes of file %d at %d", len(got), i, at)
		}
		n++
		return nil
	})
	if err != nil || n != 4 {
		t.Errorf("got %d records, %v", n, err)
	}
}

func FuzzUnpack(f *testing.F) {
	p := &packer{}
	p.record(1, 2, []byte("some text, some text, some text, some text"))
	f.Add(p.finish())
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1, 'x'})
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = unpack(bytes.NewReader(data), func(int, int64, []byte) error { return nil })
	})
}

// An index that is wrong cannot have the wrong bytes delivered.
func TestAWrongIndex(t *testing.T) {
	for _, size := range []int{1000, 400 << 10} {
		f := newFar(t)
		local := write(t, filepath.Join(t.TempDir(), "a"), noise(size), 0o644)
		if err := os.Chtimes(local, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		x := &Index{}
		if _, err := Deliver(t.Context(), f, f.bundle, []Source{{Local: local, Path: "a"}}, Options{Index: x}); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(local)
		if err != nil {
			t.Fatal(err)
		}
		fresh := noise(size) // under the same name, of the same size, at the same time
		out, err := os.OpenFile(local, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(fresh); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(local, time.Time{}, fi.ModTime()); err != nil {
			t.Fatal(err)
		}
		f.closed(t)
		f.store.Limit = 0
		for _, o := range f.objects(t) {
			if err := os.Remove(o); err != nil {
				t.Fatal(err)
			}
		}
		_, err = Deliver(t.Context(), f, f.bundle, []Source{{Local: local, Path: "a"}}, Options{Index: x})
		if got, _ := os.ReadFile(filepath.Join(f.bundle, "a")); err == nil && !bytes.Equal(got, fresh) {
			t.Errorf("%d bytes: the wrong ones were delivered", size)
		} else if err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// An index that is kept saves the reading, and one that was tampered with is none.
func TestTheIndexIsKept(t *testing.T) {
	dir := t.TempDir()
	local := write(t, filepath.Join(dir, "a"), noise(1000), 0o644)
	other := write(t, filepath.Join(dir, "b"), noise(1000), 0o644)
	path := filepath.Join(dir, "state", "index.json")
	x := OpenIndex(path)
	read := func(local string) string {
		t.Helper()
		m, _, err := read(t.Context(), dir, []Source{{Local: local, Path: "a"}}, x)
		if err != nil {
			t.Fatal(err)
		}
		return m.Files[0].SHA256
	}
	a, b := read(local), read(other)
	if err := x.Save(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("files that were written just now are remembered")
	}
	for _, e := range x.files { // as if they had been left alone
		e.Stat.Change -= int64(time.Hour)
		e.Stat.Time -= int64(time.Hour)
		e.keep = true
	}
	x.changed = true
	if err := x.Save(); err != nil {
		t.Fatal(err)
	}
	kept := OpenIndex(path)
	if len(kept.files) != 2 || kept.files[local].Sum != a || kept.files[other].Sum != b {
		t.Errorf("got %v back", kept.files)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.NewReplacer(local, other, other, local).Replace(string(text))
	for name, text := range map[string]string{"swapped": swapped, "cut": string(text[:len(text)/2]), "something else": "x", "another version": strings.Replace(string(text), "index 1", "index 2", 1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if x := OpenIndex(path); len(x.files) > 0 {
			t.Errorf("%s: got %d files, want none", name, len(x.files))
		}
	}
}
