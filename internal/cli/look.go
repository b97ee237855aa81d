package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	state runner.State      // of its run; without a plan when nothing is known of it

	// Why the records are not enough to go on by; nil: they are. To look at what
	// there is does no harm.
	unsure error

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
	if err == nil && hand && seen.unsure != nil {
		p.warn(seen.unsure.Error())
	}
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
	switch {
	case !slices.ContainsFunc(there, func(r jobs.Record) bool { return r.Type == jobs.RecordBegin }):
		// That open_bundle began was on disk before there was a bundle.
		seen.unsure = p.recordless(node, seen.held.Owner, err == nil && len(here) > 0)
		return nil
	case err != nil:
		seen.unsure = unreadableHere(node, err)
	}
	seen.there, seen.state = len(there), runner.Fold(runner.Merge(there, here))
	return nil
}

// recordless says that what the node has recorded of an open run is gone. What
// this workstation has is no record of the steps there, but here tells whether
// there is something to be looked at.
func (p *program) recordless(node string, o *bundle.Owner, here bool) error {
	err := jobs.Errorf("%s: the node's record of run %s is missing or empty, and the bundle is open: nothing says which steps were done",
		node, bundle.Short(o.Run)).WithHint("%s", p.wayOut(node, o))
	if here {
		err = err.WithHint("%s\nwhat was seen of it here: %s", err.Hint, p.toType("history", bundle.Short(o.Run)))
	}
	return err
}

// unreadableHere says that a part of the records is missing: what the node has
// of the local steps may lack the last of them.
func unreadableHere(node string, err error) error {
	return jobs.Errorf("%s: this workstation's records of the run cannot be read: %w", node, err).
		WithHint("mend that; or move it aside, to go on by what the node has recorded, which may lack the last local step")
}

// unreadable says whose records they are that cannot be read, and the way out.
func (p *program) unreadable(node string, o *bundle.Owner, err error) error {
	var told *jobs.Error
	if !errors.As(err, &told) || told.Hint != "" {
		return err
	}
	return jobs.Errorf("%w", err).WithHint("%s", p.wayOut(node, o))
}

// wayOut says what is left to do about a run that nobody can go on with.
func (p *program) wayOut(node string, o *bundle.Owner) string {
	return fmt.Sprintf("run %s of %s@%s holds %s; look there, do by hand what is left of it,\nand give it up: %s",
		bundle.Short(o.Run), o.User, o.Host, node, p.toType("unlock", node, "--id", bundle.Short(o.Run)))
}
