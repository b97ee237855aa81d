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
	there int               // records in the node's journal
	state runner.State      // of its run; without a plan when there is no journal

	// What is not as it was delivered, in the bundle of a held node whose agent is
	// not at work; only where it was asked for.
	changed []string

	// Of a node that is free, when a run of this workstation has something left
	// to do after it closed its bundle; nil: none has.
	rest     *bundle.Owner
	restFrom int // the first step that is left
}

func (l *look) close() { _ = l.conn.Close() }

// look asks a node who holds it, and how far that run is. The connection stays
// up for what comes after; the agent that answered has ended. It is asked for
// what was changed by hand where hand is true.
func (p *program) look(ctx context.Context, t task, hand bool) (*look, error) {
	l, err := p.connect(ctx, t.target, t.node, agent.Options{})
	if err != nil {
		return nil, err
	}
	seen := &look{conn: l.conn}
	var refused *jobs.Error
	err = p.inquire(ctx, l.Client, t.node.Name(), seen)
	if h := seen.held; err == nil && hand && h != nil && h.Owner != nil && !h.Alive {
		if seen.changed, err = l.ChangedIn(ctx, h.Owner.Run); errors.As(err, &refused) {
			// Not to know it is no reason not to tell the rest.
			p.warn(t.node.Name() + ": changes to the delivered files: " + err.Error())
			err = nil
		}
	}
	if err = errors.Join(err, l.Client.Close()); err != nil {
		return nil, errors.Join(err, l.conn.Close())
	}
	return seen, nil
}

// inquire asks an agent who holds its node, and joins the records of that run
// with those of this workstation.
func (p *program) inquire(ctx context.Context, c *agent.Client, node string, seen *look) error {
	var err error
	if seen.held, err = c.Held(ctx); err != nil || seen.held != nil && seen.held.Owner == nil {
		return err
	}
	if seen.held == nil {
		return p.rest(ctx, c, node, seen)
	}
	run := seen.held.Owner.Run
	there, torn, err := c.Journal(ctx, run)
	if err != nil {
		return p.unreadable(node, seen.held.Owner, err)
	}
	if torn {
		p.warn("the last line of the node's journal was cut short, and is left out")
	}
	here, err := p.records(run, node)
	seen.there, seen.state = len(there), runner.Fold(runner.Merge(there, here))
	return err
}

// unreadable says whose records they are that cannot be read, and the way out.
func (p *program) unreadable(node string, o *bundle.Owner, err error) error {
	var told *jobs.Error
	if !errors.As(err, &told) || told.Hint != "" {
		return err
	}
	return jobs.Errorf("%w", err).WithHint("run %s of %s@%s holds %s; look there, do by hand what is left of it,\nand give it up: %s",
		bundle.Short(o.Run), o.User, o.Host, node, p.toType("unlock", node, "--id", bundle.Short(o.Run)))
}
