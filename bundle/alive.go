package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// RunDir is where a node keeps what it knows of a run, below its home.
func RunDir(home, run string) string { return filepath.Join(home, ".conc", "runs", run) }

// ValidRun tells whether run can be a run's id: letters and digits only, so
// that it is one safe name in a path.
func ValidRun(run string) bool {
	if run == "" || len(run) > 64 {
		return false
	}
	for _, c := range []byte(run) {
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
			return false
		}
	}
	return true
}

const aliveFile = "alive"

// ErrAlive says that another process is at work on the same run.
var ErrAlive = errors.New("another process is at work on it")

// HoldAlive says, until release is called or this process ends, that an agent
// of run is running. Children do not inherit it. The run's directory is made.
// It is ErrAlive when another agent of the same run is.
func HoldAlive(ctx context.Context, home, run string) (release func(), err error) {
	if !ValidRun(run) {
		return nil, fmt.Errorf("not a run's id: %q", run)
	}
	return HoldFile(ctx, filepath.Join(RunDir(home, run), aliveFile))
}

// HoldFile holds the file at path, which is made, and its folder, until release
// is called or this process ends. Children do not inherit it. It is ErrAlive
// when somebody else holds it.
func HoldFile(ctx context.Context, path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// Another process that looks holds it for a moment, and one that is just
	// ending for a little longer.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	f := flock.New(path, flock.SetPermissions(0o600))
	_, err = f.TryLockContext(ctx, 20*time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, ErrAlive
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// Alive tells whether an agent of run is running on this host. It is advice:
// nothing is decided by it alone.
func Alive(home, run string) bool {
	return ValidRun(run) && FileHeld(filepath.Join(RunDir(home, run), aliveFile))
}

// FileHeld tells whether somebody holds the file at path, by HoldFile.
func FileHeld(path string) bool {
	f := flock.New(path, flock.SetFlag(os.O_RDONLY))
	ok, err := f.TryRLock()
	defer f.Close()
	return err == nil && !ok
}
