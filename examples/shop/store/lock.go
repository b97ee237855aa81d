package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrInUse says that a service, or a migration, is at work on the data.
var ErrInUse = errors.New("the data are in use")

func lockName(dir string) string { return filepath.Join(dir, "lock") }

// lockDir locks a data directory until the file is closed, or the process is no
// more: the kernel holds the lock, so no crash leaves a stale one. The file says
// whose it is.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(lockName(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// User gives the process that has the data in use; 0 is nobody.
func User(dir string) (pid int, err error) {
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
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
