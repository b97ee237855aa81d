package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
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
	s.share(d.m.Files)
	s.tidy(d.m.Files)
	s.trim()
	return nil
}

// tidy removes what sessions that are over have gathered: that of this run is kept
// for its next deliveries, but for these files; that of another run was of use
// now, or will be never.
func (s *Store) tidy(files []File) {
	mine := map[string]bool{}
	for _, f := range files {
		mine[f.SHA256+partialEnd] = true
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
	var all []File // each content once
	seen := map[string]bool{}
	for _, i := range d.place {
		if f := d.m.Files[i]; !seen[f.SHA256] {
			seen[f.SHA256] = true
			all = append(all, f)
		}
	}
	return each(ctx, runtime.NumCPU(), len(all), func(ctx context.Context, n int) error {
		f := all[n]
		if s.has(ctx, f.SHA256, f.Size) {
			return nil
		}
		temp := s.partial(f.SHA256)
		err := s.verify(ctx, temp, f.SHA256, f.Size)
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

// placing is a settle.
type placing struct {
	s    *Store
	d    *incoming
	root *os.Root
	many bool

	apart bool              // the objects are on another file system
	names map[string]bool   // of the destinations' directories
	first map[string]string // by sha256: of those with that content, the one that may be a link

	mu   sync.Mutex
	dirs map[string]*os.File // of them, open; nil when they are too many for that
}

// maxOpen bounds the directories that are held open.
const maxOpen = 200

// fewFiles are synced one by one; of more, their file system is.
const fewFiles = 8

func (p *placing) all(ctx context.Context) error {
	p.many = len(p.d.place) > fewFiles
	hows := make([]int, len(p.d.place))
	copied, fresh := false, false
	var mu sync.Mutex
	err := each(ctx, runtime.NumCPU(), len(p.d.place), func(ctx context.Context, n int) error {
		f := p.d.m.Files[p.d.place[n]]
		how, err := p.lay(ctx, f)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = fmt.Errorf("%w: it takes %s", ErrNoSpace, humanize.Bytes(uint64(f.Size)))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.d.m.dest(f), cause(err))
		}
		mu.Lock()
		defer mu.Unlock()
		hows[n], copied, fresh = how, copied || how == asCopy, fresh || p.s.isOwn(f.SHA256)
		return nil
	})
	// Content and modes are on disk before they have a name.
	if err == nil && p.many && fresh {
		err = syncAll(p.s.dir())
	}
	if err == nil && p.many && copied && (!fresh || p.apart) {
		err = syncAll(p.root.Name())
	}
	if err != nil {
		return err
	}
	for n, i := range p.d.place {
		f := p.d.m.Files[i]
		if hows[n] == asName && p.link(f, path.Base(f.Path)) == nil {
			continue
		} else if hows[n] == asName {
			// Something came there meanwhile, or the object has another name by now.
			if _, err := p.beside(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", p.d.m.dest(f), cause(err))
			}
		}
		if err := p.root.Rename(tempName(p.s.token, f.Path), f.Path); err != nil {
			return fmt.Errorf("%s: %w", p.d.m.dest(f), cause(err))
		}
	}
	return p.sync()
}

// How a file was put beside its destination.
const (
	asLink = iota + 1
	asCopy
	asName // not at all: the object is linked to its place at once, where nothing is
)

// lay makes ready what f becomes.
func (p *placing) lay(ctx context.Context, f File) (how int, err error) {
	if p.many && !p.d.present[f.Path] && p.mayLink(f) {
		return asName, nil
	}
	return p.beside(ctx, f)
}

// mayLink tells whether f's object has no other place yet, and gives it its mode.
func (p *placing) mayLink(f File) bool {
	if p.first[f.SHA256] != f.Path {
		return false
	}
	object := p.s.object(f.SHA256)
	fi, err := os.Lstat(object)
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink != 1 || int(st.Uid) != os.Geteuid() || p.apart {
		return false
	}
	return fi.Mode().Perm() == f.Mode || os.Chmod(object, f.Mode) == nil
}

// link makes a name of f's object, in the directory of its destination.
func (p *placing) link(f File, name string) error {
	dir, done, err := p.dir(path.Dir(f.Path))
	if err != nil {
		return err
	}
	defer done()
	return unix.Linkat(unix.AT_FDCWD, p.s.object(f.SHA256), int(dir.Fd()), name, 0)
}

// beside makes the temporary file of f, from its object: a link where that has no
// other place yet, otherwise a copy, which costs nothing on some file systems.
// Two destinations never share an inode, so that a change by hand of one is none
// of the other; and one of the object is noticed before it is used again.
func (p *placing) beside(ctx context.Context, f File) (how int, err error) {
	temp := path.Base(tempName(p.s.token, f.Path))
	object := p.s.object(f.SHA256)
	dir, done, err := p.dir(path.Dir(f.Path))
	if err != nil {
		return 0, err
	}
	defer done()
	if p.mayLink(f) && p.link(f, temp) == nil {
		if !p.many {
			return asLink, syncAt(dir, temp)
		}
		return asLink, nil
	}
	fd, err := unix.Openat(int(dir.Fd()), temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return 0, err
	}
	out := os.NewFile(uintptr(fd), temp)
	defer out.Close()
	if err := duplicate(ctx, out, object, f); err != nil {
		return 0, err
	}
	if err := out.Chmod(f.Mode); err != nil {
		return 0, err
	}
	if !p.many {
		return asCopy, out.Sync()
	}
	return asCopy, nil
}

func syncAt(dir *os.File, name string) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EACCES) { // a mode that its owner may not read: it was synced as an object
		return nil
	}
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return f.Sync()
}

// dir opens a directory of destinations, once where that can be; done is called
// when it is not needed any more.
func (p *placing) dir(name string) (d *os.File, done func(), err error) {
	if p.dirs == nil {
		d, err = p.root.Open(name)
		return d, func() { _ = d.Close() }, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d = p.dirs[name]; d == nil {
		if d, err = p.root.Open(name); err != nil {
			return nil, nil, err
		}
		p.dirs[name] = d
	}
	return d, func() {}, nil
}

func (p *placing) close() {
	for _, d := range p.dirs {
		_ = d.Close()
	}
}

// sync has the names on disk, too: those of the directories, and of the ones
// above them, which may be new.
func (p *placing) sync() error {
	if len(p.names) > fewFiles {
		return syncAll(p.root.Name())
	}
	done := map[string]bool{}
	for name := range p.names {
		for dir := name; !done[dir]; dir = path.Dir(dir) {
			done[dir] = true
			if err := syncBelow(p.root, dir); err != nil {
				return fmt.Errorf("%s: %w", path.Join(p.root.Name(), dir), cause(err))
			}
		}
	}
	return nil
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
