package ui

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// terminal makes of what a terminal of so many lines was sent what is on it and
// above it, and the most lines that were ever below the first that changed again.
func terminal(t *testing.T, sent string, height int) string {
	t.Helper()
	lines, row := []string{""}, 0
	code := regexp.MustCompile(`^\x1b\[(\d*)([A-Z])`)
	for sent != "" {
		switch m := code.FindStringSubmatch(sent); {
		case m != nil && m[2] == "A":
			n, _ := strconv.Atoi(m[1])
			if n >= height || n > row {
				t.Errorf("%d lines up, in line %d of a terminal of %d", n, row, height)
				n = min(n, row)
			}
			row -= n
			sent = sent[len(m[0]):]
		case m != nil && m[2] == "K":
			lines[row], sent = "", sent[len(m[0]):]
		case m != nil && m[2] == "J":
			lines, sent = lines[:row+1], sent[len(m[0]):]
			lines[row] = ""
		case m != nil:
			sent = sent[len(m[0]):] // a colour
		case sent[0] == '\r':
			sent = sent[1:]
		case sent[0] == '\n':
			if row++; row == len(lines) {
				lines = append(lines, "")
			}
			sent = sent[1:]
		default:
			lines[row] += sent[:1]
			sent = sent[1:]
		}
	}
	return strings.Join(lines, "\n")
}

// fleetRun plays a run of so many nodes, all at once; every tenth is not OK.
func fleetRun(n int, pause time.Duration) func(*script, *Screen) {
	return func(s *script, _ *Screen) {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("web%03d", i))
		}
		s.nodes = names
		s.event(runner.Event{Type: runner.RunStart, Nodes: names, Forks: n})
		play := func(name string, e runner.Event) {
			e.Node, e.Plan, e.Target = name, plan(name), "deploy@"+name+":22"
			e.Time, e.Run = s.now, run
			s.show(e)
		}
		step := func(name string) jobs.Step { return plan(name).Steps[0] }
		for _, name := range names {
			play(name, runner.Event{Type: runner.NodeStart})
			play(name, runner.Event{Type: runner.StepStart, Step: step(name)})
		}
		for i, name := range names {
			s.tick(time.Second)
			time.Sleep(pause)
			out := runner.Outcome{Node: name, Status: jobs.OK, Done: 5, Took: time.Second}
			res := jobs.Result{Step: 1, Status: jobs.OK}
			if i%10 == 9 {
				res = jobs.Result{Step: 1, Status: jobs.Failed, Message: "exit 1", Tail: []string{"it says no"}, Lines: 1}
				out = runner.Outcome{Node: name, Status: jobs.Failed, Stopped: 1, NotStarted: 4, Took: time.Second}
			}
			out.Results = []jobs.Result{res}
			play(name, runner.Event{Type: runner.StepEnd, Step: step(name), Result: res})
			play(name, runner.Event{Type: runner.NodeEnd, Outcome: &out})
		}
		s.event(runner.Event{Type: runner.RunEnd, Code: 1})
	}
}

// What stays on the terminal of a run of many nodes is what a file gets: a line
// for each that is OK, all there is to say of one that is not, and the table.
func TestLinesOfManyNodes(t *testing.T) {
	const height = 24 // as onTerminal has it
	for _, n := range []int{2, 40} {
		var plain strings.Builder
		sent := onTerminal(t, 80, Options{}, fleetRun(n, 200*time.Millisecond/time.Duration(n)))
		s, screen := newScript(Options{Out: &plain, Err: &plain})
		fleetRun(n, 0)(s, screen)
		if got, want := terminal(t, sent, height), plain.String(); got != want {
			t.Errorf("%d nodes: on the terminal is\n%s\nwant, as off it,\n%s", n, got, want)
		}
		if got := strings.Count(plain.String(), "it says no"); got != n/10 {
			t.Errorf("%d nodes: %d failures are told, want %d", n, got, n/10)
		}
		if !strings.Contains(sent, "RUNNING") || n > 10 && !strings.Contains(sent, " OK, 1 FAILED, ") {
			t.Errorf("%d nodes: no live lines in %q", n, sent)
		}
		if draws, most := strings.Count(sent, " at work"), 6+int(time.Second/fleetTick); draws > most {
			t.Errorf("%d nodes: drawn %d times", n, draws)
		}
	}
}
