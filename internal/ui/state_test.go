package ui

import (
	"strings"
	"testing"

	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// A step's line of the status is no wider than the terminal, and whole elsewhere.
func TestStateFitsTheTerminal(t *testing.T) {
	why := strings.Repeat("because ", 20) + "so"
	f := Found{Node: "web1", Now: start, State: runner.State{Steps: []runner.StepState{
		{N: 1, Name: "migrate", Host: jobs.Remote, Status: jobs.Failed, Result: &jobs.Result{Step: 1, Status: jobs.Failed, Message: why}},
	}}}
	if !strings.Contains(State(f), why) {
		t.Errorf("not on a terminal: got\n%s", State(f))
	}
	f.Width = 80
	for l := range strings.Lines(State(f)) {
		if n := cells(strings.TrimRight(l, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
}
