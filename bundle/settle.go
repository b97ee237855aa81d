package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// Settlement says what of a delivery has been sent.
type Settlement struct {
	ID    int      `json:"id"`              // of the Answer
	Packs []string `json:"packs,omitempty"` // names in Answer.Into, whole
	Data  []byte   `json:"data,omitempty"`  // a pack that travels along
	Last  bool     `json:"last,omitempty"`  // that is all: everything to its place

	Sums    map[int]string `json:"sums,omitempty"`    // those that the manifest had not; with Last
	Written map[int]int64  `json:"written,omitempty"` // of files that are coming: so much, from the beginning
}

// Settle is the agent's part: what was sent becomes objects, and with the last of
// it every file is put in its place. Nothing is renamed onto a destination unless
// all is there, with the manifest's content, mode, and on disk; after an error no
// temporary file is beside one.
func (s *Store) Settle(ctx context.Context, p Settlement) error {
	s.mu.Lock()
	if p.ID < 0 || p.ID >= len(s.deliveries) {
		s.mu.Unlock()
		return fmt.Errorf("no delivery %d was asked about", p.ID)
	}
	d := s.deliveries[p.ID]
	s.mu.Unlock()
	if len(p.Data) > 0 {
		if err := s.open(d, bytes.NewReader(p.Data)); err != nil {
			return err
		}
	}
	for _, name := range p.Packs {
		if !packForm.MatchString(name) {
			return fmt.Errorf("%q is no name of a pack", name)
		}
		if err := s.openOnce(d, name); err != nil {
			return err
		}
	}
	if !p.Last {
		return s.follow(ctx, d, p.Written)
	}
	defer d.forget()
	if err := s.name(d, p.Sums); err != nil {
		return err
	}
	return s.finish(ctx, d)
}

// finish puts everything in its place.
func (s *Store) finish(ctx context.Context, d *incoming) error {
	if err := s.complete(ctx, d); err != nil {
		return err
	}
	if err := s.settle(ctx, d); err != nil {
		return err
	}
	s.remember(d.m.Files)
	more := s.share(d.m.Files)
	s.tidy(d.m)
	if more {
		s.trim()
	}
	return nil
}

// tidy removes what has been gathered of these files, and what sessions that are
// over have gathered: that of this run is kept for its next deliveries, but for
// these files; that of another run was of use now, or will be never.
func (s *Store) tidy(m Manifest) {
	mine := map[string]bool{}
	for _, f := range m.Files {
		mine[f.SHA256+partialEnd] = true
		mine[m.unreadName(f)] = true
	}
	own, _ := os.ReadDir(s.in())
	for _, g := range own { // overtaken by another try, or by another session
		if mine[g.Name()] {
			_ = os.Remove(filepath.Join(s.in(), g.Name()))
		}
	}
	_ = s.alone(func() error { // they are swept some day
		dirs, err := os.ReadDir(s.ways())
		for _, e := range dirs {
			dir := filepath.Join(s.ways(), e.Name())
			if !over(dir) {
				continue
			}
			gathered, _ := os.ReadDir(dir)
			for _, g := range gathered {
				if mine[g.Name()] || !strings.HasPrefix(e.Name(), Short(s.Run)+"-") {
					_ = os.Remove(filepath.Join(dir, g.Name()))
				}
			}
			_ = os.Remove(dir) // where it is empty
		}
		return err
	})
}

// openOnce opens a pack that has arrived. It may be told of twice, and at the
// same time.
func (s *Store) openOnce(d *incoming, name string) error {
	d.mu.Lock()
	if d.packs == nil {
		d.packs = map[string]func() error{}
	}
	open := d.packs[name]
	if open == nil {
		open = sync.OnceValue(func() error { return s.openFile(d, filepath.Join(s.in(), name)) })
		d.packs[name] = open
	}
	d.mu.Unlock()
	return open()
}

// name gives what was gathered without a sum its name.
func (s *Store) name(d *incoming, sums map[int]string) error {
	for i, f := range d.m.Files {
		if f.SHA256 != "" {
			continue
		}
		if !sumForm.MatchString(sums[i]) {
			return fmt.Errorf("%s: its sha256 was not told", d.m.dest(f))
		}
		if err := os.Rename(filepath.Join(s.in(), d.m.unreadName(f)), s.partial(sums[i])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", d.m.dest(f), cause(err))
		}
		d.mu.Lock() // a hint may still look
		d.m.Files[i].SHA256 = sums[i]
		d.mu.Unlock()
	}
	return nil
}

// openFile opens a pack that has arrived, and removes it.
func (s *Store) openFile(d *incoming, path string) error {
	in, _, err := OpenRegular(path)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := s.open(d, in); err != nil {
		return err
	}
	return os.Remove(path)
}

// open takes the pieces out of a pack: a whole small file becomes an object at
// once, a piece of a larger one goes to its partial object.
func (s *Store) open(d *incoming, r io.Reader) error {
	var out *os.File
	last := -1
	defer func() {
		if out != nil {
			_ = out.Close()
		}
	}()
	err := unpack(r, func(i int, at int64, data []byte) error {
		if i < 0 || i >= len(d.m.Files) || at+int64(len(data)) > d.m.Files[i].Size {
			return fmt.Errorf("a piece of file %d in a pack, at %d", i, at)
		}
		f := d.m.Files[i]
		if int64(len(data)) == f.Size {
			return s.take(f, data)
		}
		if i != last {
			if out != nil {
				if err := out.Close(); err != nil {
					return err
				}
			}
			var err error
			if out, err = os.OpenFile(filepath.Join(s.in(), d.m.partial(f)), os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
				return err
			}
			last = i
		}
		_, err := out.WriteAt(data, at)
		return err
	})
	if err == nil && out != nil {
		err = out.Close()
		out = nil
	}
	return err
}

// complete makes objects of the partial ones. It is an error when one is missing,
// or another than the manifest says.
func (s *Store) complete(ctx context.Context, d *incoming) error {
	var all []int // each content once
	seen := map[string]bool{}
	for _, i := range d.place {
		if f := d.m.Files[i]; !seen[f.SHA256] {
			seen[f.SHA256] = true
			all = append(all, i)
		}
	}
	return each(ctx, runtime.NumCPU(), len(all), func(ctx context.Context, n int) error {
		f := d.m.Files[all[n]]
		if s.has(ctx, f.SHA256, f.Size) {
			return nil
		}
		temp := s.partial(f.SHA256)
		err := s.check(ctx, d, all[n], temp)
		switch {
		case err == nil:
			err = s.keep(temp, f.SHA256)
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			_ = os.Remove(temp)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", d.m.dest(f), cause(err))
		}
		return nil
	})
}

// settle puts every file beside its destination, or at once in its place where
// nothing is there, and then renames them all.
func (s *Store) settle(ctx context.Context, d *incoming) error {
	root, err := os.OpenRoot(d.m.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	p := &placing{s: s, d: d, root: root, apart: apart(s.dir(), d.m.Root), names: map[string]bool{}, first: map[string]string{}}
	for _, i := range d.place {
		f := d.m.Files[i]
		p.names[path.Dir(f.Path)] = true
		if p.first[f.SHA256] == "" {
			p.first[f.SHA256] = f.Path
		}
	}
	if len(p.names) <= maxOpen {
		p.dirs = map[string]*os.File{}
	}
	defer p.close()
	err = p.all(ctx)
	if err != nil {
		for _, i := range d.place {
			_ = root.Remove(tempName(s.token, d.m.Files[i].Path)) // those that were renamed are not there any more
		}
	}
	return err
}
