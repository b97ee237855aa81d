package cli

import (
	"context"
	"sync"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// ways is how many channels a node may have: fewer, when there are many nodes
// at a time that share the line and this host's memory.
func (w *wave) ways() int {
	atOnce := min(w.options.forks, w.nodes)
	if atOnce <= 4 {
		return bundle.MaxWays
	}
	return max(1, 2*bundle.MaxWays/atOnce)
}

// channels tells, when it is asked, how many file channels the steps from..to
// will want. It begins to look at once.
func (w *wave) channels(ctx context.Context, steps []jobs.Step, env jobs.Env) func() int {
	count := sync.OnceValue(func() int {
		var most int64
		for _, s := range steps {
			if ships, ok := s.Op.(jobs.Shipper); ok && s.Host == jobs.Local && !s.AsRoot() {
				env := env
				env.Step = s.N
				most = max(most, ships.Ships(ctx, &env))
			}
		}
		return min(bundle.Ways(most), w.ways())
	})
	go count()
	return count
}
