package runner

import (
	"context"
	"strings"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// stands finds out what has become of the run's bundle on the node. Only the
// node knows after a step that was to open or to close it and did not end well,
// and after one that could not be run: the lock may be lost.
func (r *Runner) stands(ctx context.Context) {
	o := &r.outcome
	o.Open, o.Closed = r.open[jobs.Remote], r.Closed
	if o.Stopped == 0 || o.Held != nil || r.remote == nil {
		return
	}
	s := r.Plan.Steps[o.Stopped-1]
	if s.Host != jobs.Remote || o.Status != jobs.Errored && !isOpen(s) && !isClose(s) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	held, err := r.remote.Held(ctx)
	if err != nil {
		o.Open = o.Open && !isClose(s)
		return
	}
	o.Open = held != nil && held.Owner != nil && held.Owner.Run == r.Run
	o.Closed = !o.Open && (o.Closed || isClose(s) && r.began(s.N))
}

// began tells whether step n was run. It was not when the lock was lost before.
func (r *Runner) began(n int) bool {
	for _, res := range r.outcome.Results {
		if res.Step == n {
			return !strings.HasPrefix(res.Message, bundle.ErrLost.Error())
		}
	}
	return false
}
