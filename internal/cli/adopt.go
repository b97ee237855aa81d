package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.org/conc/bundle"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// adopt has the agent go on with an interrupted run. Of two that try it at the
// same moment, the node takes one.
func (w *wave) adopt(ctx context.Context, t task, l *link, r *runner.Runner) error {
	take := l.Adopt
	if t.resume.rest != nil {
		take = l.AdoptRest
		r.Closed = true
	}
	err := take(ctx, t.resume.there)
	if err == nil {
		r.Before = w.takenAsDone(t)
		r.Opened, err = w.opened(t, r.Env.Bundle)
	}
	return err
}

// takenAsDone are the records of what is said by going on at a step: that those
// before it, which are not OK, have been seen to.
func (w *wave) takenAsDone(t task) []jobs.Record {
	var all []jobs.Record
	for _, s := range notOKBefore(t.resume.state, t.from) {
		all = append(all, jobs.Record{Type: jobs.RecordMark, Step: s.N, Name: s.Name, Mark: &jobs.Mark{
			By: w.who(), Note: fmt.Sprintf("taken as done by going on from step %d", t.from),
		}})
	}
	return all
}

// sayTakenAsDone tells what is said by going on at a step, before that is
// recorded. To go on after a step that began is to say that one has looked; where
// one never began, it may be a slip, and a person at a terminal is asked, unless
// yes. node is put first, where there are several.
func (p *program) sayTakenAsDone(ctx context.Context, node string, s runner.State, from int, yes bool) error {
	never := 0
	for _, s := range notOKBefore(s, from) {
		was := string(s.Status)
		switch {
		case s.Doubt:
			was = "in doubt"
		case s.Status == "":
			was = "not started"
			never++
		}
		fmt.Fprintf(p.streams.Err, "%sstep %d %s: %s, taken as done\n", node, s.N, ui.Line(s.Name), was)
	}
	if never == 0 || yes || p.terminal() == nil {
		return nil
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	ok, err := p.confirm(ctx, fmt.Sprintf("%s%s never began. Go on all the same?", node, ui.Count(never, "step")))
	if err == nil && !ok {
		err = jobs.Stoppedf("nothing was done")
	}
	return err
}

// notOKBefore are the steps before step from that are not OK.
func notOKBefore(s runner.State, from int) []runner.StepState {
	return slices.DeleteFunc(slices.Clone(s.Steps), func(s runner.StepState) bool {
		return s.N >= from || s.Status == jobs.OK
	})
}

// opened tells where the bundle of the run that is gone on with is open. Where
// the run began on another workstation, this one gets its half of the bundle.
func (w *wave) opened(t task, here string) ([]jobs.Host, error) {
	if t.resume == nil {
		return nil, nil
	}
	var hosts []jobs.Host
	if t.resume.rest == nil {
		hosts = append(hosts, jobs.Remote)
	}
	if !t.plan.OpenBefore(jobs.Local, t.from) {
		return hosts, nil
	}
	owner := *t.resume.held.Owner
	err := bundle.Check(here, owner.Run)
	if errors.Is(err, bundle.ErrLost) {
		err = bundle.Open(here, owner)
	}
	var held *bundle.HeldError
	if errors.As(err, &held) { // not of the node, which the screen of a HeldError is about
		id := agent.UnknownRun
		if held.Owner != nil {
			id = bundle.Short(held.Owner.Run)
		}
		return nil, jobs.Blockedf("the bundle on this workstation is that of another run, %s: %s", id, here).
			WithHint("if nobody needs that one any more: %s", w.toType("unlock", t.node.Name(), "--id", id))
	}
	return append(hosts, jobs.Local), err
}
