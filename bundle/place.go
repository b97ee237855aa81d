package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"

	"golang.org/x/sys/unix"
)

var runForm = regexp.MustCompile(`^[0-9A-Za-z]{1,26}$`)

// A temporary file's name tells the run and the destination's base name:
// unique in its directory, and known again by a later delivery.
var tempForm = regexp.MustCompile(`^\.conc-[0-9A-Za-z]{1,8}-([0-9a-f]{16})\.part$`)

func tempMark(p string) string {
	sum := sha256.Sum256([]byte(path.Base(p)))
	return hex.EncodeToString(sum[:8])
}

func tempName(run, p string) string {
	return path.Join(path.Dir(p), ".conc-"+Short(run)+"-"+tempMark(p)+".part")
}

// tidy makes the directories of m, and removes left-over temporary files of its
// destinations from them. It tells which paths of m there is something at.
func tidy(root *os.Root, m Manifest) (present map[string]bool, _ error) {
	present = map[string]bool{}
	names := map[string]map[string]bool{} // directory: the base names of the files in it
	for _, f := range m.Files {
		dir, base := path.Split(f.Path)
		dir = path.Clean(dir)
		if names[dir] == nil {
			names[dir] = map[string]bool{}
		}
		names[dir][base] = true
	}
	for dir, mine := range names {
		if err := root.MkdirAll(dir, 0o777); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(m.Root, dir), cause(err))
		}
		if err := look(root, dir, mine, present); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(m.Root, dir), cause(err))
		}
	}
	return present, nil
}

// look looks through one directory.
func look(root *os.Root, dir string, mine, present map[string]bool) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1) // as they come: there may be many
	if err != nil {
		return err
	}
	var marks map[string]bool // of mine
	for _, e := range entries {
		if mine[e.Name()] {
			present[path.Join(dir, e.Name())] = true
		}
		t := tempForm.FindStringSubmatch(e.Name())
		if t == nil || e.IsDir() {
			continue
		}
		if marks == nil {
			marks = map[string]bool{}
			for name := range mine {
				marks[tempMark(name)] = true
			}
		}
		if !marks[t[1]] {
			continue
		}
		if err := root.Remove(path.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// holds tells whether f is in its directory, with its content; or why it cannot be.
func holds(ctx context.Context, dir *os.File, f File) (has bool, refused string, err error) {
	name := path.Base(f.Path)
	var st unix.Stat_t
	err = unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, "", nil
	case err != nil:
		return false, "", fmt.Errorf("%s: %w", path.Join(dir.Name(), name), err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return false, "", nil // the link is replaced, not what it names
	case unix.S_IFDIR:
		return false, "it is " + kind(fs.ModeDir) + " on the node", nil
	case unix.S_IFIFO:
		return false, "it is " + kind(fs.ModeNamedPipe) + " on the node", nil
	case unix.S_IFSOCK:
		return false, "it is " + kind(fs.ModeSocket) + " on the node", nil
	default:
		return false, "it is " + kind(fs.ModeDevice) + " on the node", nil
	}
	if st.Size != f.Size {
		return false, "", nil
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, "", nil //nolint:nilerr // not readable: it is replaced
	}
	defer unix.Close(fd) //nolint:errcheck // it was only read
	sum, err := hash(ctx, descriptor(fd), f.Size)
	if err != nil || sum != f.SHA256 {
		return false, "", ctx.Err()
	}
	if fs.FileMode(st.Mode).Perm() != f.Mode {
		if err := unix.Fchmod(fd, uint32(f.Mode)); err != nil {
			return false, "", nil //nolint:nilerr // someone else's file: it is replaced
		}
	}
	return true, "", nil
}

// descriptor reads and writes an open regular file. An os.File would make more
// system calls for a small file than the file itself takes.
type descriptor int

func (d descriptor) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(d), p)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (d descriptor) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(d), p[done:])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return done, err
		}
		done += max(n, 0)
	}
	return done, nil
}

func syncBelow(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// cause drops the operation and the temporary or relative path from an error of
// the file system: the callers name the path that a person knows.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}

// packForm is the name of a pack on the node.
var packForm = regexp.MustCompile(`^[0-9]{1,9}-[0-9]{1,9}\.pack$`)

func packName(delivery, n int) string { return fmt.Sprintf("%d-%d.pack", delivery, n) }

func sumHex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
