package ui

import (
	"fmt"
	"slices"

	"al.essio.dev/pkg/shellescape"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
	"example.org/conc/runner"
)

// proposal is something to do next, and the commands that do it.
type proposal struct {
	label string
	argv  [][]string
}

func (p proposal) lines() []string {
	lines := make([]string, len(p.argv))
	for i, argv := range p.argv {
		lines[i] = shellescape.QuoteCommand(argv)
	}
	return lines
}

// unknownRun is what unlock calls the run of a bundle without an owner's record.
const unknownRun = "unknown"

// nextCommands gives what can be done about a run that has ended. None when no
// bundle is in the way, and no step has been started or all are done.
func nextCommands(o Options, e runner.Event) []proposal {
	return append(testAgain(o, e), goingOn(o, e)...)
}

// testAgain proposes to make the checks again that a run has made worse.
func testAgain(o Options, e runner.Event) []proposal {
	after := e.Outcome.After
	if after == nil || e.Outcome.Status == jobs.OK || nodetest.Worst(after.Results) == jobs.OK {
		return nil
	}
	argv := append(append([]string{o.Name}, o.Args...), "nodetest", e.Node)
	return []proposal{{"test again", [][]string{append(argv, nodetest.OnlyFlags(after.Results)...)}}}
}

// lookAfter gives the command that makes the node's checks, once a run is at the
// end of its list and has made none itself. Nil: it has, or the node has no suite.
func lookAfter(o Options, e runner.Event) []string {
	if o.Quiet || e.Plan == nil || e.Plan.Node == nil || e.Plan.Node.Get("nodetest") == "" {
		return nil
	}
	_, to := asked(e)
	if out := e.Outcome; out.Status != jobs.OK || out.Open || out.After != nil || to < len(e.Plan.Steps) {
		return nil
	}
	for _, s := range e.Plan.Steps {
		if _, made := s.Op.(nodetest.SuiteOp); made {
			return nil
		}
	}
	return append(append([]string{o.Name}, o.Args...), "nodetest", e.Node)
}

// goingOn gives what can be done about the run itself.
func goingOn(o Options, e runner.Event) []proposal {
	out := e.Outcome
	if out.Status == "" {
		return nil // its turn never came
	}
	conc := func(words ...string) []string {
		return append(append([]string{o.Name}, o.Args...), words...)
	}
	deploy := append(conc("deploy", e.Node), listFlag(e.Plan)...)
	unlock := func(run string) []string { return conc("unlock", e.Node, "--id", run) }
	switch {
	case out.Held != nil:
		run := unknownRun
		if out.Held.Owner != nil {
			run = bundle.Short(out.Held.Owner.Run)
		}
		return []proposal{
			{"wait for it", [][]string{append(slices.Clone(deploy), "--lock-wait", "30m")}},
			{"look", [][]string{conc("status", e.Node)}},
			{"if abandoned", [][]string{unlock(run), deploy}},
		}
	case out.Open:
		return append(goOn(e, conc), proposal{"give up", [][]string{unlock(bundle.Short(e.Run))}})
	case closedThere(e):
		rest := goOn(e, conc)
		if localOpen(e) && rest != nil {
			rest = append(rest, proposal{"give up", [][]string{unlock(bundle.Short(e.Run))}})
		}
		return rest
	case out.Status == jobs.Errored && bundleInDoubt(e):
		return []proposal{{"look", [][]string{conc("status", e.Node)}}}
	case localOpen(e) && out.Status != jobs.OK:
		return []proposal{{"start anew", [][]string{unlock(bundle.Short(e.Run)), deploy}}}
	case out.Status == jobs.OK, out.Status == jobs.Errored, len(out.Results) == 0:
		return nil
	}
	return []proposal{{"try again", [][]string{deploy}}}
}

// goOn gives the ways on with a run whose bundle is open.
func goOn(e runner.Event, conc func(...string) []string) []proposal {
	out := e.Outcome
	from := func(n int) []string {
		return append(conc("step", e.Node, "--from", fmt.Sprint(n)), listFlag(e.Plan)...)
	}
	look := conc("status", e.Node)
	n := out.Stopped
	started := slices.ContainsFunc(out.Results, func(r jobs.Result) bool { return r.Step == n })
	switch {
	case n == 0: // halted where it was asked to
		_, to := asked(e)
		if to >= len(e.Plan.Steps) {
			return nil
		}
		return []proposal{{"go on", [][]string{from(to + 1)}}}
	case !started:
		return append(lookFirst(out, look), proposal{"go on", [][]string{from(n)}})
	}
	done := [][]string{conc("mark", e.Node, fmt.Sprint(n), "OK")}
	if n < len(e.Plan.Steps) {
		done = append(done, from(n+1))
	}
	return append(lookFirst(out, look), proposal{"try again", [][]string{from(n)}}, proposal{"done by hand", done})
}

// closedThere tells whether the run has closed its bundle on the node before the
// step that it stopped at, or was halted at, or in it: what is left of its list
// needs no lock.
func closedThere(e runner.Event) bool {
	if e.Outcome.Closed {
		return true
	}
	if e.Plan == nil {
		return false
	}
	n := e.Outcome.Stopped
	if n == 0 {
		_, to := asked(e)
		n = to + 1
	}
	closed := false
	for _, s := range e.Plan.Steps[:n-1] {
		if s.Host != jobs.Remote {
			continue
		}
		switch s.Op.(type) {
		case jobs.OpenBundle:
			closed = false
		case jobs.CloseBundle:
			closed = true
		}
	}
	return closed
}

// bundleInDoubt tells whether the run stopped at a step that was to open or to
// close the bundle on the node: whether it is there, status knows.
func bundleInDoubt(e runner.Event) bool {
	if e.Plan == nil || e.Outcome.Stopped == 0 {
		return false
	}
	s := e.Plan.Steps[e.Outcome.Stopped-1]
	switch s.Op.(type) {
	case jobs.OpenBundle, jobs.CloseBundle:
		return s.Host == jobs.Remote && len(e.Outcome.Results) > 0
	}
	return false
}

// lookFirst is the proposal to ask the node, where it may know more than this
// end: the outcome of a step, or of the run, is not vouched for.
func lookFirst(out *runner.Outcome, look []string) []proposal {
	last := len(out.Results) - 1
	if out.Status == jobs.Errored || last >= 0 && out.Results[last].Status == jobs.Errored {
		return []proposal{{"look", [][]string{look}}}
	}
	return nil
}

// resume is how the run is gone on with: nil when there is none to go on with.
func resume(o Options, e runner.Event) []string {
	for _, p := range nextCommands(o, e) {
		if p.label == "try again" || p.label == "go on" {
			if e.Outcome.Open || closedThere(e) {
				return p.argv[0]
			}
		}
	}
	return nil
}
