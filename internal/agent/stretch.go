package agent

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

// start begins the stretch that a RUN asks for.
func (se *session) start(f frame) error {
	var r runBody
	if err := f.unpack(&r); err != nil {
		return err
	}
	if se.plan == nil {
		return badFrame("a run without a plan")
	}
	if r.From < 1 || r.To < r.From || r.To > len(se.plan.Steps) {
		return badFrame("a run of the steps %d to %d of %d", r.From, r.To, len(se.plan.Steps))
	}
	host := jobs.Remote
	if se.local != nil {
		host = jobs.Local
	}
	for _, s := range se.plan.Steps[r.From-1 : r.To] {
		if s.Host != host {
			return badFrame("step %d is not the %s host's", s.N, host)
		}
	}
	se.mu.Lock()
	defer se.mu.Unlock()
	if se.running {
		return badFrame("a run during a run")
	}
	ctx, cancel := context.WithCancel(se.ctx)
	se.running, se.cancel = true, cancel
	se.work.Go(func() {
		defer cancel()
		se.stretch(ctx, r.From, r.To)
		se.mu.Lock()
		se.running = false
		se.mu.Unlock()
		se.out.push(frame{kind: kindRan})
	})
	return nil
}

// stretch runs the steps until one is not OK or the far side says stop.
func (se *session) stretch(ctx context.Context, from, to int) {
	for _, s := range se.plan.Steps[from-1 : to] {
		if !se.wanted(ctx) {
			return
		}
		se.out.push(frame{kind: kindBegin, step: uint16(s.N)})
		begun := time.Now()
		r := se.step(ctx, s)
		r.Step = s.N
		if r.Took == 0 {
			r.Took = time.Since(begun)
		}
		se.out.push(packEnd(r))
		if r.Status != jobs.OK {
			return
		}
	}
}

// wanted tells whether a further step is to be started. While nothing is heard
// of the far side it waits: whoever may be gone shall not find that much more
// was done than they were told.
func (se *session) wanted(ctx context.Context) bool {
	beat := se.pulse.or(beat, silence).beat
	for {
		se.mu.Lock()
		stopped := se.stopped
		se.mu.Unlock()
		if stopped || ctx.Err() != nil {
			return false
		}
		if silent(&se.heard) <= 2*beat {
			return true
		}
		time.Sleep(beat / 20)
	}
}

// step runs one step, if it may be run, and records it.
func (se *session) step(ctx context.Context, s jobs.Step) jobs.Result {
	if se.performs {
		env := se.env(s, patientOut{se, s.N})
		return jobs.Perform(ctx, s, &env)
	}
	if s.AsRoot() && !se.elevated() {
		return outcome(jobs.Errorf("this step needs root, and sudo was not asked for it before"))
	}
	if err := se.guard(s); err != nil {
		return outcome(jobs.Errorf("%w", err).WithHint("nothing was done; see who holds the node: %s", se.askStatus()))
	}
	if err := se.open(); err != nil {
		return outcome(err)
	}
	if se.run.journal != nil {
		if err := se.run.journal.Record(jobs.Record{Type: jobs.RecordBegin, Step: s.N, Name: s.Name}); err != nil {
			return outcome(jobs.Errorf("not started, because the node's journal cannot be written: %w", err))
		}
	}
	se.note(s, nil)
	out := se.outlet(s.N)
	env := se.env(s, out)
	r := se.perform(ctx, s, &env)
	r.Step = s.N
	r = se.closedBefore(s, r)
	out.close()
	if r.Status == jobs.Blocked && len(r.Owner) > 0 {
		r.Owner = se.describeHolder(r.Owner)
	}
	if se.run.journal != nil {
		if err := se.run.journal.Record(jobs.Record{Type: jobs.RecordEnd, Step: s.N, Name: s.Name, Result: &r}); err != nil && r.Status == jobs.OK {
			r.Status, r.Message = jobs.Errored, "done, but the node's journal cannot be written: "+err.Error()
		}
	}
	if r.Status == jobs.OK && (isOpen(s) || isClose(s)) {
		se.held.Store(isOpen(s))
	}
	se.note(s, &r)
	se.run.worked = se.run.worked || r.Status != jobs.Blocked || !isOpen(s)
	return r
}

// env is what the op of a step is given here.
func (se *session) env(s jobs.Step, out io.Writer) jobs.Env {
	env := jobs.Env{
		Node: se.node, Host: jobs.Remote, Step: s.N,
		Home: se.Home, Dir: se.Home, Bundle: se.bundle, Owner: se.owner,
		Log: se.Log, Out: out, Progress: se.progress(s.N),
		Secret: se.secret,
		Ask:    func(context.Context, string) error { return jobs.ErrNoAnswer },
		Call:   se.carryOut,
	}
	if se.performs {
		env.Leave = se.leave
	}
	if l := se.local; l != nil {
		env.Host, env.Dir, env.SSH, env.Far = jobs.Local, l.Dir, l.SSH, &l.Far
	}
	se.mu.Lock()
	defer se.mu.Unlock()
	env.Hide(se.hidden...)
	return env
}

// outcome is the result of a step that was not run.
func outcome(err error) jobs.Result {
	r := jobs.Result{Status: jobs.StatusOf(err), Message: err.Error()}
	var e *jobs.Error
	if errors.As(err, &e) {
		r.Hint = e.Hint
	}
	return r
}

func isOpen(s jobs.Step) bool {
	_, open := s.Op.(jobs.OpenBundle)
	return open && s.Host == jobs.Remote
}

func isClose(s jobs.Step) bool {
	_, closes := s.Op.(jobs.CloseBundle)
	return closes && s.Host == jobs.Remote
}

// guard makes sure that the bundle is still ours where the list says that it is
// open: from the step after open_bundle to close_bundle.
func (se *session) guard(s jobs.Step) error {
	if !se.plan.OpenBefore(jobs.Remote, s.N) || se.run.closed && isClose(s) {
		return nil
	}
	err := bundle.Check(se.bundle, se.owner.Run)
	se.held.Store(err == nil || se.held.Load())
	return err
}

func (se *session) secret(name string) (string, error) {
	v, ok := se.secrets[name]
	if !ok {
		return "", fmt.Errorf("secret %s was not sent to the node", name)
	}
	return v, nil
}

// progressEvery bounds how often a step's progress is told.
const progressEvery = 100 * time.Millisecond

func (se *session) progress(step int) func(done, total int64) {
	var last time.Time
	return func(done, total int64) {
		if now := time.Now(); done == total || now.Sub(last) >= progressEvery {
			last = now
			if f, err := pack(kindProgress, step, progressBody{done, total}); err == nil {
				se.out.push(f)
			}
		}
	}
}

// maxText bounds a message of a result or an error.
const maxText = 8 << 10

func bounded(s string) string {
	if len(s) <= maxText {
		return s
	}
	return s[:maxText] + " [...]"
}

// packEnd makes a result travel. Its parts are bounded so that it always fits.
func packEnd(r jobs.Result) frame {
	r.Message, r.Hint, r.Note = bounded(r.Message), bounded(r.Hint), bounded(r.Note)
	e := endBody{Result: r}
	e.Result.Tail = nil
	for i, line := range r.Tail {
		if i < 20 {
			e.Tail = append(e.Tail, []byte(line)[:min(len(line), 1000)])
		}
	}
	f, err := pack(kindEnd, r.Step, e)
	if err != nil {
		// Only a holder's record can be that large.
		e.Result.Owner, e.Tail = nil, nil
		f, _ = pack(kindEnd, r.Step, e)
	}
	return f
}

// unpackEnd is the other side of packEnd: nothing in it is believed unseen.
func unpackEnd(f frame) (jobs.Result, error) {
	var e endBody
	if err := f.unpack(&e); err != nil {
		return jobs.Result{}, err
	}
	r := e.Result
	switch r.Status {
	case jobs.OK, jobs.Blocked, jobs.Failed, jobs.Stopped, jobs.Errored, jobs.TimedOut:
	default:
		return jobs.Result{}, badFrame("a result without a status")
	}
	if r.Step != int(f.step) {
		return jobs.Result{}, badFrame("a result of step %d for step %d", r.Step, f.step)
	}
	if len(e.Tail) > 20 {
		return jobs.Result{}, badFrame("a result with a tail of %d lines", len(e.Tail))
	}
	r.Tail = nil
	for _, line := range e.Tail {
		r.Tail = append(r.Tail, string(line[:min(len(line), 1000)]))
	}
	r.Took, r.Lines, r.Bytes = max(r.Took, 0), max(r.Lines, 0), max(r.Bytes, 0)
	r.Exit, r.Signal, r.Tries = max(r.Exit, 0), max(r.Signal, 0), max(r.Tries, 0)
	r.Message, r.Hint, r.Note = bounded(r.Message), bounded(r.Hint), bounded(r.Note)
	return r, nil
}

// describeHolder adds to a HeldError, in JSON, what this node knows of its run.
func (se *session) describeHolder(data []byte) []byte {
	var h bundle.HeldError
	if json.Unmarshal(data, &h) != nil {
		return data
	}
	se.describe(&h)
	if out, err := json.Marshal(&h); err == nil {
		return out
	}
	return data
}
