package cli

import (
	"context"
	"sync"

	"example.org/conc/jobs"
)

// How many file channels a node gets. One carries 2 MiB a round trip; a default
// sshd has room for ten sessions on a connection, the agent's among them.
const (
	mostWays  = 8
	perWay    = 2 << 20
	smallLoad = 512 << 10 // travels with the agent's calls
)

// ways is how many channels a node may have: fewer, when there are many nodes
// at a time that share the line and this host's memory.
func (w *wave) ways() int {
	atOnce := min(w.options.forks, w.nodes)
	if atOnce <= 4 {
		return mostWays
	}
	return max(1, 2*mostWays/atOnce)
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
		if most <= smallLoad {
			return 0
		}
		return int(min(most/perWay+1, int64(w.ways())))
	})
	go count()
	return count
}
