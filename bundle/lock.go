package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLost says that the bundle is no longer there, or is another run's.
var ErrLost = errors.New("lock lost")

// OwnerFile is the owner record's name inside a bundle.
const OwnerFile = ".conc-owner.json"

// Names beside a bundle: one that is being made, and one that is being removed.
const (
	openPrefix  = ".conc-open-"
	closePrefix = ".conc-close-"
)

// staleAfter is the age at which a directory that was prepared and never
// renamed is left over from a killed run, where nothing can be held. Preparing
// takes milliseconds.
const staleAfter = 24 * time.Hour

// emptyAfter is the age at which an empty one is left over: younger, it may be
// another Open's that does not hold it yet.
const emptyAfter = 10 * time.Second

// Open takes the lock: it makes the directory dir whole, its owner record
// inside, in one atomic step. *HeldError when dir exists, whatever it is.
// Opening one's own run's bundle again is held too. Missing parents are made.
//
// Where the system cannot rename without replacing, the step is mkdir, and the
// record follows by a rename: killed between the two, a bundle without a known
// owner is left, which holds as well.
//
// After an error the lock is not taken: what would not last is taken back. Only
// when that cannot be done either, the error says that the bundle is open.
func Open(dir string, o Owner) error {
	if _, err := os.Lstat(dir); err == nil {
		return held(dir)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	sweep(parent)
	_, _ = sweepClosed(dir, o.Run)
	prepared, hold, err := prepare(parent, o)
	defer hold.Close() //nolint:errcheck // it is nil, or was only read
	if prepared != "" {
		// After the rename there is nothing of this name any more.
		defer os.RemoveAll(prepared)
	}
	if err != nil {
		return err
	}
	err = renameNew(prepared, dir)
	if errors.Is(err, errors.ErrUnsupported) {
		err = openByMkdir(prepared, dir)
	}
	if errors.Is(err, fs.ErrExist) {
		return held(dir)
	}
	if err != nil {
		return err
	}
	if err := syncDir(parent); err != nil {
		return takeBack(dir, o.Run, err)
	}
	return nil
}

// takeBack undoes an Open that would not outlive a power loss, because of why.
func takeBack(dir, run string, why error) error {
	aside, _ := moveAside(dir, run, closedName(dir, run))
	if aside == "" {
		return fmt.Errorf("the bundle is open at %s, but may not last: %w", dir, why)
	}
	// Only the record is in it. What remains is no lock, and swept.
	_ = os.Remove(filepath.Join(aside, OwnerFile))
	_ = os.Remove(aside)
	return why
}

// prepare makes a directory with the record in it, on disk, under a hidden name.
func prepare(parent string, o Owner) (string, *os.File, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return "", nil, err
	}
	if len(data) > maxOwner {
		return "", nil, fmt.Errorf("the owner record is larger than %d bytes", maxOwner)
	}
	dir, hold, err := prepareHeld(parent)
	if err != nil {
		return "", nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, OwnerFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return dir, hold, err
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = syncDir(dir)
	}
	return dir, hold, err
}

// prepareHeld makes a directory for a bundle, and holds it, so that nobody
// sweeps it. The hold is nil where nothing can be held.
func prepareHeld(parent string) (dir string, hold *os.File, err error) {
	for range 5 {
		if dir, err = os.MkdirTemp(parent, openPrefix); err != nil { // 0700
			return "", nil, err
		}
		switch hold, err = claim(dir); {
		case err == nil:
			return dir, hold, nil
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK):
			return dir, nil, nil
		}
		// Somebody sweeps it, who looked before it was held.
	}
	return "", nil, err
}

// claim holds a directory for as long as the file is open and the process lives.
// It is EWOULDBLOCK when somebody else does.
func claim(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_, err = os.Lstat(dir) // it may have been swept before it was held
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func openByMkdir(prepared, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	err := os.Rename(filepath.Join(prepared, OwnerFile), filepath.Join(dir, OwnerFile))
	if err == nil {
		return syncDir(dir)
	}
	// Ours and empty, or not removed.
	_ = os.Remove(dir)
	return err
}

func held(dir string) error {
	// A record that cannot be read is an unknown owner; the bundle is held all the same.
	o, _ := ReadOwner(dir)
	return &HeldError{Dir: dir, Owner: o}
}

// sweep removes what killed runs prepared beside the bundle. It is a courtesy:
// what cannot be removed stays.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), openPrefix) {
			continue
		}
		path := filepath.Join(parent, e.Name())
		fi, e := e.Info()
		if e == nil && time.Since(fi.ModTime()) < emptyAfter && empty(path) {
			continue
		}
		hold, err := claim(path)
		if err == nil || e == nil && time.Since(fi.ModTime()) > staleAfter {
			_ = os.RemoveAll(path)
		}
		_ = hold.Close() // nil, or was only read
	}
}

// empty tells whether a directory has nothing in it. One that is prepared is held
// from before there is.
func empty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// Check returns nil when the bundle at dir is run's, and ErrLost otherwise.
func Check(dir, run string) error {
	o, err := ReadOwner(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s is gone", ErrLost, dir)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrLost, err)
	case o == nil:
		return fmt.Errorf("%w: the owner of %s is unknown", ErrLost, dir)
	case o.Run != run || run == "":
		return fmt.Errorf("%w: %s is held by %s@%s, run %s", ErrLost, dir, o.User, o.Host, Short(o.Run))
	}
	return nil
}

// Close removes the bundle at dir with all that is in it, if it is run's;
// ErrLost otherwise. It is moved aside first, so that a bundle is never half
// there under its own name. An error that is not ErrLost and comes after that
// names where the rest of it is; the lock is free then. What an earlier Close
// of the same run, cut short, has left is removed as well; where that is all
// there is of the bundle, it is what was asked for.
func Close(dir, run string) error {
	aside, err := moveAside(dir, run, closedName(dir, run))
	if aside == "" && !errors.Is(err, ErrLost) {
		return err
	}
	found, left := sweepClosed(dir, run)
	switch {
	case left != nil:
		return left
	case found && errors.Is(err, ErrLost):
		return nil
	case aside != "" && err != nil:
		return fmt.Errorf("the bundle is closed, but that may not outlive a power loss: %w", err)
	}
	return err
}

// Closed tells whether nothing of run's bundle is at dir any more, nor beside it.
func Closed(dir, run string) bool {
	return errors.Is(Check(dir, run), ErrLost) && len(leftOvers(dir, run)) == 0
}

// SweepClosed removes what a Close of run's bundle at dir has left when it was
// cut short; never another run's. An error names what is still there.
func SweepClosed(dir, run string) error {
	_, err := sweepClosed(dir, run)
	return err
}

func sweepClosed(dir, run string) (found bool, err error) {
	for _, aside := range leftOvers(dir, run) {
		found = true
		if e := removeAll(aside); e != nil && err == nil {
			err = fmt.Errorf("the bundle is closed, but its files are still at %s: %w", aside, e)
		}
	}
	return found, err
}

// closedName is what run's bundle at dir is called while it is removed.
func closedName(dir, run string) string {
	return filepath.Join(filepath.Dir(dir), closePrefix+filepath.Base(dir)+"-"+Short(run))
}

// leftOvers lists what there is of such names. One that has another run's
// record in it is not ours.
func leftOvers(dir, run string) []string {
	if run == "" {
		return nil
	}
	var all []string
	name := closedName(dir, run)
	for i := 1; i < maxAside; i++ {
		aside := numbered(name, i)
		if fi, err := os.Lstat(aside); err != nil || !fi.IsDir() {
			break
		}
		if o, _ := ReadOwner(aside); o == nil || o.Run == run {
			all = append(all, aside)
		}
	}
	return all
}

// maxAside bounds how many bundles of one run are kept aside.
const maxAside = 1000

// numbered gives the name of the i-th directory that is to be called name.
func numbered(name string, i int) string {
	if i == 1 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, i)
}

// SetAside renames run's bundle to a name beside it, which it returns. Nothing
// is deleted. An empty run stands for a bundle whose owner is unknown.
func SetAside(dir, run string) (string, error) {
	id := Short(run)
	if id == "" {
		id = "unknown"
	}
	return moveAside(dir, run, dir+".aside-"+id)
}

// moveAside renames run's bundle to the name aside, or that name with a number
// when there is something already. With a name and an error it was moved, which
// may not outlive a power loss.
func moveAside(dir, run, aside string) (string, error) {
	if err := mayMove(dir, run); err != nil {
		return "", err
	}
	to := aside
	err := renameFree(dir, to)
	for i := 2; errors.Is(err, fs.ErrExist) && i < maxAside; i++ {
		to = numbered(aside, i)
		err = renameFree(dir, to)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s is gone", ErrLost, dir)
	}
	if err != nil {
		return "", err
	}
	// Between the look and the rename the bundle may have been unlocked and
	// opened by someone else: put theirs back.
	if err := mayMove(to, run); err != nil {
		if back := renameFree(to, dir); back != nil {
			return "", fmt.Errorf("%w; it was moved to %s and could not be put back: %w", err, to, back)
		}
		return "", err
	}
	return to, syncDir(filepath.Dir(dir))
}

func mayMove(dir, run string) error {
	if run != "" {
		return Check(dir, run)
	}
	o, err := ReadOwner(dir)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrLost, err)
	case o != nil:
		return Check(dir, run)
	}
	return nil
}

// renameFree is renameNew with a check before it where the system has none in it.
func renameFree(from, to string) error {
	err := renameNew(from, to)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	}
	return os.Rename(from, to)
}

// removeAll is os.RemoveAll that also empties directories which an archive
// made read-only.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			// WalkDir reads the directory after this call.
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// syncDir makes names in dir last. Filesystems that cannot sync a directory
// say EINVAL; that is no reason to fail.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
