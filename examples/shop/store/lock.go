package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrInUse says that a service, or a migration, is at work on the data.
var ErrInUse = errors.New("the data are in use")

func lockName(dir string) string { return filepath.Join(dir, "lock") }

// lockDir locks a data directory until the file is closed, or the process is no
// more: the kernel holds the lock, so no crash leaves a stale one. The file is
// empty then: a service writes into it which process it is.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(lockName(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	// Whoever only looks, by Service, has it for a moment: that is no use of the data.
	for range 20 {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Service gives the process of the service that has the data; 0 is none. It is
// ErrInUse when something else has them.
func Service(dir string) (pid int, err error) {
	f, err := os.OpenFile(lockName(dir), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil: // what the file says is of long ago
		return 0, nil
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return 0, err
	}
	text, err := os.ReadFile(lockName(dir))
	if err != nil {
		return 0, err
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return 0, fmt.Errorf("%s: %w, by no service", dir, ErrInUse)
	}
	return pid, nil
}
