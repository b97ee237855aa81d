package runner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// Remote is the node's end of a run: connected, and configured with the plan.
type Remote interface {
	bundle.Far
	// RunSteps runs the steps from..to as one stretch and stops at the first
	// that is not OK. Its error is about the conversation, never about a step.
	RunSteps(ctx context.Context, from, to int, sink jobs.Sink) error
	Stop() error   // start no further step, now or later
	Cancel() error // Stop, and end the running step
	// Held tells who holds the node's bundle: nil when it is free.
	Held(ctx context.Context) (*bundle.HeldError, error)
	GiveBack(ctx context.Context) error // the lock, of a run that has done nothing but take it
	Record(r jobs.Record)               // of a local step, for the node's journal; not waited for
	Err() error                         // why the link is gone; nil while it is up
	Close() error
	Leave() error // Close, but what the node still does to end is not waited for
}

// Perform runs one step to its end: jobs.Perform, or what stands for it.
type Perform func(ctx context.Context, s jobs.Step, env *jobs.Env) jobs.Result

// Recorder keeps a journal of steps; *Journal is one.
type Recorder interface {
	Record(records ...jobs.Record) error // on disk when it returns
	Close() error
}

// Runner takes one node through a range of its plan.
type Runner struct {
	Run      string // ULID
	Plan     *jobs.Plan
	From, To int      // step numbers; 0 is the first and the last
	Target   string   // user@host:port, for the events
	SSH      []string // arguments for the user's own ssh program
	Bundle   string   // the node's bundle as deploy.ini names it, relative to the home

	Env       jobs.Env        // of local steps; Step, Out, Progress and Far are filled in
	Root      Perform         // of local steps that are to be performed as root; nil: this process is root's
	Hidden    func() []string // what is masked in all that steps say; nil: nothing
	Connect   func(ctx context.Context) (Remote, error)
	Sink      Sink
	Interrupt *Interrupt                             // nil: nobody interrupts
	Journal   Recorder                               // of the local steps; nil: none is kept
	Ask       func(context.Context, jobs.Step) error // before each step, an error stops the run; nil: nobody is asked
	ByHand    func(jobs.Step) []string               // what a person would type for a step; nil: nobody asks
	LockWait  time.Duration                          // how long to wait for a bundle that is held
	Gate      Gate                                   // where runs take their locks together; nil: this one is alone
	Lock      int                                    // with a Gate: the step that opens the bundle on the node; before it, nothing is done but that

	Test  Test   // before the first step, and after the last when all are OK; nil: nothing is tested
	Suite string // what Test makes the checks of

	// Reconnect tries once to reach the node again after the line was gone; a
	// *jobs.Error says that there is no use in trying further. It is tried for
	// ReconnectFor; nil, or under a second: never.
	Reconnect    func(ctx context.Context) (Again, error)
	ReconnectFor time.Duration

	// Of a run that is gone on with; Connect may set them.
	Opened []jobs.Host   // where its bundle is open
	Before []jobs.Record // what is to be recorded before the first step
	Closed bool          // it has closed its bundle on the node

	telling   sync.Mutex // held while an event is told
	remote    Remote
	again     Again // the remote, once the line was back
	outcome   Outcome
	open      map[jobs.Host]bool // bundles that this run opened and has not closed
	patience  time.Time          // when LockWait is over; zero until a bundle was held
	recorded  []jobs.Record      // what was sent along to the node
	fruitless int                // reconnections since a step ended
}

// Do runs the steps and reports them. It returns when nothing of the run is
// going on in this process any more; once ctx is done, it waits little for that.
func (r *Runner) Do(ctx context.Context) *Outcome {
	start := time.Now()
	if r.From == 0 {
		r.From = 1
	}
	if r.To == 0 {
		r.To = len(r.Plan.Steps)
	}
	if r.Interrupt == nil {
		r.Interrupt = NewInterrupt()
	}
	r.open = map[jobs.Host]bool{}
	r.Env.Leave = ctx.Done()
	r.outcome = Outcome{Node: r.Plan.Node.Name(), Status: jobs.OK, SSH: r.SSH, BundleName: r.Bundle}
	r.emit(Event{Type: NodeStart})

	if err := r.begin(ctx); err != nil {
		r.refuse(err)
	} else if r.Gate != nil {
		r.together(ctx)
	} else {
		r.loop(ctx, r.From, r.To)
	}
	r.testAfter(ctx)
	r.stands(ctx)
	if r.remote != nil {
		if err := r.close(ctx); err != nil && r.outcome.Status == jobs.OK {
			r.emit(Event{Type: Note, Text: "closing the connection: " + err.Error()})
		}
	}
	r.outcome.NotStarted = r.To - r.From + 1 - len(r.outcome.Results)
	r.outcome.Took = time.Since(start)
	out := r.outcome
	r.emit(Event{Type: NodeEnd, Outcome: &out, Held: out.Held})
	return &out
}

// close ends the conversation with the node.
func (r *Runner) close(ctx context.Context) error {
	end := r.remote.Close
	if r.outcome.Status == jobs.OK && !r.open[jobs.Remote] { // nobody goes on with this run
		end = r.remote.Leave
	}
	if ctx.Err() == nil {
		return end()
	}
	closed := make(chan error, 1)
	go func() { closed <- end() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(leavePatience):
		return nil // whoever leaves at once does not wait for a line that is silent
	}
}

// leavePatience is how long a line is waited for by whoever leaves at once.
const leavePatience = time.Second / 2

// Refuse reports a run that cannot even begin.
func (r *Runner) Refuse(err error) *Outcome {
	r.Connect = func(context.Context) (Remote, error) { return nil, err }
	return r.Do(context.Background())
}

// begin does what comes before the first step, and changes nothing.
func (r *Runner) begin(ctx context.Context) error {
	n, err := r.prepare(ctx)
	var here *bundle.HeldError
	if err != nil && !errors.As(err, &here) {
		r.outcome.Stopped = n
		return err
	}
	if err := r.connect(ctx); err != nil {
		return err
	}
	for _, h := range r.Opened {
		r.open[h] = true
	}
	if here == nil {
		if err := r.testBefore(ctx); err != nil {
			return err
		}
	}
	if err := r.changed(ctx); err != nil {
		return fmt.Errorf("the journal cannot be written: %w", err)
	}
	for _, rec := range r.Before {
		if err := r.record(rec); err != nil {
			return fmt.Errorf("the journal cannot be written: %w", err)
		}
	}
	if here == nil {
		return nil
	}
	// Where the node is held as well, its records have more to tell.
	switch there, err := r.remote.Held(ctx); {
	case err != nil:
		return err
	case there == nil:
		r.outcome.Stopped = n
		return here
	}
	return nil
}

// prepare asks the local ops for what they miss, before anything is changed,
// and gives the step that misses something. What an earlier local step may
// still make is not asked for; a bundle is none of that.
func (r *Runner) prepare(ctx context.Context) (int, error) {
	made := false
	for _, s := range r.steps() {
		if s.Host != jobs.Local {
			continue
		}
		p, ok := s.Op.(jobs.Preparer)
		if ok && !s.AsRoot() && (!made || isOpen(s)) { // what root finds, only root can say
			env := r.Env
			env.Step = s.N
			err := p.Prepare(ctx, &env)
			var held *bundle.HeldError
			for errors.As(err, &held) && r.await(ctx, held) {
				err = p.Prepare(ctx, &env)
			}
			if held != nil && r.Interrupt.Raised() {
				err = jobs.Stoppedf("interrupted before the first step")
			}
			if err != nil {
				return s.N, fmt.Errorf("step %d %s: %w", s.N, s.Name, err)
			}
		}
		if _, ok := s.Op.(jobs.Inert); !ok {
			made = true
		}
	}
	return 0, nil
}

// connect reaches the node. A first Ctrl-C ends it: no step is running yet.
func (r *Runner) connect(ctx context.Context) error {
	ctx, release := r.untilStop(ctx)
	remote, err := r.Connect(ctx)
	release()
	if err != nil {
		if r.Interrupt.Raised() {
			return jobs.Stoppedf("interrupted before the first step")
		}
		return err
	}
	r.remote = remote
	r.emit(Event{Type: Connected})
	return nil
}

// refuse ends the node's run before its first step.
func (r *Runner) refuse(err error) {
	var held *bundle.HeldError
	r.outcome.Err = err
	switch {
	case errors.As(err, &held):
		r.outcome.Status, r.outcome.Held = jobs.Blocked, held
	case jobs.StatusOf(err) == jobs.Failed:
		// Nothing ran that could have said no.
		r.outcome.Status = jobs.Errored
	default:
		r.outcome.Status = jobs.StatusOf(err)
	}
}

// lost ends the node's run before step n, because the link is gone.
func (r *Runner) lost(n int, err error) {
	r.outcome.Status, r.outcome.Err, r.outcome.Stopped = jobs.Errored, err, n
}

func isOpen(s jobs.Step) bool  { _, ok := s.Op.(jobs.OpenBundle); return ok }
func isClose(s jobs.Step) bool { _, ok := s.Op.(jobs.CloseBundle); return ok }

func (r *Runner) steps() []jobs.Step { return r.Plan.Steps[r.From-1 : r.To] }

// loop goes from stretch to stretch: one local step, or all the remote steps
// up to the next local one; one by one, where each is asked for.
func (r *Runner) loop(ctx context.Context, from, to int) {
	for n := from; n <= to; {
		if r.Interrupt.Raised() {
			r.stop(n)
			return
		}
		if !r.mayRun(ctx, r.Plan.Steps[n-1]) {
			return
		}
		end := n
		if r.Plan.Steps[n-1].Host == jobs.Remote {
			for r.Ask == nil && end < to && r.Plan.Steps[end].Host == jobs.Remote {
				end++
			}
			r.stretch(ctx, n, end)
		} else {
			r.local(ctx, r.Plan.Steps[n-1])
		}
		if r.outcome.Status != jobs.OK {
			return
		}
		n = end + 1
	}
}

// stop ends the run because the operator said so, before step n.
func (r *Runner) stop(n int) {
	r.outcome.Status = jobs.Stopped
	r.outcome.Stopped = n
	r.outcome.Err = jobs.Stoppedf("interrupted before step %d %s", n, r.Plan.Steps[n-1].Name)
}

// end takes a step's result in.
func (r *Runner) end(res jobs.Result) {
	s := r.Plan.Steps[res.Step-1]
	r.outcome.Results = append(r.outcome.Results, res)
	r.fruitless = 0
	if res.Status == jobs.OK {
		r.outcome.Done++
		if isOpen(s) || isClose(s) {
			r.open[s.Host] = isOpen(s)
			r.Closed = r.Closed && s.Host == jobs.Local || s.Host == jobs.Remote && isClose(s)
		}
	} else {
		r.outcome.Status = res.Status
		r.outcome.Stopped = res.Step
		if r.ByHand != nil {
			r.outcome.ByHand = r.ByHand(s)
		}
		r.outcome.Held = holder(res)
	}
	r.emit(Event{Type: StepEnd, Step: s, Result: res, Held: r.outcome.Held})
}

func (r *Runner) emit(e Event) {
	e.Time = time.Now()
	e.Run = r.Run
	e.Node = r.Plan.Node.Name()
	e.Plan, e.From, e.To, e.Target = r.Plan, r.From, r.To, r.Target
	r.telling.Lock()
	defer r.telling.Unlock()
	r.Sink(e)
}
