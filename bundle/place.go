package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
	marks := map[string]map[string]bool{} // directory: marks of the files in it
	for _, f := range m.Files {
		dir := path.Dir(f.Path)
		if marks[dir] == nil {
			marks[dir] = map[string]bool{}
		}
		marks[dir][tempMark(f.Path)] = true
	}
	for dir, mine := range marks {
		if err := root.MkdirAll(dir, 0o777); err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(m.Root, dir), cause(err))
		}
		entries, err := fs.ReadDir(root.FS(), dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(m.Root, dir), cause(err))
		}
		for _, e := range entries {
			present[path.Join(dir, e.Name())] = true
			t := tempForm.FindStringSubmatch(e.Name())
			if t == nil || !mine[t[1]] || e.IsDir() {
				continue
			}
			if err := root.Remove(path.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("%s: %w", path.Join(m.Root, dir), cause(err))
			}
		}
	}
	return present, nil
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
	in := os.NewFile(uintptr(fd), name)
	defer in.Close()
	sum, err := hash(ctx, in, f.Size)
	if err != nil || sum != f.SHA256 {
		return false, "", ctx.Err()
	}
	if fs.FileMode(st.Mode).Perm() != f.Mode {
		if err := in.Chmod(f.Mode); err != nil {
			return false, "", nil // someone else's file: it is replaced
		}
	}
	return true, "", nil
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
