package cli

import (
	"context"
	"errors"

	"example.org/conc/bundle"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/sshconn"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// look is what a node and this workstation know of the run that holds the node.
type look struct {
	conn  *sshconn.Conn
	held  *bundle.HeldError // nil: nobody
	state runner.State      // of its run; without a plan when there is no journal
}

func (l *look) close() { _ = l.conn.Close() }

// look asks a node who holds it, and how far that run is. The connection stays
// up for what comes after; the agent that answered has ended.
func (p *program) look(ctx context.Context, t task) (*look, error) {
	l, err := p.connect(ctx, t.target, t.node, agent.Options{})
	if err != nil {
		return nil, err
	}
	held, records, err := p.inquire(ctx, l.Client, t.node.Name())
	if err = errors.Join(err, l.Client.Close()); err != nil {
		return nil, errors.Join(err, l.conn.Close())
	}
	return &look{conn: l.conn, held: held, state: runner.Fold(records)}, nil
}

// inquire asks an agent who holds its node, and joins the records of that run
// with those of this workstation.
func (p *program) inquire(ctx context.Context, c *agent.Client, node string) (*bundle.HeldError, []jobs.Record, error) {
	held, err := c.Held(ctx)
	if err != nil || held == nil || held.Owner == nil {
		return held, nil, err
	}
	there, torn, err := c.Journal(ctx, held.Owner.Run)
	if err != nil {
		return nil, nil, err
	}
	if torn {
		p.warn("the last line of the node's journal was cut short, and is left out")
	}
	here, err := p.records(held.Owner.Run, node)
	return held, runner.Merge(there, here), err
}
