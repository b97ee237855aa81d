package jobs

import (
	"context"
	"time"
)

// Rehearsal stands around every op of a plan, on both hosts, where a list is
// rehearsed or tested: it may watch an op, or let a fault befall it. A deploy
// has none.
type Rehearsal interface {
	// Limit gives a step's time limit in the place of its own.
	Limit(s Step) time.Duration
	// Do runs a step's op by calling do, or does something else. What it returns
	// is what the op returned, for all that follows.
	Do(ctx context.Context, s Step, env *Env, do func(context.Context) error) error
	// Store stands around what the node does for a delivery of the workstation's, in
	// its part of a local step.
	Store(do func() error) error
}

// rehearse gives the op and the limit that a step has in its rehearsal.
func (s Step) rehearse(op Op) (Step, Op) {
	if s.rehearsal == nil {
		return s, op
	}
	whole := s
	s.Timeout = s.rehearsal.Limit(whole)
	return s, OpFunc(func(ctx context.Context, env *Env) error {
		return s.rehearsal.Do(ctx, whole, env, func(ctx context.Context) error { return op.Do(ctx, env) })
	})
}
