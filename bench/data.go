package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// data are a work's sources on the workstation.
type data interface {
	// refresh makes the content new: nothing that was delivered before is of use.
	refresh() error
	// change changes one file, or one part.
	change() error
	// want gives what must be in the area afterwards.
	want() (contents, error)
}

// stream gives endless bytes that nothing can compress.
func stream(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// moment is the time of change of what a seed made. Some tools look at sizes and
// whole seconds only: what is new must have another time, and it is long ago for
// those that do not trust what is fresh.
func moment(seed uint64) time.Time {
	return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seed) * 2 * time.Second)
}

// write writes a source.
func write(path string, text []byte, seed uint64) error {
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, moment(seed), moment(seed))
}

// archives are the five of a release.
type archives struct {
	dir  string
	all  []archive
	seed uint64
}

// archive is one of them, and what it was made of last.
type archive struct {
	name    string
	members int
	size    int // of each member
	made    contents
}

func newArchives(dir string, tiny bool) *archives {
	a := &archives{dir: dir, all: []archive{
		{name: "one", members: 8, size: 128 << 10},
		{name: "two", members: 16, size: 64 << 10},
		{name: "four", members: 500, size: 8 << 10},
		{name: "ten", members: 10, size: 1 << 20},
		{name: "small", members: 2, size: 8 << 10},
	}}
	if tiny {
		for i := range a.all {
			a.all[i].members, a.all[i].size = min(a.all[i].members, 10), 2<<10
		}
	}
	return a
}

func (a *archives) files() []string {
	var paths []string
	for _, one := range a.all {
		paths = append(paths, filepath.Join(a.dir, one.name+".tar.gz"))
	}
	return paths
}

func (a *archives) refresh() error {
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return err
	}
	for i := range a.all {
		if err := a.make(i); err != nil {
			return err
		}
	}
	return nil
}

// change makes one of the two small ones anew, with the same names in it.
func (a *archives) change() error { return a.make(1) }

func (a *archives) make(i int) error {
	a.seed++
	random, one := stream(a.seed), &a.all[i]
	one.made = contents{}
	var out bytes.Buffer
	// What is in there does not shrink, as in most archives of a release.
	packed, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w := tar.NewWriter(packed)
	for m := range one.members {
		body := make([]byte, one.size)
		if _, err := random.Read(body); err != nil {
			return err
		}
		name := fmt.Sprintf("%s/%02d/member-%03d", one.name, m%20, m)
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(one.size), ModTime: moment(a.seed), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil {
			return err
		}
		one.made[release+"/"+name] = sum(body)
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := packed.Close(); err != nil {
		return err
	}
	return write(a.files()[i], out.Bytes(), a.seed)
}

func (a *archives) want() (contents, error) {
	all := contents{
		release + "/app.conf": sum([]byte(filled)),
		area + "/current":     "-> releases/1",
	}
	for _, one := range a.all {
		for path, hash := range one.made {
			all[path] = hash
		}
	}
	return all, nil
}

// file is one large file, that nothing can compress.
type file struct {
	path      string
	size      int
	at        string // on the node
	stretches int    // a change is in so many places,
	part      int    // and is the part-th part of the file in all;
	insert    bool   // one of them is some bytes more, so that what follows moves

	seed uint64
}

func (f *file) refresh() error {
	f.seed++
	st, err := os.Stat(f.path)
	if err != nil || st.Size() != int64(f.size) {
		return f.write()
	}
	// Eight bytes in each 4 KiB are enough for every block to be new.
	return f.patch(func(w io.WriterAt) error {
		random, eight := stream(f.seed), make([]byte, 8)
		for at := 0; at+8 <= f.size; at += 4096 {
			if _, err := random.Read(eight); err != nil {
				return err
			}
			if _, err := w.WriteAt(eight, int64(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *file) write() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return err
	}
	out, err := os.Create(f.path)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.CopyN(out, stream(f.seed), int64(f.size)); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Chtimes(f.path, moment(f.seed), moment(f.seed))
}

func (f *file) patch(do func(io.WriterAt) error) error {
	out, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := do(out); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Chtimes(f.path, moment(f.seed), moment(f.seed))
}

func (f *file) change() error {
	f.seed++
	random, body := stream(f.seed), make([]byte, max(1, f.size/f.part/f.stretches))
	err := f.patch(func(w io.WriterAt) error {
		for i := range f.stretches {
			if _, err := random.Read(body); err != nil {
				return err
			}
			if _, err := w.WriteAt(body, int64(f.size/f.stretches*i+f.size/f.stretches/2)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !f.insert {
		return err
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	at := len(text) / 3
	return write(f.path, bytes.Join([][]byte{text[:at], []byte("some bytes more"), text[at:]}, nil), f.seed)
}

func (f *file) want() (contents, error) {
	hash, err := sumFile(f.path)
	return contents{f.at: hash}, err
}

// tree is many small files of text.
type tree struct {
	dir   string
	count int
	at    string // on the node

	seed uint64
	made contents
}

func (t *tree) refresh() error {
	t.made = contents{}
	for i := range t.count {
		if err := t.make(i); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) change() error { return t.make(t.count / 2) }

// vocabulary is what the files are written with: text that shrinks as sources do.
var vocabulary = strings.Fields(`if err != nil { return err } for i := range node func open close bundle
	deliver string int step lock the of and a to in is that it was as with release config version 0 1 2 3
	0x7f 443 8000 true false // := == != && || ( ) [ ] ; , . error context time path file`)

func (t *tree) make(i int) error {
	t.seed++
	random := rand.New(stream(t.seed))
	var text strings.Builder
	for text.Len() < 4<<10 {
		text.WriteString(vocabulary[random.IntN(len(vocabulary))])
		if random.IntN(6) == 0 {
			fmt.Fprintf(&text, "_%x\n", random.Uint32())
		} else {
			text.WriteByte(' ')
		}
	}
	body := []byte(text.String()[:4<<10])
	name := fmt.Sprintf("part-%02d/file-%04d.txt", i%50, i)
	path := filepath.Join(t.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	t.made[t.at+"/"+name] = sum(body)
	return write(path, body, t.seed)
}

func (t *tree) want() (contents, error) { return t.made, nil }
