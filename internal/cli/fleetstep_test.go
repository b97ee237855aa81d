package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Each node goes on with its own run; what was never begun is for deploy.
func TestStepOfSeveralNodes(t *testing.T) {
	t.Parallel()
	const n = 5
	o := fleetOf(t, n, lockedList)
	mend1, mend2 := o.breakOn(1), o.breakOn(2)
	o.want(1, "deploy", "n02") // a run of its own
	r := o.want(1, "deploy", "n00", "n01", "n02", "n03", "-f", "1", "--max-fail", "2")
	for _, want := range []string{
		"1 OK, 1 FAILED, 1 BLOCKED, 1 not started\n",
		"step n01 --from 4\n", "step n02\n", "deploy @failed\n",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	r = o.want(0, "step", "@failed")
	for _, want := range []string{"n01", "n02", "step @failed --again", "no run is open on n03"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	mend1()
	r = o.want(1, "step", "@failed", "--again", "-f", "2", "--json")
	if _, nodes := endOf(t, r); fmt.Sprint(nodes) != "map[n01:OK n02:FAILED]" {
		t.Errorf("got %v\n%s", nodes, r)
	}
	mend2()
	o.want(0, "step", "@failed", "--again")
	o.want(0, "deploy", "@failed")
	if got := o.has(n, "test-bundle"); len(got) > 0 {
		t.Errorf("left open: %v", got)
	}
	for i, want := range []string{"x\n", "x\n", "x\n", "x\n", ""} {
		if text, _ := os.ReadFile(o.at(i, "marks")); string(text) != want {
			t.Errorf("marks on node %d: got %q, want %q", i, text, want)
		}
	}
	if r := o.want(2, "step", "@failed", "--again"); !strings.Contains(r.err, "all of the last run") {
		t.Errorf("when nothing is left:\n%s", r)
	}
	r = o.want(0, "history")
	if got := strings.Count(r.out, "OK"); got < 4 {
		t.Errorf("history:\n%s", r)
	}
}

// A step whose end is not known is somebody's to decide.
func TestStepAgainInDoubt(t *testing.T) {
	t.Parallel()
	o := fleetOf(t, 2, "open = remote open_bundle\nkill = remote shell \"test -e sane || kill -9 $PPID\"\nclose = remote close_bundle\n")
	if err := os.WriteFile(o.at(1, "sane"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.want(6, "deploy", "@all", "--to", "kill", "--set", "timeout.reconnect=1ms", "--max-fail", "0")
	r := o.want(3, "step", "@all", "--again", "--set", "timeout.reconnect=1ms")
	for _, want := range []string{"step 2 kill is in doubt", "1 OK, 1 BLOCKED"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	if got := o.has(2, "test-bundle"); !slices.Equal(got, []int{0}) {
		t.Errorf("open bundles: got %v, want that of the node in doubt", got)
	}
	o.want(3, "step", "n00", "--again", "--set", "timeout.reconnect=1ms")
	o.want(0, "step", "n00", "--from", "3", "--set", "timeout.reconnect=1ms")
}
