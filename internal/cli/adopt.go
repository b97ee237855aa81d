package cli

import (
	"context"
	"errors"
	"fmt"

	"example.org/conc/bundle"
	"example.org/conc/internal/agent"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// adopt has the agent go on with an interrupted run. Of two that try it at the
// same moment, the node takes one.
func (w *wave) adopt(ctx context.Context, t task, l *link, r *runner.Runner) error {
	take := l.Adopt
	if w.options.resume.rest != nil {
		take = l.AdoptRest
		r.Closed = true
	}
	err := take(ctx, w.options.resume.there)
	if err == nil {
		r.Before = w.takenAsDone()
		r.Opened, err = w.opened(t, r.Env.Bundle)
	}
	return err
}

// takenAsDone are the records of what is said by going on at a step: that those
// before it, which are not OK, have been seen to.
func (w *wave) takenAsDone() []jobs.Record {
	var all []jobs.Record
	for _, s := range w.options.resume.state.Steps {
		if s.N < w.options.from && s.Status != jobs.OK {
			all = append(all, jobs.Record{Type: jobs.RecordMark, Step: s.N, Name: s.Name, Mark: &jobs.Mark{
				By: w.who(), Note: fmt.Sprintf("taken as done by going on from step %d", w.options.from),
			}})
		}
	}
	return all
}

// opened tells where the bundle of the run that is gone on with is open. Where
// the run began on another workstation, this one gets its half of the bundle.
func (w *wave) opened(t task, here string) ([]jobs.Host, error) {
	if w.options.resume == nil {
		return nil, nil
	}
	var hosts []jobs.Host
	if w.options.resume.rest == nil {
		hosts = append(hosts, jobs.Remote)
	}
	if !t.plan.OpenBefore(jobs.Local, w.options.from) {
		return hosts, nil
	}
	owner := *w.options.resume.held.Owner
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
