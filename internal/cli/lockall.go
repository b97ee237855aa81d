package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// gate is where one node's run waits for the others, when all locks are to be
// taken before anything is done. It is a runner.Gate.
type gate struct {
	ready, turn chan struct{} // the node is reached; its lock may be taken
	taken, pass chan struct{} // it is; the run may go on beyond it
	refused     chan struct{} // it may not, because of why
	ended       chan struct{} // the run is over
	once        sync.Once
	why         error
}

func newGate() *gate {
	return &gate{
		ready: make(chan struct{}), turn: make(chan struct{}), taken: make(chan struct{}),
		pass: make(chan struct{}), refused: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Turn waits for the lock's turn.
func (g *gate) Turn(ctx context.Context) error { return g.wait(ctx, g.ready, g.turn) }

// Pass waits for the turn of the steps beyond it.
func (g *gate) Pass(ctx context.Context) error { return g.wait(ctx, g.taken, g.pass) }

func (g *gate) wait(ctx context.Context, here, open chan struct{}) error {
	close(here)
	select {
	case <-open:
		return nil
	case <-g.refused:
		return g.why
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refuse has a run that waits, or comes to wait, go no further.
func (g *gate) refuse(why error) {
	g.once.Do(func() { g.why = why; close(g.refused) })
}

// lockAll reaches all nodes, options.forks at a time, and takes their locks in
// the order of the names, one after the other: two that do this at once cannot
// each have what the other waits for. When one cannot be had, the error says
// why; nothing was done beyond any lock then.
func (f *fleet) lockAll(ctx context.Context) error {
	f.gates = make([]*gate, len(f.tasks))
	if err := f.reachAll(ctx); err != nil {
		return err
	}
	byName := make([]int, len(f.tasks))
	for i := range byName {
		byName[i] = i
	}
	slices.SortFunc(byName, func(a, b int) int { return cmp.Compare(f.tasks[a].node.Name(), f.tasks[b].node.Name()) })
	for _, i := range byName {
		g := f.gates[i]
		if f.w.interrupt.Raised() || ctx.Err() != nil {
			return errors.New("interrupted")
		}
		close(g.turn)
		select {
		case <-g.taken:
		case <-g.ended:
			return f.failed(i)
		}
	}
	return nil
}

// reachAll starts a run for every node, up to where it waits for its turn.
func (f *fleet) reachAll(ctx context.Context) error {
	places := make(chan struct{}, f.w.options.forks)
	first := make(chan int, len(f.tasks)) // those that ended before they were there
	var reaching sync.WaitGroup
	for i, t := range f.tasks {
		places <- struct{}{}
		if f.w.interrupt.Raised() || ctx.Err() != nil || len(first) > 0 {
			break
		}
		g := newGate()
		f.gates[i] = g
		go func() {
			defer close(g.ended)
			f.outcomes[i] = f.w.safely(ctx, t, g)
		}()
		reaching.Go(func() {
			defer func() { <-places }()
			select {
			case <-g.ready:
			case <-g.ended:
				first <- i
			}
		})
	}
	reaching.Wait()
	select {
	case i := <-first:
		return f.failed(i)
	default:
	}
	if f.w.interrupt.Raised() || ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return nil
}

// failed says which node's lock could not be taken.
func (f *fleet) failed(i int) error {
	out := f.outcomes[i]
	if f.w.interrupt.Raised() {
		return errors.New("interrupted")
	}
	switch {
	case out.Held != nil:
		return fmt.Errorf("%s is held", out.Node)
	case exitCode(out.Err) == exitUnreachable:
		return fmt.Errorf("%s cannot be reached", out.Node)
	}
	return fmt.Errorf("%s is %s", out.Node, out.Status)
}

// lockSteps finds the step of each plan that takes its lock.
func lockSteps(tasks []task) error {
	for i, t := range tasks {
		n, err := lockStep(t.plan)
		if err == nil && t.to > 0 && t.to < n {
			err = usagef("--lock-all: %s: --to %d is before the lock, which step %d takes", t.node.Name(), t.to, n)
		}
		if err != nil {
			return err
		}
		tasks[i].lock = n
	}
	return nil
}

// lockStep finds the step that takes a plan's lock, before which there must be
// nothing but the lock on this workstation.
func lockStep(plan *jobs.Plan) (int, error) {
	for _, s := range plan.Steps {
		_, open := s.Op.(jobs.OpenBundle)
		switch {
		case open && s.Host == jobs.Remote:
			return s.N, nil
		case !open:
			return 0, usagef("--lock-all: %s: step %d %s of list %s comes before the lock; a \"remote open_bundle\" has to be first", plan.Node.Name(), s.N, s.Name, plan.List)
		}
	}
	return 0, usagef("--lock-all: %s: list %s takes no lock: it has no \"remote open_bundle\"", plan.Node.Name(), plan.List)
}

var _ runner.Gate = (*gate)(nil)
