package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/bundle"
	"example.org/conc/internal/testnode"
)

// The bundle on this workstation is not given up while the deploy that opened it
// is at work, whatever the node knows of that.
func TestUnlockIsRefusedWhileTheDeployHereLives(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), "stage = local open_bundle\nwork = local "+waits(mark)+"\nunstage = local close_bundle\n")
	cmd, _, _ := o.process("deploy", "web1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	eventually(t, "the step runs", func() bool { return is(mark, "started") })
	found, _ := filepath.Glob(filepath.Join(o.env.StateDir, "bundles", "web1-*"))
	if len(found) != 1 {
		t.Fatalf("got local bundles %v", found)
	}
	owner, err := bundle.ReadOwner(found[0])
	if err != nil {
		t.Fatal(err)
	}
	id := bundle.Short(owner.Run)
	if r := o.want(3, "unlock", "web1", "--id", id, "-y"); !strings.Contains(r.err, "still at work on run "+id) || !is(found[0]) {
		t.Errorf("got\n%s", r)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	put(t, mark, "go")
	o.want(0, "unlock", "web1", "--id", id, "-y")
	if _, err := os.Stat(found[0]); err == nil {
		t.Error("it is still there")
	}
	o.want(0, "history", id).mustSay(t, "given up")
}
