package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// A run that was stopped between the two halves of its bundle holds the node no
// more, and still has something to do.
func TestStepGoesOnAfterTheNodesBundleWasClosed(t *testing.T) {
	mark := t.TempDir()
	list := counted(mark, "", "")
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	o.want(0, "deploy", "web1", "--to", "close")
	if o.bundle() {
		t.Fatal("the bundle is open on the node")
	}
	for _, args := range [][]string{{"status", "web1"}, {"step", "web1"}} {
		r := o.want(0, args...)
		for _, want := range []string{"free", "has closed the bundle", "8/8  unstage  local   not started", "step web1 --from 8"} {
			if !strings.Contains(r.out, want) {
				t.Errorf("%v does not say %q:\n%s", args, want, r)
			}
		}
	}
	for _, from := range []string{"1", "close"} {
		if r := o.want(3, "step", "web1", "--from", from); !strings.Contains(r.String(), "begins with step 8") {
			t.Errorf("got\n%s", r)
		}
	}
	if r := o.want(0, "step", "web1", "--from", "8"); strings.Contains(r.out, "stays open") {
		t.Errorf("nothing is open any more:\n%s", r)
	}
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
	if r := o.want(0, "status", "web1"); strings.Contains(r.out, "unstage") {
		t.Errorf("nothing is left to be done:\n%s", r)
	}
	o.want(3, "step", "web1", "--from", "8")
	o.want(0, "deploy", "web1")
}

// A list in Go is no other than one in deploy.ini.
func TestStepGoesOnAfterAListInGoHasClosed(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\n")
	o.app = testApp
	o.want(0, "deploy", "web1", "--jobs", "in-go", "--to", "close").mustSay(t, "step web1 --from 5 --jobs in-go")
	o.want(0, "status", "web1").mustSay(t, "has closed the bundle", "step web1 --from 5")
	o.want(0, "step", "web1", "--from", "unstage", "--jobs", "in-go")
	o.wantAllOK()
	o.want(0, "deploy", "web1", "--jobs", "in-go")
}

// Two go on with what is left at the same moment, with no bundle to adopt: one
// does, and what it does is done once.
func TestTwoResumesOfWhatIsLeftAtOnce(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	list := "open = remote open_bundle\nstage = local open_bundle\nclose = remote close_bundle\n" +
		"after = local shell \"echo ran >>" + mark + "/after; sleep 0.5\"\nunstage = local close_bundle\n"
	for range 2 {
		o := newOperator(t, inProcess(t, testnode.Options{}), list)
		first, stdout, stderr := o.process("deploy", "web1", "--to", "close")
		if err := first.Run(); err != nil {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		type end struct {
			code int
			text string
		}
		done := make(chan end, 2)
		for range 2 {
			cmd, stdout, stderr := o.process("step", "web1", "--from", "after")
			go func() {
				_ = cmd.Run()
				done <- end{cmd.ProcessState.ExitCode(), stdout.String() + stderr.String()}
			}()
		}
		a, b := <-done, <-done
		if a.code+b.code != 3 || a.code*b.code != 0 {
			t.Errorf("got exit codes %d and %d, want one 0 and one 3\n%s\n%s", a.code, b.code, a.text, b.text)
		}
		o.wantTimes(mark, map[string]int{"after": 1})
		if err := os.Remove(filepath.Join(mark, "after")); err != nil {
			t.Fatal(err)
		}
		o.wantAllOK()
		if r := o.want(0, "history"); strings.Contains(r.String(), "damaged") {
			t.Errorf("the workstation's journal:\n%s", r)
		}
	}
}

// Of another workstation nothing is left here.
func TestFreeNodeHasNothingLeftForOthers(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "", ""))
	o.want(0, "deploy", "web1", "--to", "close")
	other := *o
	other.env.StateDir = t.TempDir()
	other.want(3, "step", "web1", "--from", "8")
}

// The last step of a list may be in doubt when nothing holds the node any more.
func TestStepAfterTheCloseIsMarked(t *testing.T) {
	list := counted(t.TempDir(), "", "") + "tell = local run false\n"
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	r := o.want(1, "deploy", "web1")
	if !strings.Contains(r.out, "step web1 --from 9") || !strings.Contains(r.out, "mark web1 9 OK") {
		t.Errorf("the screen does not say how to go on:\n%s", r)
	}
	if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "mark web1 9 OK") {
		t.Errorf("status does not say that it can be marked:\n%s", r)
	}
	o.want(0, "mark", "web1", "tell", "OK", "--note", "told them")
	if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "free") || strings.Contains(r.out, "tell") {
		t.Errorf("something is left:\n%s", r)
	}
	o.want(3, "mark", "web1", "tell", "OK")
	o.want(2, "step") // no run of this workstation is interrupted
}
