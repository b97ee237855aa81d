package jobs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
)

// unpacking is one archive on its way into an empty directory.
type unpacking struct {
	ctx   context.Context
	in    *intake
	root  *os.Root
	strip int
	left  int64 // bytes that may still come

	members int
	files   int
	bytes   int64
	links   []string             // symlinks made
	dirs    map[string]time.Time // directories made, and their times; zero: now
	buf     []byte
}

func (u *unpacking) all() error {
	stream, packed, closeIt, err := unpacked(u.in)
	if err != nil {
		return err
	}
	defer closeIt()
	u.dirs = map[string]time.Time{".": {}}
	u.buf = make([]byte, 256<<10)
	// Headers and padding come on top of what the members hold.
	end := &ending{r: stream, left: u.left + u.left/4 + 64<<20}
	tr := tar.NewReader(end)
	for {
		end.n = 0
		hdr, err := tr.Next()
		if err == io.EOF {
			if u.members == 0 {
				return errors.New("not a tar archive, or an empty one")
			}
			if !packed && !end.marked() {
				return fmt.Errorf("it ends without an end mark: %w", io.ErrUnexpectedEOF)
			}
			break
		}
		if u.members == 0 && (errors.Is(err, tar.ErrHeader) || !packed && u.in.size < 512 && errors.Is(err, io.ErrUnexpectedEOF)) {
			return errors.New("not a tar archive")
		}
		if err != nil {
			return err
		}
		if u.members++; u.members > untarMembers {
			return fmt.Errorf("more than %s members", humanize.Comma(untarMembers))
		}
		if err := u.member(hdr, tr); err != nil {
			return fmt.Errorf("%q: %w", hdr.Name, err)
		}
	}
	if err := drain(end); err != nil {
		return err
	}
	if u.files == 0 && len(u.links) == 0 && len(u.dirs) == 1 {
		return errors.New("nothing in it to unpack: strip drops every name")
	}
	return u.finish()
}

func (u *unpacking) member(hdr *tar.Header, body io.Reader) error {
	switch hdr.Typeflag {
	case tar.TypeXGlobalHeader: // of git archive, say
		return nil
	case tar.TypeReg, tar.TypeRegA, tar.TypeCont, tar.TypeGNUSparse, tar.TypeDir, tar.TypeSymlink, tar.TypeLink: //nolint:staticcheck // old archives have TypeRegA
	case tar.TypeChar, tar.TypeBlock:
		return errors.New("a device: refused")
	case tar.TypeFifo:
		return errors.New("a FIFO: refused")
	default:
		return fmt.Errorf("a member of type %q: refused", hdr.Typeflag)
	}
	name, err := u.inside(hdr.Name)
	if err != nil {
		return err
	}
	if name == "." {
		if hdr.Typeflag != tar.TypeDir && u.strip == 0 {
			return errors.New("no name")
		}
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(body, u.left), u.buf)
		return err
	}
	if hdr.Typeflag == tar.TypeDir {
		if err := u.directory(name); err != nil {
			return err
		}
		u.dirs[name] = hdr.ModTime
		// Owned ones stay usable, so that the tree can be removed again.
		return u.root.Chmod(name, fs.FileMode(hdr.Mode)&fs.ModePerm|0o700)
	}
	if err := u.directory(path.Dir(name)); err != nil {
		return err
	}
	if err := u.makeWay(name); err != nil {
		return err
	}
	switch hdr.Typeflag {
	case tar.TypeSymlink:
		return u.symlink(name, hdr.Linkname)
	case tar.TypeLink:
		return u.hardlink(name, hdr.Linkname)
	}
	return u.regular(name, hdr, body)
}

// inside gives a member's name below the destination, "." for the destination
// itself and for names that strip drops whole.
func (u *unpacking) inside(name string) (string, error) {
	switch {
	case path.IsAbs(name):
		return "", errors.New("an absolute name: refused")
	case strings.ContainsRune(name, 0) || len(name) > 4096:
		return "", errors.New("not a file's name")
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", errors.New("a name that leads out of the archive: refused")
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) <= u.strip {
		return ".", nil
	}
	parts = parts[u.strip:]
	if strings.HasPrefix(parts[0], ".conc-") {
		return "", errors.New("names that start with .conc- are conc's own: refused")
	}
	return path.Join(parts...), nil
}

// directory makes a directory and its parents. One that is a link already is
// refused: nothing is written through links.
func (u *unpacking) directory(name string) error {
	if _, known := u.dirs[name]; known {
		return nil
	}
	if err := u.directory(path.Dir(name)); err != nil {
		return err
	}
	if err := u.root.Mkdir(name, 0o777); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%q is in the archive as a file or a link: refused", name)
		}
		return err
	}
	u.dirs[name] = time.Time{}
	return nil
}

// makeWay lets the last of several members of one name win, as tar does.
func (u *unpacking) makeWay(name string) error {
	if _, isDir := u.dirs[name]; isDir {
		return errors.New("it is a directory in the archive already")
	}
	err := u.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (u *unpacking) regular(name string, hdr *tar.Header, body io.Reader) error {
	switch {
	case hdr.Mode&0o6000 != 0:
		return errors.New("a setuid or setgid file: refused")
	case hdr.Size > u.left:
		return errTooBig
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(body, u.left+1), u.buf)
	u.left -= n
	if err == nil && u.left < 0 {
		err = errTooBig
	}
	if err == nil {
		err = f.Chmod(fs.FileMode(hdr.Mode) & fs.ModePerm)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	u.files++
	u.bytes += n
	return u.times(name, hdr.ModTime)
}

var errTooBig = errors.New("the archive unpacks to more than max= allows")

// times sets a member's time. A time that the file system cannot hold is not
// worth a failure.
func (u *unpacking) times(name string, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	if err := u.root.Chtimes(name, t, t); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EOVERFLOW) {
		return err
	}
	return nil
}

func (u *unpacking) symlink(name, target string) error {
	joined := path.Join(path.Dir(name), target)
	if target == "" || path.IsAbs(target) || joined == ".." || strings.HasPrefix(joined, "../") {
		return fmt.Errorf("a link that leads outside, to %q: refused", target)
	}
	u.links = append(u.links, name)
	return u.root.Symlink(target, name)
}

func (u *unpacking) hardlink(name, target string) error {
	old, err := u.inside(target)
	if err != nil || old == "." {
		return fmt.Errorf("a hard link to %q, outside: refused", target)
	}
	if info, err := u.root.Lstat(old); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("a hard link to %q, which is no file of the archive before it: refused", target)
	}
	u.files++
	return u.root.Link(old, name)
}

// finish judges the links, now that all are there: one may lead out through
// another one, which os.Root notices on the way. Then directories get their
// times, which their members have changed.
func (u *unpacking) finish() error {
	for _, name := range u.links {
		if _, err := u.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%q: a link that cannot be followed inside the archive: refused", name)
		}
	}
	for name, t := range u.dirs {
		if err := u.times(name, t); err != nil {
			return err
		}
	}
	return nil
}
