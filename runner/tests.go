package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// Test makes the checks that go with a run, on its node, and reports each.
type Test func(ctx context.Context, node Remote, report func(nodetest.Result)) error

// testBefore makes the checks before the first step, so that what is not OK
// without this run is known. Only to have no results is an error.
func (r *Runner) testBefore(ctx context.Context) error {
	if r.Test == nil {
		return nil
	}
	rep := r.test(ctx, false)
	r.outcome.Before = &rep
	switch {
	case r.Interrupt.Raised():
		return jobs.Stoppedf("interrupted before the first step")
	case rep.Err != nil:
		return fmt.Errorf("the checks before the first step: %w", rep.Err)
	}
	return nil
}

// testAfter makes the checks after the last step, and ends the run by what was
// not so before. A run that is not OK has no result to be looked at.
func (r *Runner) testAfter(ctx context.Context) {
	if r.Test == nil || r.outcome.Before == nil || r.outcome.Before.Err != nil {
		return
	}
	if r.outcome.Status != jobs.OK {
		r.note("the checks of the suite %s were not made again: the run is not OK", r.Suite)
		return
	}
	conclude := func(status jobs.Status, err error) { r.outcome.Status, r.outcome.Err = status, err }
	if r.Interrupt.Raised() {
		conclude(jobs.Stopped, jobs.Stoppedf("interrupted before the checks that come after the last step"))
		return
	}
	if err := r.remote.Err(); err != nil {
		if err := r.renew(ctx, err); err != nil {
			conclude(jobs.Errored, fmt.Errorf("the checks after the last step were not made: %w", err))
			return
		}
	}
	rep := r.test(ctx, true)
	if rep.Err != nil && r.remote.Err() != nil && !r.Interrupt.Raised() && r.renew(ctx, r.remote.Err()) == nil {
		rep = r.test(ctx, true) // they change nothing
	}
	r.outcome.After = &rep
	switch {
	case r.Interrupt.Raised():
		conclude(jobs.Stopped, jobs.Stoppedf("interrupted while the checks after the last step were made"))
		return
	case rep.Err != nil:
		conclude(jobs.Errored, fmt.Errorf("the checks after the last step: %w", rep.Err))
		return
	}
	_, known := rep.Counts()
	said := jobs.Tests{Suite: rep.Suite, Status: rep.Status(), Summary: rep.Summary(), Known: known}
	if err := r.record(jobs.Record{Type: jobs.RecordTests, Tests: &said}); err != nil {
		conclude(jobs.Errored, fmt.Errorf("the journal cannot be written: %w", err))
		return
	}
	if said.Status != jobs.OK {
		before := "it was not so before"
		if known > 0 {
			before = fmt.Sprintf("%s; %d more known from before", before, known)
		}
		conclude(said.Status, &jobs.Error{Status: said.Status, Err: fmt.Errorf("%s (%s)", said.Summary, before)})
	}
}

// test makes the checks once, over the link that the run has now.
func (r *Runner) test(ctx context.Context, after bool) nodetest.Report {
	r.emit(Event{Type: TestStart, After: after})
	rep := nodetest.Report{Node: r.Plan.Node.Name(), Target: r.Target, Suite: r.Suite, Begun: time.Now()}
	ctx, release := r.untilStop(ctx)
	rep.Err = r.Test(ctx, r.remote, func(res nodetest.Result) {
		res = r.masked(res)
		res.Known = after && res.Bad() && r.wasBad(res)
		rep.Results = append(rep.Results, res)
	})
	release()
	rep.Took = time.Since(rep.Begun)
	r.emit(Event{Type: TestEnd, After: after, Tests: &rep})
	return rep
}

// wasBad tells whether a check was neither OK nor SKIPPED before the run.
func (r *Runner) wasBad(res nodetest.Result) bool {
	for _, b := range r.outcome.Before.Results {
		if b.N == res.N {
			return b.Bad()
		}
	}
	return false
}

// masked hides in a result what is hidden in all that steps say.
func (r *Runner) masked(res nodetest.Result) nodetest.Result {
	hide := jobs.NewFilter(r.hidden()...)
	mask := func(s string) string { return hide.Result(jobs.Result{Message: s}).Message }
	res.Text, res.Hint = mask(res.Text), mask(res.Hint)
	for i := range res.Want {
		res.Want[i], res.Got[i] = mask(res.Want[i]), mask(res.Got[i])
	}
	return res
}

// renew gets a link for what takes nothing of the run on: no step is left.
func (r *Runner) renew(ctx context.Context, lost error) error {
	if r.Reconnect == nil || r.ReconnectFor < leastPatience {
		return lost
	}
	r.note("the line to %s is gone: trying again for %s", r.Plan.Node.Name(), seconds(r.ReconnectFor))
	ctx, release := r.untilStop(ctx)
	defer release()
	again, err := r.redial(ctx)
	if err != nil {
		return errors.Join(lost, err)
	}
	r.note("the line to %s is back", r.Plan.Node.Name())
	_ = r.remote.Close()
	r.remote = again
	return nil
}
