package bundle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A directory that may be written and not read cannot be synced. Open then has
// not taken the lock, and Close says that it is given back.
func TestDirectoryThatCannotBeSynced(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(parent, 0o700) })
	if os.Geteuid() == 0 {
		// Root may read it all the same: this thread is somebody else meanwhile.
		if err := errors.Join(os.Chmod(filepath.Dir(filepath.Dir(parent)), 0o755), os.Chown(parent, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Skip(err)
		}
		defer func() { _, _ = unix.SetfsuidRetUid(0) }()
	}
	if err := os.Chmod(parent, 0o300); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "b")
	if err := Open(dir, owner(runA)); !errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "is open") {
		t.Errorf("Open: got %v, want that it may not", err)
	}
	left := func() string {
		t.Helper()
		if err := os.Chmod(parent, 0o700); err != nil {
			t.Fatal(err)
		}
		return strings.Join(names(t, parent), " ")
	}
	if got := left(); got != "" {
		t.Errorf("after an Open that failed: got %s, want nothing", got)
	}
	if err := errors.Join(Open(dir, owner(runA)), os.Chmod(parent, 0o300)); err != nil {
		t.Fatal(err)
	}
	if err := Close(dir, runA); err == nil || errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "the bundle is closed") {
		t.Errorf("Close: got %v, want that it is closed, and may not last", err)
	}
	// Nor can what is in it be removed there; the next to close it does that.
	left()
	if err := Close(dir, runA); err != nil || left() != "" {
		t.Errorf("Close, once it may be read: %v; left %s", err, left())
	}
}
