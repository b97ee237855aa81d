package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// fleet is the nodes of one run, and how far each is.
type fleet struct {
	w        *wave
	tasks    []task
	outcomes []*runner.Outcome // by task; nil: not ended
	gates    []*gate           // by task, where all locks are taken first; else nil
	mu       sync.Mutex
	bad      int // nodes that were started, and are not OK
}

// all takes the nodes in order, options.forks at a time, and gives their
// outcomes in that order. The canaries come first, and somebody says then
// whether the others may follow.
func (w *wave) all(ctx context.Context, tasks []task) []*runner.Outcome {
	f := &fleet{w: w, tasks: tasks, outcomes: make([]*runner.Outcome, len(tasks))}
	first := len(tasks)
	if n := w.options.canary; n > 0 {
		first = min(n, first)
	}
	var no error
	if w.options.lockAll {
		no = f.lockAll(ctx)
	}
	if no == nil {
		limit := w.options.maxFail
		if first < len(tasks) {
			limit = 1
		}
		f.some(ctx, 0, first, limit)
		no = f.afterCanaries(ctx, first)
	} else {
		first = 0
	}
	if no == nil {
		f.some(ctx, first, len(tasks), w.options.maxFail)
	} else {
		for i := first; i < len(tasks); i++ {
			f.skip(i, no)
		}
	}
	return f.outcomes
}

// some takes the nodes from..to, until limit of all are not OK; 0 is no limit.
func (f *fleet) some(ctx context.Context, from, to, limit int) {
	places := make(chan struct{}, f.w.options.forks)
	var group sync.WaitGroup
	for i := from; i < to; i++ {
		places <- struct{}{}
		f.mu.Lock()
		enough := limit > 0 && f.bad >= limit
		f.mu.Unlock()
		switch {
		case f.w.interrupt.Raised() || ctx.Err() != nil:
			f.skip(i, errors.New("interrupted"))
		case enough && limit != f.w.options.maxFail:
			f.skip(i, errors.New("a canary is not OK"))
		case enough:
			f.skip(i, fmt.Errorf("--max-fail %d reached", limit))
		default:
			group.Go(func() {
				defer func() { <-places }()
				f.one(ctx, i)
			})
			continue
		}
		<-places
	}
	group.Wait()
}

// one takes a node to its end.
func (f *fleet) one(ctx context.Context, i int) {
	if f.gates != nil {
		g := f.gates[i]
		close(g.pass)
		<-g.ended
	} else {
		f.outcomes[i] = f.w.safely(ctx, f.tasks[i], nil)
	}
	if f.outcomes[i].Status != jobs.OK && f.tasks[i].no == nil {
		f.mu.Lock()
		f.bad++
		f.mu.Unlock()
	}
}

// skip ends a node whose turn never comes. A lock that it has taken is given
// back.
func (f *fleet) skip(i int, why error) {
	if f.gates != nil && f.gates[i] != nil {
		f.gates[i].refuse(why)
		<-f.gates[i].ended
	}
	if f.outcomes[i] != nil {
		return
	}
	t := f.tasks[i]
	out := &runner.Outcome{Node: t.node.Name(), NotStarted: len(t.plan.Steps), Note: why.Error()}
	if jobs.StatusOf(why) == jobs.Stopped { // somebody said so: no other node's code tells
		out.Err = why
	}
	f.outcomes[i] = out
	f.w.emit(runner.Event{Type: runner.NodeEnd, Time: time.Now(), Run: t.run, Node: t.node.Name(), Plan: t.plan, Outcome: out, Text: out.Note})
}

// afterCanaries asks whether the nodes from first on may follow the ones before.
func (f *fleet) afterCanaries(ctx context.Context, first int) error {
	w, left := f.w, len(f.tasks)-first
	if left == 0 {
		return nil
	}
	var canaries, rest []string
	for i, t := range f.tasks {
		if i >= first {
			rest = append(rest, t.node.Name())
			continue
		}
		if canaries = append(canaries, t.node.Name()); f.outcomes[i].Status != jobs.OK && !w.interrupt.Raised() {
			return errors.New("a canary is not OK")
		}
	}
	if w.interrupt.Raised() || ctx.Err() != nil {
		return errors.New("interrupted")
	}
	what := fmt.Sprintf("%s OK (%s); %s left", isAre(first, "canary", "canaries"), someOf(canaries), isAre(left, "node", "nodes"))
	hold := runner.Event{Type: runner.Hold, Time: time.Now(), Run: w.id, Nodes: rest, Text: what}
	if w.options.yes {
		hold.Text += ": going on, as --yes says"
		w.emit(hold)
		return nil
	}
	again := []string{"deploy", failedNodes}
	if w.options.list != "" {
		again = append(again, "--jobs", w.options.list)
	}
	if w.terminal() == nil {
		hold.Hint = "there is no terminal to ask on; look at them, and go on: " + w.toType(again...)
		w.emit(hold)
		return jobs.Stoppedf("held after the canaries")
	}
	w.emit(hold)
	ctx, release := untilStop(ctx, w.interrupt)
	defer release()
	for {
		text, err := w.line(ctx, fmt.Sprintf("HOLD  go on with the other %d? Enter to go on, q to stop here: ", left))
		switch {
		case w.interrupt.Raised() || ctx.Err() != nil:
			return errors.New("interrupted")
		case err != nil:
			return jobs.Stoppedf("held after the canaries: %w", err)
		}
		switch strings.ToLower(text) {
		case "", "y", "yes":
			return nil
		case "q", "quit", "n", "no":
			return jobs.Stoppedf("stopped after the canaries")
		}
	}
}

// untilStop gives a context that the first Ctrl-C ends, until release is called.
func untilStop(ctx context.Context, i *runner.Interrupt) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-i.Stop():
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(); watch.Wait() }
}

// isAre gives "1 node is" or "3 nodes are".
func isAre(n int, one, many string) string {
	if n == 1 {
		return "1 " + one + " is"
	}
	return fmt.Sprintf("%d %s are", n, many)
}

// someOf lists names, some of them where there are many.
func someOf(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// safely is one, of which a bug of ours that strikes one node ends that alone.
func (w *wave) safely(ctx context.Context, t task, g *gate) (out *runner.Outcome) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if w.env.Getenv("CONC_DEBUG") == "1" {
			w.warn(fmt.Sprintf("%v\n%s", r, debug.Stack()))
		}
		w.log.Error().Str("node", t.node.Name()).Bytes("stack", debug.Stack()).Msg("bug")
		out = &runner.Outcome{
			Node: t.node.Name(), Status: jobs.Errored,
			Err: &jobs.Error{Status: jobs.Errored, Err: panicError{r}, Hint: "how far the node is: " + w.toType("status", t.node.Name())},
		}
		w.emit(runner.Event{Type: runner.NodeEnd, Time: time.Now(), Run: t.run, Node: t.node.Name(), Plan: t.plan, Outcome: out})
	}()
	return w.one(ctx, t, g)
}
