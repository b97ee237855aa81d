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
// renamed is left over from a killed run. Preparing takes milliseconds.
const staleAfter = 24 * time.Hour

// Open takes the lock: it makes the directory dir whole, its owner record
// inside, in one atomic step. *HeldError when dir exists, whatever it is.
// Opening one's own run's bundle again is held too. Missing parents are made.
//
// Where the system cannot rename without replacing, the step is mkdir, and the
// record follows by a rename: killed between the two, a bundle without a known
// owner is left, which holds as well.
func Open(dir string, o Owner) error {
	if _, err := os.Lstat(dir); err == nil {
		return held(dir)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	sweep(parent)
	prepared, err := prepare(parent, o)
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
	return syncDir(parent)
}

// prepare makes a directory with the record in it, on disk, under a hidden name.
func prepare(parent string, o Owner) (string, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	if len(data) > maxOwner {
		return "", fmt.Errorf("the owner record is larger than %d bytes", maxOwner)
	}
	dir, err := os.MkdirTemp(parent, openPrefix) // 0700
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(filepath.Join(dir, OwnerFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return dir, err
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
	return dir, err
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
		if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > staleAfter {
			_ = os.RemoveAll(filepath.Join(parent, e.Name()))
		}
	}
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
// names where the rest of it is; the lock is free then.
func Close(dir, run string) error {
	aside := filepath.Join(filepath.Dir(dir), closePrefix+filepath.Base(dir)+"-"+Short(run))
	aside, err := moveAside(dir, run, aside)
	if err != nil {
		return err
	}
	if err := removeAll(aside); err != nil {
		return fmt.Errorf("the bundle is closed, but its files are still at %s: %w", aside, err)
	}
	return nil
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
// when there is something already.
func moveAside(dir, run, aside string) (string, error) {
	if err := mayMove(dir, run); err != nil {
		return "", err
	}
	to := aside
	err := renameFree(dir, to)
	for i := 2; errors.Is(err, fs.ErrExist) && i < 1000; i++ {
		to = fmt.Sprintf("%s-%d", aside, i)
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
