package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/internal/testnode"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// nodeJournal is the path of the one journal that the node has.
func (o *operator) nodeJournal() string {
	o.t.Helper()
	found, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc", "runs", "*", "journal"))
	if len(found) != 1 {
		o.t.Fatalf("got journals %v on the node, want one", found)
	}
	return found[0]
}

// wantAllOK fails the test unless each step is OK in the node's own record, none
// marked but those named, and nothing temporary is left on the node.
func (o *operator) wantAllOK(marked ...string) {
	o.t.Helper()
	var records []jobs.Record
	eventually(o.t, "the node has recorded the last local step, which nobody waits for", func() bool {
		var err error
		if records, _, err = runner.ReadJournal(o.nodeJournal()); err != nil {
			o.t.Fatal(err)
		}
		last := records[len(records)-1]
		return last.Type == jobs.RecordEnd && last.Name == "unstage"
	})
	for _, s := range runner.Fold(records).Steps {
		if s.Status != jobs.OK || s.Doubt || (s.Mark != nil) != slices.Contains(marked, s.Name) {
			o.t.Errorf("the node's record of step %d %s: %q, doubt %v, mark %v", s.N, s.Name, s.Status, s.Doubt, s.Mark)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc-*")); len(left) > 0 || o.bundle() {
		o.t.Errorf("left on the node: %v", left)
	}
}

// The agent dies in close_bundle: before the bundle is renamed, after it, with
// half of it removed, and with all of it gone. What status says goes on to a
// clean end, and so does going on after it.
func TestAgentKilledWhileItClosesTheBundle(t *testing.T) {
	at := map[string]func(dir, aside string) error{
		"before the rename": func(string, string) error { return nil },
		"after the rename":  os.Rename,
		"during the removal": func(dir, aside string) error {
			return errors.Join(os.Rename(dir, aside), os.Remove(filepath.Join(aside, bundle.OwnerFile)))
		},
		"after the removal": func(dir, _ string) error { return os.RemoveAll(dir) },
	}
	for name, change := range at {
		for _, from := range []string{"close", "unstage"} {
			t.Run(name+" from "+from, func(t *testing.T) {
				t.Parallel()
				mark := t.TempDir()
				o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "", ""))
				o.want(0, "deploy", "web1", "--to", "d")
				dir := filepath.Join(o.node.Home, o.node.Attrs()["bundle"])
				owner, err := bundle.ReadOwner(dir)
				if err != nil {
					t.Fatal(err)
				}
				j, err := runner.OpenJournal(o.nodeJournal())
				if err == nil {
					err = errors.Join(j.Record(jobs.Record{Type: jobs.RecordBegin, Step: 7, Name: "close"}), j.Close(),
						change(dir, filepath.Join(o.node.Home, ".conc-close-"+filepath.Base(dir)+"-"+bundle.Short(owner.Run))))
				}
				if err != nil {
					t.Fatal(err)
				}
				r := o.want(0, "status", "web1")
				r.mustSay(t, "7/8  close    remote  in doubt")
				r.mustSay(t, "step web1 --from 7")
				if from == "unstage" && o.bundle() {
					// It says that the bundle is closed, and it is not: that is seen.
					o.want(0, "step", "web1", "--from", "close")
					o.wantAllOK()
					return
				}
				o.want(0, "step", "web1", "--from", from)
				if from == "close" {
					o.wantAllOK()
				} else {
					o.wantAllOK("close")
				}
				o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
				if r := o.want(0, "status", "web1"); strings.Contains(r.out, "go on") {
					t.Errorf("nothing is left:\n%s", r)
				}
				o.want(0, "history", "web1").mustSay(t, "8/8    OK")
				o.want(0, "deploy", "web1")
			})
		}
	}
}

// The screen of the run whose agent was killed says what status says.
func TestScreenOfARunKilledWhileItCloses(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	n := inProcess(t, testnode.Options{})
	o := newOperator(t, n, "open = remote open_bundle\nstage = local open_bundle\n"+
		"fill = remote shell \"echo $PPID >"+mark+"/agent; cd $HOME/"+n.Attrs()["bundle"]+"; seq 5000 | xargs touch\"\n"+
		"close = remote close_bundle\nunstage = local close_bundle\n")
	done := make(chan ran, 1)
	go func() { done <- o.run("deploy", "web1") }()
	closing := func() []string {
		found, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc-close-*"))
		return found
	}
	for len(closing()) == 0 {
		select {
		case <-done:
			t.Skip("the removal was faster")
		case <-time.After(time.Millisecond):
		}
	}
	if err := syscall.Kill(pidIn(t, mark, "agent"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var r ran
	select {
	case r = <-done:
	case <-time.After(time.Minute):
		t.Fatal("the deploy does not end")
	}
	if len(closing()) == 0 {
		t.Skip("the removal was faster")
	}
	const next = "step web1 --from 4"
	if r.code != 6 || !strings.Contains(r.out, next) || strings.Contains(r.out, "start anew") {
		t.Errorf("got exit code %d, want 6 and %q\n%s", r.code, next, r)
	}
	o.want(0, "status", "web1").mustSay(t, next)
	o.want(0, "step", "web1", "--from", "4")
	o.wantAllOK()
	if left := closing(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
