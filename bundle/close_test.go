package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Close that was cut short leaves the bundle under another name. The same
// run's next Close, or Open, removes it; nobody touches another run's.
func TestCloseRemovesWhatItsRunHasLeft(t *testing.T) {
	cutShort := func(t *testing.T, dir, run string) {
		t.Helper()
		aside := closedName(dir, run)
		if err := errors.Join(Open(dir, owner(run)), os.WriteFile(filepath.Join(dir, "f"), nil, 0o600), os.Rename(dir, aside)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "b")
	cutShort(t, dir, runA)
	cutShort(t, dir, runB)
	// The record of one is gone already.
	if err := os.Remove(filepath.Join(closedName(dir, runA), OwnerFile)); err != nil {
		t.Fatal(err)
	}
	if Closed(dir, runA) {
		t.Error("its files are still there")
	}
	if err := Close(dir, runA); err != nil {
		t.Errorf("Close of a bundle that is only left over: %v", err)
	}
	if !Closed(dir, runA) || Closed(dir, runB) {
		t.Error("got the one left, or the other one gone")
	}
	if err := Close(dir, runA); !errors.Is(err, ErrLost) {
		t.Errorf("once more: got %v, want %v", err, ErrLost)
	}
	cutShort(t, dir, runA)
	if err := Open(dir, owner(runA)); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(names(t, filepath.Dir(dir)), " "), filepath.Base(closedName(dir, runB))+" b"; got != want {
		t.Errorf("after Open: got %s, want %s", got, want)
	}
	if Closed(dir, runA) {
		t.Error("it is open")
	}
	// A name that is taken by another run's is not in the way.
	other := filepath.Join(filepath.Dir(dir), "c")
	cutShort(t, other, runB)
	if err := errors.Join(os.Rename(closedName(other, runB), closedName(dir, runA)), Close(dir, runA)); err != nil {
		t.Error(err)
	}
	if o, err := ReadOwner(closedName(dir, runA)); err != nil || o.Run != runB {
		t.Errorf("another run's is touched: %+v, %v", o, err)
	}
}
