package runner

import (
	"context"

	"example.org/conc/jobs"
)

// mayRun asks for a step, where each is asked for. When the answer is no, or
// Ctrl-C, the run ends before it.
func (r *Runner) mayRun(ctx context.Context, s jobs.Step) bool {
	if r.Ask == nil {
		return true
	}
	ctx, release := r.untilStop(ctx)
	err := r.Ask(ctx, s)
	release()
	switch {
	case r.Interrupt.Raised():
		r.stop(s.N)
	case err != nil:
		r.outcome.Status, r.outcome.Stopped = jobs.Stopped, s.N
		r.outcome.Err = jobs.Stoppedf("before step %d %s: %w", s.N, s.Name, err)
	}
	return r.outcome.Status == jobs.OK
}

// untilStop gives a context that the first Ctrl-C ends, until release is called.
func (r *Runner) untilStop(ctx context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-r.Interrupt.Stop():
			cancel()
		case <-done:
		}
	}()
	return ctx, func() {
		close(done)
		<-gone
		cancel()
	}
}
