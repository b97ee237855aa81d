package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// overWire is what the other end makes of v.
func overWire[T any](t *testing.T, v T) T {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var back T
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

// A large file that nobody has read is asked about without its sum, and is right
// in its place. What a cut has left of it is used by the next try.
func TestLargeFileIsSentWhileItIsRead(t *testing.T) {
	t.Parallel()
	f := newFar(t)
	data := noise(unread + 5)
	local := write(t, filepath.Join(t.TempDir(), "big"), data, 0o644)
	source := Source{Local: local, Path: "big"}
	unknown, followed := 0, int64(0)
	var mu sync.Mutex
	f.answer = func(q Query) (Answer, error) {
		if q = overWire(t, q); !q.Refine && q.Manifest.Files[0].SHA256 == "" {
			unknown++
		}
		return f.store.Ask(t.Context(), q)
	}
	cut := errors.New("cut")
	f.settling = func(s Settlement) error {
		mu.Lock()
		for _, n := range s.Written {
			followed = max(followed, n)
		}
		mu.Unlock()
		if s.Last {
			return cut
		}
		return f.store.Settle(t.Context(), s)
	}
	if _, err := f.deliver(t, source); !errors.Is(err, cut) || unknown != 1 || followed < hintLen {
		t.Errorf("got %v, %d questions without a sum, %d bytes hashed by the way", err, unknown, followed)
	}
	f.again()
	f.settling = nil
	s, err := f.deliver(t, source)
	if err != nil || s.SentBytes > unread/10 {
		t.Errorf("after the cut: %v, %d bytes sent, want few", err, s.SentBytes)
	}
	f.again()
	f.bundle = filepath.Join(f.home, "elsewhere") // only the cache knows it there
	if s, err = f.deliver(t, source); err != nil || s.SentBytes != 0 {
		t.Errorf("from the cache: %v, %d bytes sent", err, s.SentBytes)
	}
	if got, _ := os.ReadFile(filepath.Join(f.bundle, "big")); !bytes.Equal(got, data) || leftovers(t, f.bundle) != nil {
		t.Errorf("%d bytes arrived, beside %v", len(got), leftovers(t, f.bundle))
	}
	if parts, _ := filepath.Glob(filepath.Join(f.store.ways(), "*", "*")); parts != nil {
		t.Errorf("%v is left", parts)
	}
}

// What was hashed while a file came decides as well as what is read at the end.
func TestWhatComesOtherwiseIsRefused(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(s *Store, m Manifest, object string) error{
		"another byte": func(_ *Store, _ Manifest, o string) error { return damage(o) },
		"no sum": func(_ *Store, m Manifest, _ string) error {
			m.Files[0].SHA256 = "" // of what is told
			return nil
		},
		"not there": func(_ *Store, _ Manifest, o string) error { return os.Remove(o) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := bytes.Repeat([]byte("0123456789abcdef"), unread/16)
			told := Manifest{t.TempDir(), []File{{Path: "big", Size: unread, Mode: 0o644, SHA256: sumHex(data)}}}
			asked := Manifest{told.Root, []File{{Path: "big", Size: unread, Mode: 0o644}}}
			s := &Store{Home: t.TempDir(), Run: testRun, Limit: 1 << 30}
			a, err := s.Ask(t.Context(), Query{Manifest: asked})
			if err != nil || len(a.Wants) != 1 {
				t.Fatal(a, err)
			}
			object := write(t, filepath.Join(a.Into, asked.partial(asked.Files[0])), data, 0o600)
			if err := harm(s, told, object); err != nil {
				t.Fatal(err)
			}
			_ = s.Settle(t.Context(), Settlement{ID: a.ID, Written: map[int]int64{0: hintLen}})
			err = s.Settle(t.Context(), Settlement{ID: a.ID, Last: true, Sums: map[int]string{0: told.Files[0].SHA256}})
			if err == nil || !strings.Contains(err.Error(), "big") {
				t.Errorf("got %v, want an error that names the file", err)
			}
			if _, err := os.Lstat(filepath.Join(told.Root, "big")); err == nil {
				t.Error("it was put in its place")
			}
		})
	}
}

// Of two files with the same content one takes the other's name.
func TestTwoLargeFilesOfTheSameContent(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), unread/16)
	sum := sumHex(data)
	for name, known := range map[string]string{"both are unread": "", "one is known": sum} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := Manifest{t.TempDir(), []File{{Path: "a", Size: unread, Mode: 0o644, SHA256: known}, {Path: "b", Size: unread, Mode: 0o644}}}
			s := &Store{Home: t.TempDir(), Run: testRun, Limit: 1 << 30}
			a, err := s.Ask(t.Context(), Query{Manifest: m})
			if err != nil {
				t.Fatal(err)
			}
			for i, f := range m.Files {
				write(t, filepath.Join(a.Into, m.partial(f)), data, 0o600)
				if err := s.Settle(t.Context(), Settlement{ID: a.ID, Written: map[int]int64{i: hintLen}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Settle(t.Context(), Settlement{ID: a.ID, Last: true, Sums: map[int]string{0: sum, 1: sum}}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a", "b"} {
				if got, err := os.ReadFile(filepath.Join(m.Root, name)); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s: got %d bytes, %v", name, len(got), err)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(a.Into, "*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func damage(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("?"), 7)
	return err
}

func TestManifestTravels(t *testing.T) {
	m := Manifest{"/srv/app", []File{fileOf("a", "x"), fileOf("sub/ü", ""), {Path: "big", Size: unread, Mode: 0o600}}}
	got := overWire(t, Query{Manifest: m}).Manifest
	if got.Root != m.Root || len(got.Files) != len(m.Files) {
		t.Fatalf("got %v", got)
	}
	for i := range m.Files {
		if got.Files[i] != m.Files[i] {
			t.Errorf("got %v, want %v", got.Files[i], m.Files[i])
		}
	}
	pack := func(raw []byte) []byte { return encoders().EncodeAll(raw, nil) }
	for name, files := range map[string][]byte{
		"no zstd":       []byte("nothing"),
		"too many":      pack([]byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0}),
		"cut":           pack(append([]byte{1, 1, 0, 200, 1}, make([]byte, 40)...)),
		"more than all": pack(append([]byte{1, 1, 0, 1, 'a'}, make([]byte, 33)...)),
		"a bomb":        pack(make([]byte, maxManifest+1)),
	} {
		data, err := json.Marshal(packedManifest{Root: "/srv", Files: files})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &Manifest{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
