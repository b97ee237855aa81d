package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"example.org/conc/bundle"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

func (p *program) unlockCmd() *cobra.Command {
	var run string
	var yes bool
	cmd := &cobra.Command{
		Use:   "unlock NODE --id RUN",
		Short: "Give up an open bundle: move it aside, by hand",
		Long: `Move the open bundle of run RUN on NODE aside, so that the next deploy can open
its own. Nothing is deleted: the old bundle stays beside it under another name.
It is refused while that run's agent is still working on the node, and while the
process that began the run is still there on this workstation.

The run is named, as the BLOCKED screen shows it, so that a bundle that someone
else has opened meanwhile is never moved.`,
		Example:           `  conc unlock web1 --id W9QZ3XJ4`,
		Args:              exactly(1),
		ValidArgsFunction: p.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.unlock(cmd.Context(), args[0], run, yes)
		},
	}
	cmd.Flags().StringVar(&run, "id", "", "the `RUN` that holds the node, short or whole")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (p *program) unlock(ctx context.Context, name, run string, yes bool) error {
	if run == "" {
		return usageError{
			err:  errors.New("unlock needs --id: the run that holds the node"),
			hint: "a deploy that is BLOCKED shows it",
		}
	}
	t, err := p.at(name)
	if err != nil {
		return err
	}
	node := t.node.Name()
	here := p.localBundle(t)
	if o, _ := bundle.ReadOwner(here); o != nil && named(o, run) {
		if err := p.isWorking(o.Run, o.Node); err != nil {
			return err
		}
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	l, err := p.connect(ctx, t.target, t.node, agent.Options{})
	if err != nil {
		return err
	}
	defer l.Close() //nolint:errcheck // what was asked for is done or refused by then

	held, err := l.Held(ctx)
	if err != nil {
		return err
	}
	// This workstation may have a bundle of a run that the node's is not of.
	if held == nil || !named(held.Owner, run) {
		switch aside, err := p.unlockHere(here, run); {
		case err != nil:
			return err
		case aside != "":
			if o, _ := bundle.ReadOwner(aside); o != nil {
				p.recordUnlock(o.Run, o.Node)
			}
			if p.flags.json {
				return p.printJSON(unlockJSON{V: 1, Type: "unlock", Node: node, Run: run, AsideHere: aside})
			}
			fmt.Fprintf(p.streams.Out, "OK  %s was not held by that run. The bundle on this workstation is now %s\n", node, ui.Escape(aside))
			return nil
		case held == nil:
			return jobs.Blockedf("%s is not held: nothing to unlock", node)
		case held.Owner == nil:
			return jobs.Blockedf("nothing says whose bundle %s is", held.Dir).
				WithHint("give it up all the same: %s", p.toType("unlock", node, "--id", agent.UnknownRun))
		}
		return jobs.Blockedf("%s is held by another run than %s: by %s", node, run, bundle.Short(held.Owner.Run)).
			WithHint("see whose it is: %s", p.toType("status", node))
	}
	if held.Owner != nil {
		if err := p.isWorking(held.Owner.Run, node); err != nil {
			return err
		}
	}
	if held.Alive {
		return jobs.Blockedf("%s: the agent of run %s is running on the node now, at step %s", node, bundle.Short(held.Owner.Run), cmp.Or(held.Step, "1")).
			WithHint("wait until its step has ended, or stop it where it was started: %s", p.toType("status", node))
	}
	fmt.Fprintf(p.streams.Err, "%s\n", ui.Escape(held.Error()))
	if !yes {
		switch ok, err := p.confirm(ctx, "Move it aside?"); {
		case errors.Is(err, errNobody):
			return jobs.Blockedf("there is no terminal to ask on").WithHint("add -y to unlock without being asked")
		case err != nil:
			return err
		case !ok:
			return jobs.Stoppedf("nothing was changed")
		}
	}
	aside, err := l.Unlock(ctx, run)
	if err != nil {
		return err
	}
	asideHere, err := p.unlockHere(here, run)
	if held.Owner != nil {
		p.recordUnlock(held.Owner.Run, node)
	}
	if p.flags.json {
		return errors.Join(p.printJSON(unlockJSON{V: 1, Type: "unlock", Node: node, Run: run, Aside: aside, AsideHere: asideHere}), err)
	}
	fmt.Fprintf(p.streams.Out, "OK  %s is free. The old bundle is now %s\n", node, ui.Escape(aside))
	if asideHere != "" {
		fmt.Fprintf(p.streams.Out, "    The one on this workstation is now %s\n", ui.Escape(asideHere))
	}
	return err
}

// unlockJSON says where a bundle was moved, for programs.
type unlockJSON struct {
	V         int    `json:"v"`
	Type      string `json:"type"`
	Node      string `json:"node"`
	Run       string `json:"run"`                  // as --id has it
	Aside     string `json:"aside,omitempty"`      // on the node
	AsideHere string `json:"aside_here,omitempty"` // on this workstation
}

// recordHere says in this workstation's own journal of a run, if it has one,
// what the node's journal says already.
func (p *program) recordHere(run, node string, r jobs.Record) error {
	if _, err := os.Stat(p.journalPath(run, node)); err != nil || !bundle.ValidRun(run) {
		return nil //nolint:nilerr // it was another workstation's run
	}
	// It has happened: that it is recorded does not depend on who still waits.
	j, release, err := p.working(context.Background(), run, node)
	if err != nil {
		return err
	}
	defer release()
	return j.Record(r)
}

// recordUnlock records here that a run was given up. That it was is not undone
// by a journal that cannot be written.
func (p *program) recordUnlock(run, node string) {
	if err := p.recordHere(run, node, jobs.Record{Type: jobs.RecordUnlock}); err != nil {
		p.warn("that the run was given up is not recorded here: " + err.Error())
	}
}

// unlockHere moves the same run's bundle on this workstation aside, if there is
// one, and gives its new path.
func (p *program) unlockHere(dir, run string) (string, error) {
	o, err := bundle.ReadOwner(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case !named(o, run):
		return "", nil
	case o == nil:
		return bundle.SetAside(dir, "")
	}
	return bundle.SetAside(dir, o.Run)
}

// named tells whether id is the owner's run, whole or short.
func named(o *bundle.Owner, id string) bool {
	if o == nil {
		return id == agent.UnknownRun
	}
	return strings.EqualFold(o.Run, id) || strings.EqualFold(bundle.Short(o.Run), id)
}
