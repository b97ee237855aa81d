package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// lockPoll is how often a held bundle is looked at again under LockWait.
const lockPoll = 2 * time.Second

// await waits a little when a bundle is held and the operator is willing to
// wait: false when it is not held, and when the waiting is over.
func (r *Runner) await(ctx context.Context, held *bundle.HeldError) bool {
	if held == nil || r.LockWait <= 0 {
		return false
	}
	if r.patience.IsZero() {
		r.patience = time.Now().Add(r.LockWait)
		r.emit(Event{Type: Note, Text: "waiting for the bundle: " + held.Error(), Held: held})
	}
	left := time.Until(r.patience)
	if left <= 0 {
		return false
	}
	select {
	case <-time.After(min(lockPoll, left)):
		return true
	case <-r.Interrupt.Stop():
	case <-ctx.Done():
	}
	return false
}

// stretch runs the remote steps from..to, again after a wait when the bundle is
// held and the operator is willing to wait.
func (r *Runner) stretch(ctx context.Context, from, to int) {
	for {
		sink := &remoteSink{r: r}
		if err := r.remote.Err(); err != nil {
			if !r.reconnect(ctx, from, err) {
				return
			}
		}
		done, gone := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(gone)
			r.relay(done)
		}()
		err := r.remote.RunSteps(ctx, from, to, sink)
		close(done)
		<-gone
		next := from + sink.ended
		if err != nil && r.outcome.Status == jobs.OK && sink.held == nil && (sink.running != 0 || next <= to) {
			var back bool
			if back, err = r.catchUp(ctx, sink, err, from, to); back && sink.held == nil && r.outcome.Status == jobs.OK {
				if from += sink.ended; from > to {
					return
				}
				if !r.Interrupt.Raised() {
					continue
				}
				r.stop(from)
				return
			}
		}
		if sink.held == nil {
			r.settle(ctx, sink, err, from, to)
			return
		}
		from = sink.held.Step
		if !r.await(ctx, holder(*sink.held)) {
			if r.Interrupt.Raised() {
				r.stop(from)
				return
			}
			r.end(*sink.held)
			return
		}
	}
}

// relay passes the operator's wishes on to the agent while a stretch runs.
func (r *Runner) relay(done <-chan struct{}) {
	for _, wish := range []struct {
		said <-chan struct{}
		tell func() error
	}{{r.Interrupt.Stop(), r.remote.Stop}, {r.Interrupt.Cancel(), r.remote.Cancel}} {
		select {
		case <-wish.said:
			// A link that is gone tells RunSteps so itself.
			_ = wish.tell()
		case <-done:
			return
		}
	}
}

// settle draws the conclusion of a stretch whose conversation is over. The agent
// goes from one step to the next by itself: when the conversation ended badly,
// the step after the last that was heard of may have begun.
func (r *Runner) settle(ctx context.Context, sink *remoteSink, err error, from, to int) {
	next := from + sink.ended
	switch {
	case r.outcome.Status != jobs.OK: // a step said why
		return
	case sink.running == 0 && next > to: // all are OK: a link that went after that is not their business
		return
	case err == nil && sink.running == 0 && r.Interrupt.Raised():
		r.stop(next)
		return
	case err == nil && sink.running == 0:
		r.lost(next, fmt.Errorf("the agent ended before step %d %s, and does not say why", next, r.Plan.Steps[next-1].Name))
		return
	case err == nil:
		err = errors.New("the agent ended without a result for it")
	}
	res := jobs.Result{Status: jobs.Errored, Message: "in doubt, no result came back: " + err.Error()}
	if sink.running == 0 {
		res.Message = "in doubt, it may have begun: " + err.Error()
		sink.Begin(next)
	}
	res.Step, res.Took, res.Tail, res.Lines = sink.running, time.Since(sink.begun), sink.tail.Lines(), sink.tail.Count()
	res.Hint = fmt.Sprintf("the node has its own record: ~/.conc/runs/*%s/journal", bundle.Short(r.Run))
	s := r.Plan.Steps[res.Step-1]
	switch {
	case ctx.Err() != nil:
		res.Message = "left while it was running; it may still be running on the node"
	case res.Step < to && !sink.known:
		res.Hint = fmt.Sprintf("the node may have gone on, up to step %d; it has its own record:\n~/.conc/runs/*%s/journal", to, bundle.Short(r.Run))
	case !sink.known && (isOpen(s) || isClose(s)):
		res.Hint = "whether the bundle is open is not known here: the node's status tells"
	}
	r.outcome.Left = ctx.Err() != nil || errors.Is(err, errInterrupted)
	r.end(res)
}

// remoteSink makes events of what the agent tells.
type remoteSink struct {
	r       *Runner
	held    *jobs.Result // the bundle is held: to be waited for, not reported yet
	running int          // 0: none
	begun   time.Time
	ended   int
	heard   int64 // bytes of the running step's output
	known   bool  // the node's records are known: it has not gone on
	tail    jobs.Tail
	seen    *jobs.Filter // of the running step's output
}

func (k *remoteSink) Begin(step int) {
	k.running, k.begun, k.heard, k.tail = step, time.Now(), 0, jobs.Tail{}
	k.seen = jobs.NewFilter(k.r.hidden()...)
	k.r.emit(Event{Type: StepStart, Step: k.r.Plan.Steps[step-1]})
}

func (k *remoteSink) Output(step int, p []byte) {
	k.heard += int64(len(p))
	k.show(step, k.seen.Feed(p))
}

// show passes output on. What the node knows to mask is masked already; a
// password that it was never given may still come from there.
func (k *remoteSink) show(step int, p []byte) {
	if len(p) > 0 {
		_, _ = k.tail.Write(p)
		k.r.emit(Event{Type: Output, Step: k.r.Plan.Steps[step-1], Data: p})
	}
}

func (k *remoteSink) Progress(step int, done, total int64) {
	k.r.emit(Event{Type: Progress, Step: k.r.Plan.Steps[step-1], Done: done, Total: total})
}

func (k *remoteSink) End(res jobs.Result) {
	if k.seen != nil {
		k.show(res.Step, k.seen.Flush())
		res = k.seen.Result(res)
	}
	k.running = 0
	k.ended++
	if k.r.LockWait > 0 && isOpen(k.r.Plan.Steps[res.Step-1]) && holder(res) != nil {
		k.held = &res
		return
	}
	k.r.end(res)
}

// holder gives who holds the bundle, when res is BLOCKED for that.
func holder(res jobs.Result) *bundle.HeldError {
	if res.Status != jobs.Blocked || len(res.Owner) == 0 {
		return nil
	}
	var h bundle.HeldError
	if json.Unmarshal(res.Owner, &h) != nil {
		return nil
	}
	return &h
}

// local runs one step on the workstation.
func (r *Runner) local(ctx context.Context, s jobs.Step) {
	// While the node is held by this run, its link has to be there.
	if err := r.remote.Err(); err != nil && r.open[jobs.Remote] && !r.reconnect(ctx, s.N, err) {
		return
	}
	end := r.Interrupt.Cancel()
	if _, ok := s.Op.(jobs.Hold); ok {
		end = r.Interrupt.Stop() // there is nothing in it to be cut short
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-end:
			cancel()
		case <-done:
		}
	}()
	defer func() { close(done); <-gone; cancel() }()

	r.emit(Event{Type: StepStart, Step: s})
	stop := r.watch()
	res := r.try(run, s)
	stop()
	if r.repeat(ctx, s, res) {
		res = r.try(run, s)
		if res.Note += " (again, after the line was back)"; res.Status != jobs.OK {
			res.Note = ""
		}
	}
	r.outcome.Left = r.outcome.Left || ctx.Err() != nil && res.Status == jobs.Errored
	r.end(res)
}

// try runs a local step, and records it.
func (r *Runner) try(ctx context.Context, s jobs.Step) jobs.Result {
	if r.open[jobs.Local] {
		if err := bundle.Check(r.Env.Bundle, r.Run); err != nil {
			return jobs.Result{Step: s.N, Status: jobs.Errored, Message: "lock lost: " + r.Env.Bundle}
		}
	}
	if err := r.record(jobs.Record{Type: jobs.RecordBegin, Step: s.N, Name: s.Name}); err != nil {
		return jobs.Result{Step: s.N, Status: jobs.Errored, Message: "not started, because the journal cannot be written: " + err.Error()}
	}
	env := r.Env
	env.Step = s.N
	env.Far = r.remote
	env.Out = outputFunc(func(p []byte) { r.emit(Event{Type: Output, Step: s, Data: p}) })
	env.Progress = func(done, total int64) {
		r.emit(Event{Type: Progress, Step: s, Done: done, Total: total})
	}
	env.Hide(r.hidden()...)
	perform := Perform(jobs.Perform)
	if r.Root != nil && s.AsRoot() {
		perform = r.Root
	}
	res := perform(ctx, s, &env)
	for isOpen(s) && r.await(ctx, holder(res)) {
		res = perform(ctx, s, &env)
	}
	if err := r.remote.Err(); err != nil && res.Status == jobs.Failed {
		// What the op says of a link that went away is no verdict of its own.
		res.Status = jobs.Errored
		res.Message += " (" + err.Error() + ")"
	}
	if err := r.record(jobs.Record{Type: jobs.RecordEnd, Step: s.N, Name: s.Name, Result: &res}); err != nil && res.Status == jobs.OK {
		res.Status = jobs.Errored
		res.Message = "done, but the journal cannot be written: " + err.Error()
	}
	return res
}

// hidden gives what is masked in all that steps say.
func (r *Runner) hidden() []string {
	if r.Hidden == nil {
		return nil
	}
	return r.Hidden()
}

// record writes to the workstation's journal, and sends the same along to the
// node, whose journal then has the whole run for whoever goes on with it.
func (r *Runner) record(rec jobs.Record) error {
	rec.Time = time.Now().UTC()
	if r.Journal != nil {
		if err := r.Journal.Record(rec); err != nil {
			return err
		}
	}
	r.recorded = append(r.recorded, rec)
	r.remote.Record(rec)
	return nil
}

// outputFunc is an io.Writer made of a function.
type outputFunc func(p []byte)

func (f outputFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

var _ io.Writer = outputFunc(nil)
