package runner

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// stretch runs the remote steps from..to, again after a wait when the bundle is
// held and the operator is willing to wait.
func (r *Runner) stretch(ctx context.Context, from, to int) {
	patience := time.Now().Add(r.LockWait)
	for waited := false; ; waited = true {
		sink := &remoteSink{r: r, patient: r.LockWait > 0 && time.Now().Before(patience)}
		done := make(chan struct{})
		go r.relay(done)
		err := r.remote.RunSteps(ctx, from, to, sink)
		close(done)
		if sink.held == nil {
			r.settle(ctx, sink, err, from, to)
			return
		}
		if !waited {
			r.emit(Event{Type: Note, Text: "waiting for the bundle: " + sink.held.Error(), Held: sink.held})
		}
		from = sink.heldAt
		select {
		case <-time.After(min(lockPoll, time.Until(patience))):
		case <-r.Interrupt.Stop():
			r.stop(from)
			return
		case <-ctx.Done():
			r.stop(from)
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

// settle draws the conclusion of a stretch whose conversation is over.
func (r *Runner) settle(ctx context.Context, sink *remoteSink, err error, from, to int) {
	switch {
	case r.outcome.Status != jobs.OK: // a step said why
		return
	case sink.running != 0: // begun, and its end was not heard of
		if err == nil {
			err = errors.New("the agent ended the stretch without a result for it")
		}
		res := jobs.Result{Step: sink.running, Status: jobs.Errored, Took: time.Since(sink.begun), Tail: sink.tail.Lines(), Lines: sink.tail.Count()}
		res.Message = "in doubt, no result came back: " + err.Error()
		if ctx.Err() != nil {
			res.Message = "left while it was running; it may still be running on the node"
		}
		r.end(res)
		if ctx.Err() != nil {
			r.outcome.Status = jobs.Stopped
		}
	case err != nil:
		r.outcome.Status = jobs.Errored
		r.outcome.Err = err
		r.outcome.Stopped = from + sink.ended
	case sink.ended < to-from+1:
		r.stop(from + sink.ended)
	}
}

// remoteSink makes events of what the agent tells.
type remoteSink struct {
	r       *Runner
	patient bool              // a held bundle is to be waited for, not reported
	held    *bundle.HeldError // it was held at heldAt, and nothing was reported
	heldAt  int
	running int
	begun   time.Time
	ended   int
	tail    jobs.Tail
}

func (k *remoteSink) Begin(step int) {
	k.running, k.begun, k.tail = step, time.Now(), jobs.Tail{}
	k.r.emit(Event{Type: StepStart, Step: k.r.Plan.Steps[step-1]})
}

func (k *remoteSink) Output(step int, p []byte) {
	_, _ = k.tail.Write(p)
	k.r.emit(Event{Type: Output, Step: k.r.Plan.Steps[step-1], Data: p})
}

func (k *remoteSink) Progress(step int, done, total int64) {
	k.r.emit(Event{Type: Progress, Step: k.r.Plan.Steps[step-1], Done: done, Total: total})
}

func (k *remoteSink) End(res jobs.Result) {
	k.running = 0
	k.ended++
	if _, open := k.r.Plan.Steps[res.Step-1].Op.(jobs.OpenBundle); open && k.patient && res.Status == jobs.Blocked {
		if k.held = held(res); k.held != nil {
			k.heldAt = res.Step
			return
		}
	}
	k.r.end(res)
}

// held gives the holder that a BLOCKED result tells of.
func held(res jobs.Result) *bundle.HeldError {
	if len(res.Owner) == 0 {
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
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-r.Interrupt.Cancel():
			cancel()
		case <-done:
		}
	}()
	defer func() { close(done); <-gone; cancel() }()

	r.emit(Event{Type: StepStart, Step: s})
	if r.open[jobs.Local] {
		if err := bundle.Check(r.Env.Bundle, r.Run); err != nil {
			r.end(jobs.Result{Step: s.N, Status: jobs.Errored, Message: "lock lost: " + r.Env.Bundle})
			return
		}
	}
	if r.Journal != nil {
		if err := r.Journal.Begin(s.N, s.Name); err != nil {
			r.end(jobs.Result{Step: s.N, Status: jobs.Errored, Message: "the journal cannot be written: " + err.Error()})
			return
		}
	}
	env := r.Env
	env.Step = s.N
	env.Far = r.remote
	env.Out = outputFunc(func(p []byte) { r.emit(Event{Type: Output, Step: s, Data: p}) })
	env.Progress = func(done, total int64) {
		r.emit(Event{Type: Progress, Step: s, Done: done, Total: total})
	}
	res := jobs.Perform(ctx, s, &env)
	if err := r.remote.Err(); err != nil && res.Status == jobs.Failed {
		// What the op says of a link that went away is no verdict of its own.
		res.Status = jobs.Errored
		res.Message += " (" + err.Error() + ")"
	}
	if r.Journal != nil {
		if err := r.Journal.End(res); err != nil && res.Status == jobs.OK {
			res.Status = jobs.Errored
			res.Message = "done, but the journal cannot be written: " + err.Error()
		}
	}
	r.end(res)
}

// outputFunc is an io.Writer made of a function.
type outputFunc func(p []byte)

func (f outputFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

var _ io.Writer = outputFunc(nil)
