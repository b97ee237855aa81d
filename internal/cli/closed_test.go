package cli

import (
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
