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

// ErrAlive says that an agent of the same run is running.
var ErrAlive = errors.New("another agent of it is running")

// HoldAlive says, until release is called or this process ends, that an agent
// of run is running. Children do not inherit it. The run's directory is made.
// It is ErrAlive when another agent of the same run is.
func HoldAlive(ctx context.Context, home, run string) (release func(), err error) {
	if !ValidRun(run) {
		return nil, fmt.Errorf("not a run's id: %q", run)
	}
	dir := RunDir(home, run)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// Another process that looks holds it for a moment, and an agent that is
	// just ending for a little longer.
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	f := flock.New(filepath.Join(dir, aliveFile), flock.SetPermissions(0o600))
	_, err = f.TryLockContext(ctx, 20*time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("run %s: %w", Short(run), ErrAlive)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// Alive tells whether an agent of run is running on this host. It is advice:
// nothing is decided by it alone.
func Alive(home, run string) bool {
	if !ValidRun(run) {
		return false
	}
	f := flock.New(filepath.Join(RunDir(home, run), aliveFile), flock.SetFlag(os.O_RDONLY))
	ok, err := f.TryRLock()
	defer f.Close()
	return err == nil && !ok
}
