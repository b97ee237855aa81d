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
	"syscall"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// Settlement says what of a delivery has been sent.
type Settlement struct {
	ID    int      `json:"id"`              // of the Answer
	Packs []string `json:"packs,omitempty"` // names in Answer.Into, whole
	Data  []byte   `json:"data,omitempty"`  // a pack that travels along
	Last  bool     `json:"last,omitempty"`  // that is all: everything to its place
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
		if err := s.openFile(d, filepath.Join(s.in(), name)); err != nil {
			return err
		}
	}
	if !p.Last {
		return nil
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
	s.tidy(d.m.Files)
	s.trim()
	return nil
}

// tidy removes what was on its way to these files, and is no longer.
func (s *Store) tidy(files []File) {
	mine, _ := filepath.Glob(filepath.Join(s.in(), Short(s.Run)+"-*.pack")) // the pattern is a good one
	for _, f := range files {
		if f.Size >= chunked {
			mine = append(mine, s.partials(f.SHA256)...)
		}
	}
	for _, p := range mine {
		_ = os.Remove(p)
	}
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
			if out, err = os.OpenFile(s.partial(f.SHA256), os.O_WRONLY|os.O_CREATE, 0o600); err != nil {
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
	return each(ctx, runtime.NumCPU(), len(d.place), func(ctx context.Context, n int) error {
		f := d.m.Files[d.place[n]]
		if s.has(ctx, f.SHA256, f.Size) {
			return nil
		}
		temp := s.partial(f.SHA256)
		err := s.verify(ctx, temp, f.SHA256, f.Size)
		switch {
		case err == nil:
			err = s.keep(temp, f.SHA256)
			if errors.Is(err, fs.ErrNotExist) && s.has(ctx, f.SHA256, f.Size) { // a twin was faster
				err = nil
			}
		case errors.Is(err, fs.ErrNotExist) && s.has(ctx, f.SHA256, f.Size):
			err = nil
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

// settle makes a temporary file of every object beside its destination, and
// then renames them all.
func (s *Store) settle(ctx context.Context, d *incoming) (err error) {
	root, err := os.OpenRoot(d.m.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	defer func() {
		if err != nil {
			for _, i := range d.place {
				_ = root.Remove(tempName(s.Run, d.m.Files[i].Path)) // those that were renamed are not there any more
			}
		}
	}()
	many := len(d.place) > fewFiles
	err = each(ctx, runtime.NumCPU(), len(d.place), func(ctx context.Context, n int) error {
		f := d.m.Files[d.place[n]]
		if err := s.lay(ctx, root, f, !many); err != nil {
			if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
				err = fmt.Errorf("%w: it takes %s", ErrNoSpace, humanize.Bytes(uint64(f.Size)))
			}
			return fmt.Errorf("%s: %w", d.m.dest(f), cause(err))
		}
		return nil
	})
	if err == nil && many {
		err = syncAll(root.Name())
	}
	if err != nil {
		return err
	}
	dirs := map[string]bool{}
	for _, i := range d.place {
		f := d.m.Files[i]
		if err := root.Rename(tempName(s.Run, f.Path), f.Path); err != nil {
			return fmt.Errorf("%s: %w", d.m.dest(f), cause(err))
		}
		for dir := path.Dir(f.Path); !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	if len(dirs) > fewFiles {
		return syncAll(root.Name())
	}
	for dir := range dirs {
		if err := syncBelow(root, dir); err != nil {
			return fmt.Errorf("%s: %w", path.Join(d.m.Root, dir), cause(err))
		}
	}
	return nil
}

// fewFiles are synced one by one; of more, their file system is.
const fewFiles = 8

// lay makes the temporary file of f, from its object: a link where that has no
// other place yet, otherwise a copy, which costs nothing on some file systems.
// Two destinations never share an inode, so that a change by hand of one is none
// of the other; and one of the object is noticed before it is used again.
func (s *Store) lay(ctx context.Context, root *os.Root, f File, sync bool) error {
	temp := tempName(s.Run, f.Path)
	object := s.object(f.SHA256)
	linked := false
	if fi, err := os.Lstat(object); err != nil {
		return err
	} else if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink == 1 && int(st.Uid) == os.Geteuid() {
		linked = linkInto(object, root, temp) == nil
	}
	flags := os.O_RDWR
	if !linked {
		flags |= os.O_CREATE | os.O_EXCL
	}
	out, err := root.OpenFile(temp, flags|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if !linked {
		if err := duplicate(ctx, out, object, f); err != nil {
			return err
		}
	}
	if err := out.Chmod(f.Mode); err != nil {
		return err
	}
	if sync {
		return out.Sync()
	}
	return nil
}

// linkInto makes a hard link of object. root's own Link stays below it, so the
// directory is opened as the way there.
func linkInto(object string, root *os.Root, name string) error {
	dir, err := root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Linkat(unix.AT_FDCWD, object, int(dir.Fd()), filepath.Base(name), 0)
}

// duplicate copies an object, and makes sure of the copy.
func duplicate(ctx context.Context, out *os.File, object string, f File) error {
	in, _, err := OpenRegular(object)
	if err != nil {
		return err
	}
	defer in.Close()
	if reflink(out, in) == nil {
		return nil
	}
	n, err := io.Copy(out, &ctxReader{ctx, io.LimitReader(in, f.Size)})
	if err == nil && n != f.Size {
		err = errOther
	}
	return err
}
