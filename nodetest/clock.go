package nodetest

import (
	"context"
	"fmt"
	"time"

	"example.org/conc/jobs"
)

// clock is the check of the node's clock against the workstation's.
type clock struct{ within time.Duration }

func clockEntry() Entry {
	return Entry{
		Name:    "clock",
		Args:    "[within DURATION]",
		Summary: "the node's clock, against that of the workstation",
		Help: `within is by how much the two may differ, 2s where nothing is said. The node is
asked for its time when the suite begins; half of what the question took is the
error.

SKIPPED where the workstation's clock is not known: in a list of jobs.`,
		Example: "clock within 500ms",
		Parse: func(args []string) (Check, error) {
			c := clock{2 * time.Second}
			wants, err := grammar{values: map[string]func(string) error{"within": isPositive}}.read(args)
			for _, w := range wants {
				c.within, _ = time.ParseDuration(w.value) // judged by the grammar
			}
			return c, err
		},
	}
}

// Look compares what was measured before the checks began.
func (c clock) Look(ctx context.Context, _ *jobs.Env) ([]Finding, error) {
	ahead, _ := ctx.Value(aheadKey{}).(*time.Duration)
	if ahead == nil {
		return nil, Skipf("the workstation's clock is not known here")
	}
	way := "ahead"
	if *ahead < 0 {
		way = "behind"
	}
	return []Finding{{
		OK:   ahead.Abs() <= c.within,
		Want: fmt.Sprintf("the clock within %v of the workstation's", c.within),
		Got:  fmt.Sprintf("%v %s", ahead.Abs().Round(time.Millisecond), way),
	}}, nil
}
