package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk that fills up while a file is on its way: the protocol only says
// "failure", and the operator must still read what it is.
func TestDeliverToAFullDisk(t *testing.T) {
	f := newFar(t)
	disk := filepath.Join(f.home, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=4m,mode=0777"); err != nil {
		t.Skip("cannot mount a tmpfs: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	src := t.TempDir()
	dest := write(t, filepath.Join(disk, "big"), []byte("old"), 0o644)
	check := func(t *testing.T, err error, path string) {
		t.Helper()
		if err == nil || !errors.Is(err, ErrNoSpace) || !strings.HasPrefix(err.Error(), path+": no space left on the node: ") {
			t.Errorf("got %v, want %s: no space left on the node", err, path)
		}
		if got, _ := os.ReadFile(dest); string(got) != "old" {
			t.Errorf("the destination: got %d bytes, want the old ones", len(got))
		}
		if left := leftovers(t, disk); left != nil {
			t.Errorf("left over: %v", left)
		}
	}
	t.Run("seen before", func(t *testing.T) {
		big := write(t, filepath.Join(src, "big"), noise(20<<20), 0o644)
		_, err := Deliver(t.Context(), f, disk, []Source{{Local: big, Path: "big"}}, Options{})
		check(t, err, disk)
	})
	t.Run("while it is sent", func(t *testing.T) {
		filler := filepath.Join(disk, "filler")
		f.lacked = func([]Want) { write(t, filler, noise(2<<20), 0o600) }
		big := write(t, filepath.Join(src, "big"), noise(3<<20), 0o644)
		_, err := Deliver(t.Context(), f, disk, []Source{{Local: big, Path: "big"}}, Options{})
		check(t, err, dest)

		f.lacked = nil
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if _, err := Deliver(t.Context(), f, disk, []Source{{Local: big, Path: "big"}}, Options{}); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
}
