package cli

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// A node that puts something else where the journal of the run was: it is said,
// and nobody waits for it.
func TestJournalThatIsNoFile(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\na = remote run false\n")
	o.want(1, "deploy", "web1")
	found, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc", "runs", "*", "journal"))
	if len(found) != 1 {
		t.Fatalf("got journals %v", found)
	}
	path, run := found[0], o.shortID()
	for what, make := range map[string]func() error{
		"a FIFO":   func() error { return syscall.Mkfifo(path, 0o600) },
		"a folder": func() error { return os.Mkdir(path, 0o700) },
		"a link":   func() error { return os.Symlink("/dev/zero", path) },
		"too large": func() error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 100<<20)
		},
	} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := make(); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"status", "web1"}, {"step", "web1", "--from", "a"}, {"mark", "web1", "a", "OK"}} {
			r := o.want(6, args...)
			if r.took > time.Minute {
				t.Errorf("%s, %v took %s", what, args, r.took)
			}
			r.mustSay(t, "damaged", "alice@desk7", "unlock web1 --id "+run)
		}
		if what != "too large" { // history reads as much as is allowed of a node, and finds damage there
			o.want(0, "history", "web1").mustSay(t, "regular file")
		}
	}
	o.want(0, "unlock", "web1", "--id", run, "-y")
}
