package runner

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// Again is a Remote that was reached once more, after the line to it was gone.
type Again interface {
	Remote
	// Rejoin takes the run on, and gives what the node has recorded of it since
	// it set out. While the agent from before lives, nothing is taken on, and
	// busy says what that is at. A *jobs.Error is final.
	Rejoin(ctx context.Context) (records []jobs.Record, busy string, err error)
	// Missed gives the last n bytes of a step's output, or fewer.
	Missed(ctx context.Context, step int, n int64) ([]byte, error)
}

const (
	leastPatience = time.Second // a ReconnectFor under this is none
	maxFruitless  = 5           // reconnections without a step's end in between
	firstBusy     = 3 * time.Second
	everyBusy     = 15 * time.Second
	watchEvery    = 500 * time.Millisecond
	overLimit     = time.Minute     // how much longer than its limit a step may take to end
	maxMissed     = int64(64 << 10) // bytes of output that are shown after the fact
	surelyHeard   = int64(1 << 20)  // up to here no output is left out on a line that is up
)

// errInterrupted says that the operator did not want to wait for the line.
var errInterrupted = errors.New("interrupted before the line was back")

// regain gets the line back that went with the error lost, before or in step n:
// the run goes on over a new Remote, and the node's records of it are given.
// Otherwise the error is lost, with why the line is not back.
func (r *Runner) regain(ctx context.Context, n int, lost error) ([]jobs.Record, error) {
	if r.Reconnect == nil || r.ReconnectFor < leastPatience || r.fruitless >= maxFruitless || ctx.Err() != nil || r.Interrupt.Raised() {
		return nil, lost
	}
	r.fruitless++
	r.Env.Log.Warn().Err(lost).Msg("the line is gone")
	name := r.Plan.Node.Name()
	wait, release := r.untilStop(ctx)
	defer release()
	for {
		r.note("the line to %s is gone: trying again for %s", name, seconds(r.ReconnectFor))
		again, err := r.redial(wait)
		if err == nil {
			r.note("the line to %s is back", name)
			var records []jobs.Record
			if records, err = r.rejoin(wait, again, n); err == nil {
				r.swap(again, records)
				return records, nil
			}
			gone := again.Err()
			_ = again.Close()
			if gone != nil && wait.Err() == nil {
				continue // it went once more; nothing was taken on yet
			}
		}
		if r.Interrupt.Raised() {
			err = errInterrupted
			return nil, fmt.Errorf("%w (%w)", lost, err)
		}
		// What the last try said must not be taken for why the line went.
		return nil, fmt.Errorf("%w (%v)", lost, err) //nolint:errorlint // see above
	}
}

// redial reaches the node once more, within ReconnectFor.
func (r *Runner) redial(ctx context.Context) (Again, error) {
	ctx, cancel := context.WithTimeout(ctx, r.ReconnectFor)
	defer cancel()
	var last error
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		again, err := r.Reconnect(ctx)
		var final *jobs.Error
		switch {
		case err == nil:
			return again, nil
		case errors.As(err, &final):
			return nil, err
		case last == nil || ctx.Err() == nil:
			last = err
		}
		if !sleep(ctx, pause) {
			return nil, fmt.Errorf("the line was not back within %s: %w", seconds(r.ReconnectFor), last)
		}
	}
}

// rejoin waits until the agent from before has ended the step that it is in.
func (r *Runner) rejoin(ctx context.Context, again Again, n int) ([]jobs.Record, error) {
	at, since, told := "", time.Now(), time.Now().Add(firstBusy-everyBusy)
	var limit time.Duration
	for _, s := range r.Plan.Steps[n-1 : r.To] {
		limit = max(limit, s.Timeout)
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		records, busy, err := again.Rejoin(ctx)
		if err != nil || busy == "" {
			return records, err
		}
		if busy != at {
			at, since = busy, time.Now()
		}
		if time.Since(since) > limit+overLimit {
			return nil, fmt.Errorf("the line is back, and the agent from before is still at %s", busy)
		}
		if time.Since(told) > everyBusy {
			told = time.Now()
			r.note("%s is still at %s", r.Plan.Node.Name(), busy)
		}
		if !sleep(ctx, pause) {
			return nil, ctx.Err()
		}
	}
}

// swap goes on over a new line. The records of local steps that were lost with
// the old one are sent along again.
func (r *Runner) swap(again Again, records []jobs.Record) {
	_ = r.remote.Close()
	r.remote, r.again = again, again
	for _, rec := range Merge(records, r.recorded)[len(records):] {
		r.remote.Record(rec)
	}
}

// reconnect gets the line back before step n, of which the node knows nothing
// yet, or ends the run there.
func (r *Runner) reconnect(ctx context.Context, n int, lost error) bool {
	_, err := r.regain(ctx, n, lost)
	switch {
	case err == nil:
	case errors.Is(err, errInterrupted):
		r.stop(n)
	default:
		r.lost(n, err)
	}
	return err == nil
}

// catchUp gets the line back that went in the stretch from..to, and tells sink
// what the node has recorded since. True: the run goes on, at the first step
// that sink has not heard the end of. False: err says why not.
func (r *Runner) catchUp(ctx context.Context, sink *remoteSink, lost error, from, to int) (bool, error) {
	next := from + sink.ended
	records, err := r.regain(ctx, next, lost)
	if err != nil {
		return false, err
	}
	state := Fold(records)
	for n := next; n <= to && r.outcome.Status == jobs.OK && sink.held == nil; n++ {
		var at StepState
		if n <= len(state.Steps) {
			at = state.Steps[n-1]
		}
		// A bundle that was held is asked for again and again: an old answer.
		stale := sink.running != n && isOpen(r.Plan.Steps[n-1]) && at.Status == jobs.Blocked
		if stale || at.Status == "" && !at.Doubt {
			sink.running = 0
			return true, nil
		}
		if sink.running != n {
			sink.Begin(n)
		}
		if at.Doubt {
			sink.known = true
			return false, fmt.Errorf("%w; the line is back, and the node has no record of its end", lost)
		}
		sink.End(r.learnt(ctx, sink, at))
	}
	return true, nil
}

// learnt makes the result of a step whose end was not heard.
func (r *Runner) learnt(ctx context.Context, sink *remoteSink, at StepState) jobs.Result {
	const remark = "after the line was back"
	if at.Mark != nil || at.Result == nil {
		res := jobs.Result{Step: at.N, Status: at.Status, Note: "marked by hand meanwhile"}
		if at.Mark != nil {
			res.Note = "marked by " + at.Mark.By + " meanwhile"
		}
		return res
	}
	res := *at.Result
	res.Step = at.N
	r.missed(ctx, sink, res)
	res.Tail = sink.tail.Lines()
	switch {
	case res.Status == jobs.OK && res.Note == "":
		res.Note = "(" + remark + ")"
	case res.Status == jobs.OK:
		res.Note += " (" + remark + ")"
	case res.Status == jobs.Stopped && r.Plan.Node.Get("on_disconnect") == "kill":
		res.Message += " (the line was gone, and on_disconnect is kill)"
	default:
		res.Message += " (learnt " + remark + ")"
	}
	return res
}

// missed shows the end of a step's output that the line did not bring.
func (r *Runner) missed(ctx context.Context, sink *remoteSink, res jobs.Result) {
	left := res.Bytes - sink.heard
	if left <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	data, err := r.again.Missed(ctx, res.Step, min(left, maxMissed))
	if err != nil {
		r.Env.Log.Warn().Err(err).Msg("missed output cannot be read")
	}
	if left > int64(len(data)) || res.Bytes > surelyHeard {
		sink.Output(res.Step, fmt.Appendf(nil, "\n[conc: the line was gone here; all output is on the node in ~/.conc/runs/*%s/out-%02d.log]\n", bundle.Short(r.Run), res.Step))
	}
	if len(data) > 0 {
		sink.Output(res.Step, data)
	}
}

// repeat tells whether a local step that went wrong with the line is to be run
// once more: the line is back, and the op may be run again.
func (r *Runner) repeat(ctx context.Context, s jobs.Step, res jobs.Result) bool {
	lost := r.remote.Err()
	if _, ok := s.Op.(jobs.Repeatable); !ok || lost == nil || res.Status != jobs.Errored {
		return false
	}
	_, err := r.regain(ctx, s.N, lost)
	if errors.Is(err, errInterrupted) {
		r.outcome.Left = true
	}
	return err == nil && !r.Interrupt.Raised()
}

// watch says at once that the line is gone while a local step runs, unless the
// step ends of it. Nothing else is done about it before the step's end.
func (r *Runner) watch() (stop func()) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for before := false; ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			gone := r.remote.Err() != nil
			if gone && before {
				r.note("the line to %s is gone; the step that runs here goes on", r.Plan.Node.Name())
				return
			}
			before = gone
		}
	}()
	return func() { close(done); <-over }
}

func (r *Runner) note(format string, args ...any) {
	r.emit(Event{Type: Note, Text: fmt.Sprintf(format, args...)})
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s" }

// sleep waits: false when ctx is done before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
