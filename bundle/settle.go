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
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// Want is a file that the node lacks.
type Want struct {
	Index   int    `json:"index"`             // in Manifest.Files
	Temp    string `json:"temp"`              // absolute: where to send it, beside its destination
	Refused string `json:"refused,omitempty"` // why its destination cannot be written; then nothing is sent
}

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

// Lacking is the agent's part: it checks the manifest (a path that leaves root
// is an error), removes what earlier deliveries that were cut short left of the
// same destinations, makes the directories, and tells which files are not there
// with the right content. A file that has the content but another mode is given
// the mode.
func Lacking(m Manifest, run string) ([]Want, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if !runForm.MatchString(run) {
		return nil, fmt.Errorf("manifest: %q is not a run", run)
	}
	if err := os.MkdirAll(m.Root, 0o777); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(m.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()

	if err := tidy(root, m); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var wants []Want
	err = each(context.Background(), runtime.NumCPU(), len(m.Files), func(ctx context.Context, i int) error {
		has, refused, err := holds(ctx, root, m.Files[i])
		if err != nil || has {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		wants = append(wants, Want{Index: i, Temp: path.Join(m.Root, tempName(run, m.Files[i].Path)), Refused: refused})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(wants, func(a, b Want) int { return a.Index - b.Index })
	if slices.ContainsFunc(wants, func(w Want) bool { return w.Refused != "" }) {
		return wants, nil
	}
	if err := room(m, wants); err != nil {
		return nil, err
	}
	return wants, reserve(root, m, wants, run)
}

// tidy makes the directories of m, and removes left-over temporary files of its
// destinations from them.
func tidy(root *os.Root, m Manifest) error {
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
			return fmt.Errorf("%s: %w", path.Join(m.Root, dir), cause(err))
		}
		entries, err := fs.ReadDir(root.FS(), dir)
		if err != nil {
			return fmt.Errorf("%s: %w", path.Join(m.Root, dir), cause(err))
		}
		for _, e := range entries {
			t := tempForm.FindStringSubmatch(e.Name())
			if t == nil || !mine[t[1]] || e.IsDir() {
				continue
			}
			if err := root.Remove(path.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: %w", path.Join(m.Root, dir), cause(err))
			}
		}
	}
	return nil
}

// holds tells whether f is there, with its content; or why it cannot be.
func holds(ctx context.Context, root *os.Root, f File) (has bool, refused string, err error) {
	info, err := root.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, "", nil
	case err != nil:
		return false, "", fmt.Errorf("%s: %w", path.Join(root.Name(), f.Path), cause(err))
	case info.Mode().IsRegular():
	case info.Mode()&fs.ModeSymlink != 0:
		return false, "", nil // the link is replaced, not what it names
	default:
		return false, "it is " + kind(info.Mode()) + " on the node", nil
	}
	if info.Size() != f.Size {
		return false, "", nil
	}
	in, err := root.OpenFile(f.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, "", nil // not readable: it is replaced
	}
	defer in.Close()
	sum, err := hash(ctx, in, f.Size)
	if err != nil || sum != f.SHA256 {
		return false, "", ctx.Err()
	}
	if info.Mode().Perm() != f.Mode {
		if err := in.Chmod(f.Mode); err != nil {
			return false, "", nil // someone else's file: it is replaced
		}
	}
	return true, "", nil
}

// room refuses early what cannot fit. The old files stay until the new ones are
// whole, so there must be room for both.
func room(m Manifest, wants []Want) error {
	var need int64
	for _, w := range wants {
		need += m.Files[w.Index].Size
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.Root, &st); err != nil || st.Blocks == 0 {
		return nil // not known here: the transfer will tell
	}
	if free := uint64(st.Bavail) * uint64(st.Bsize); uint64(need) > free { //nolint:unconvert // types differ between systems
		return fmt.Errorf("%s: %w: %s to send, %s free", m.Root, ErrNoSpace, humanize.Bytes(uint64(need)), humanize.Bytes(free))
	}
	return nil
}

// reserve makes the temporary files of private files, so that their content is
// never readable by others, not even on its way.
func reserve(root *os.Root, m Manifest, wants []Want, run string) error {
	for _, w := range wants {
		f := m.Files[w.Index]
		if f.Mode&0o004 != 0 {
			continue
		}
		t, err := root.OpenFile(tempName(run, f.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Temp, cause(err))
		}
		if err := t.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Settle is the agent's part: each sent file is hashed, synced, given its mode
// and renamed onto its destination, and the directories are synced. Nothing is
// renamed unless every file's content is the manifest's; after an error no
// temporary file of sent is left.
func Settle(m Manifest, sent []Want) (err error) {
	if err := m.check(); err != nil {
		return err
	}
	root, err := os.OpenRoot(m.Root)
	if err != nil {
		return err
	}
	defer root.Close()

	temps := make([]string, len(sent)) // relative to root
	for i, w := range sent {
		if temps[i], err = m.temp(w); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			for _, t := range temps {
				_ = root.Remove(t) // those that were renamed are not there any more
			}
		}
	}()
	err = each(context.Background(), runtime.NumCPU(), len(sent), func(ctx context.Context, i int) error {
		return vouch(ctx, root, temps[i], m.Files[sent[i].Index])
	})
	if err != nil {
		return err
	}
	dirs := map[string]bool{}
	for i, w := range sent {
		f := m.Files[w.Index]
		if err := root.Rename(temps[i], f.Path); err != nil {
			return fmt.Errorf("%s: %w", m.dest(f), cause(err))
		}
		for dir := path.Dir(f.Path); !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for dir := range dirs {
		if err := syncBelow(root, dir); err != nil {
			return fmt.Errorf("%s: %w", path.Join(m.Root, dir), cause(err))
		}
	}
	return nil
}

// temp gives the path of a sent file below the root. It must be one that
// Lacking could have named.
func (m Manifest) temp(w Want) (string, error) {
	if w.Index < 0 || w.Index >= len(m.Files) {
		return "", fmt.Errorf("sent file %d: the manifest has %d", w.Index, len(m.Files))
	}
	f := m.Files[w.Index]
	rel := path.Join(path.Dir(f.Path), path.Base(w.Temp))
	t := tempForm.FindStringSubmatch(path.Base(w.Temp))
	if t == nil || t[1] != tempMark(f.Path) || path.Join(m.Root, rel) != w.Temp {
		return "", fmt.Errorf("%q is not a temporary name of %s", w.Temp, m.dest(f))
	}
	return rel, nil
}

// vouch makes sure that what has arrived is f, and stays.
func vouch(ctx context.Context, root *os.Root, temp string, f File) error {
	dest := path.Join(root.Name(), f.Path)
	info, err := root.Lstat(temp)
	if err != nil {
		return fmt.Errorf("%s: %w", dest, cause(err))
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: what arrived is %s", dest, kind(info.Mode()))
	}
	in, err := root.OpenFile(temp, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", dest, cause(err))
	}
	defer in.Close()
	sum, err := hash(ctx, in, f.Size)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case info.Size() != f.Size || err != nil || sum != f.SHA256:
		return fmt.Errorf("%s: what arrived is not what the manifest says (%d bytes of %d)", dest, info.Size(), f.Size)
	}
	if err := in.Chmod(f.Mode); err != nil {
		return fmt.Errorf("%s: %w", dest, cause(err))
	}
	if err := in.Sync(); err != nil {
		return fmt.Errorf("%s: %w", dest, cause(err))
	}
	return nil
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
