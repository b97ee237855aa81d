package cli

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// stillOpen is why a node's run is not gone on with, where its bundle may be
// open still.
type stillOpen struct{ error }

func (e stillOpen) Unwrap() error { return e.error }

// toGoOn puts those nodes for @failed whose run can be gone on with.
func (p *program) toGoOn(patterns []string) ([]string, error) {
	i := slices.Index(patterns, failedNodes)
	if i < 0 {
		return patterns, nil
	}
	f, err := p.read()
	if err != nil {
		return nil, err
	}
	failed, open, err := p.failed(f)
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(failed), func(n string) bool { return slices.Contains(open, n) })
	patterns = slices.DeleteFunc(slices.Clone(patterns), func(s string) bool { return s == failedNodes })
	if len(open)+len(patterns) == 0 {
		return nil, usageError{
			err:  fmt.Errorf("of %s, no node has a run that can be gone on with", failedNodes),
			hint: "begin anew: " + p.toType("deploy", failedNodes),
		}
	}
	if len(others) > 0 {
		fmt.Fprintf(p.streams.Err, "no run is open on %s; begin anew there, after this: %s\n",
			ui.Line(someOf(others)), p.toType("deploy", failedNodes))
	}
	return slices.Insert(patterns, i, open...), nil
}

// begins finds the step that a run is gone on with at.
func (p *program) begins(t task, seen *look, o stepOptions) (int, error) {
	if !o.again {
		return t.from, nil
	}
	node := t.node.Name()
	if n := seen.state.InDoubt(); n > 0 && seen.unsure == nil {
		return 0, jobs.Blockedf("%s: step %d %s is in doubt: it began, and its end is not known", node, n, seen.state.Steps[n-1].Name).
			WithHint("look at it: %s; then run it again, or go on after it, with --from", p.toType("status", node))
	}
	switch n := seen.state.Next(); {
	case seen.rest != nil:
		return seen.restFrom, nil
	case n > 0 && n <= len(t.plan.Steps):
		return n, nil
	}
	return 1, nil // what is wrong, mayResume says
}

// resume finds out how one node's run is gone on with: its task has that in it,
// or why not.
func (p *program) resume(ctx context.Context, t *task, o stepOptions) {
	seen, err := p.look(ctx, *t, false)
	if err == nil {
		if t.from, err = p.begins(*t, seen, o); err == nil {
			err = p.adoptable(*t, seen, o)
		}
		if t.to > 0 && err == nil && t.to < t.from {
			err = usagef("%s: --to %d is before step %d, with which it would begin", t.node.Name(), t.to, t.from)
		}
	}
	switch {
	case err == nil:
		t.resume = seen
		return
	case seen == nil: // not reached
	default:
		seen.close()
		if seen.held == nil && seen.rest == nil {
			t.no = err // free: nothing is open there
			return
		}
	}
	t.no = stillOpen{err}
}

// adoptable is mayResume for a node that may have something left of a run which
// has closed its bundle.
func (p *program) adoptable(t task, seen *look, o stepOptions) error {
	if seen.rest != nil && t.from >= seen.restFrom {
		seen.held = &bundle.HeldError{Owner: seen.rest}
	}
	return p.mayResume(t, seen, o)
}

// stepSeveral goes on with the runs of several nodes, each with its own. A node
// whose run cannot be gone on with keeps no other from it.
func (p *program) stepSeveral(ctx context.Context, f *config.File, tasks []task, o stepOptions) error {
	defer func() {
		for _, t := range tasks {
			if t.resume != nil {
				t.resume.close()
			}
		}
	}()
	if err := p.lookAll(ctx, tasks, o); err != nil {
		return err
	}
	codes := make([]int, len(tasks))
	for i, t := range tasks {
		if codes[i] = exitCode(t.no); t.no != nil {
			continue
		}
		if err := p.sayTakenAsDone(ctx, t.node.Name()+": ", t.resume.state, t.from, o.yes); err != nil {
			return err
		}
	}
	if !slices.Contains(codes, exitOK) {
		for _, t := range tasks {
			p.complain(p.name()+": "+t.no.Error(), hintOf(t.no))
		}
		return ended{worst(codes)}
	}
	return p.run(ctx, f, tasks, o.running())
}

// lookAll looks how far each run is, options.forks at a time.
func (p *program) lookAll(ctx context.Context, tasks []task, o stepOptions) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	p.ui() // what is said meanwhile comes from several
	places := make(chan struct{}, o.forks)
	var group sync.WaitGroup
	for i := range tasks {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			p.resume(ctx, &tasks[i], o)
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return jobs.Stoppedf("interrupted before the first step")
	}
	return nil
}

// running is how the rest of the runs is run.
func (o stepOptions) running() runOptions {
	return runOptions{command: "step", deployOptions: deployOptions{
		forks: o.forks, maxFail: o.maxFail, each: o.each, sudoOptions: o.sudoOptions,
	}}
}
