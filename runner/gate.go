package runner

import (
	"context"
	"fmt"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// Gate holds a run where several take their locks together: all of them, or none.
type Gate interface {
	// Turn waits until this run may take its lock; the node is reached by then.
	// An error is why it takes none.
	Turn(ctx context.Context) error
	// Pass says that the lock is taken, and waits until the run may go on beyond
	// it. An error is why the lock is given back.
	Pass(ctx context.Context) error
}

// together goes through the plan in two parts, with a Gate before each: the steps
// up to the one that opens the bundle on the node, and those beyond it.
func (r *Runner) together(ctx context.Context) {
	if err := r.at(ctx, r.Gate.Turn); err != nil {
		r.outcome.Status, r.outcome.Note = "", err.Error()
		return
	}
	r.loop(ctx, r.From, r.Lock)
	if r.outcome.Status != jobs.OK {
		// Nothing but locks was taken. Whether that on the node is open, where its
		// step did not end, is found out later, and said.
		if err := r.giveBackHere(); err != nil {
			r.emit(Event{Type: Note, Text: "the lock on this workstation is not given back: " + err.Error()})
		}
		return
	}
	if err := r.at(ctx, r.Gate.Pass); err != nil {
		r.giveBack(ctx, err)
		return
	}
	r.loop(ctx, r.Lock+1, r.To)
}

// at waits at a gate; Ctrl-C ends it.
func (r *Runner) at(ctx context.Context, wait func(context.Context) error) error {
	ctx, release := r.untilStop(ctx)
	defer release()
	err := wait(ctx)
	if err != nil && r.Interrupt.Raised() {
		return fmt.Errorf("interrupted")
	}
	return err
}

// giveBack closes the bundle again, of a run that has done nothing but open it,
// and records that the run was given up. The node counts as not started then.
func (r *Runner) giveBack(ctx context.Context, why error) {
	n := min(r.Lock+1, r.To)
	if err := r.remote.Err(); err != nil && !r.reconnect(ctx, n, err) {
		return // it says that the bundle is open
	}
	err := r.remote.GiveBack(ctx)
	if lost := r.remote.Err(); err != nil && lost != nil {
		if !r.reconnect(ctx, n, lost) {
			return
		}
		err = r.remote.GiveBack(ctx)
	}
	if err != nil {
		r.outcome.Status, r.outcome.Stopped = jobs.Errored, n
		r.outcome.Err = jobs.Errorf("the lock was to be given back (%w), and is not: %w", why, err)
		return
	}
	r.open[jobs.Remote] = false
	r.emit(Event{Type: Note, Text: "the lock is given back: " + why.Error()})
	if err := r.giveBackHere(); err != nil {
		r.outcome.Status, r.outcome.Err = jobs.Errored, jobs.Errorf("the lock on this workstation is not given back: %w", err)
		return
	}
	r.outcome.Status, r.outcome.Note = "", "lock given back: "+why.Error()
	r.outcome.Results, r.outcome.Done = nil, 0
}

// giveBackHere is the same for the bundle on this workstation.
func (r *Runner) giveBackHere() error {
	if r.open[jobs.Local] {
		if err := bundle.Close(r.Env.Bundle, r.Run); err != nil {
			return err
		}
		r.open[jobs.Local] = false
	}
	if r.Journal == nil || r.open[jobs.Remote] {
		return nil
	}
	return r.Journal.Record(jobs.Record{Type: jobs.RecordUnlock})
}
