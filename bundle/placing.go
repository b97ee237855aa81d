package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sync"
	"syscall"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

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
	if errors.Is(err, unix.EACCES) { // a mode that its owner may not read
		return syncAll(dir.Name())
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
