package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"example.org/conc/bundle"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

func (p *program) markCmd() *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use:   "mark NODE STEP OK",
		Short: "Record that a step was done by hand",
		Long: `Record in the journal of the run that holds NODE that STEP, a number or a name,
was done by hand; or in that of the last run from this workstation, which has
closed its bundle there and is not at its end. Nothing else is changed. "status"
shows who said so, and "step" goes on after it.`,
		Example:           `  conc mark web1 9 OK --note "wheel was built by hand"`,
		Args:              exactly(3),
		ValidArgsFunction: p.completeNode(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[2] != string(jobs.OK) {
				return usagef("a step can be marked OK, and as nothing else")
			}
			return p.mark(cmd.Context(), args[0], args[1], note)
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "a `TEXT` for those who read the record")
	return cmd
}

func (p *program) mark(ctx context.Context, name, step, note string) error {
	t, err := p.at(name)
	if err != nil {
		return err
	}
	l, err := p.connect(ctx, t.target, t.node, agent.Options{})
	if err != nil {
		return err
	}
	defer l.Close() //nolint:errcheck // what was asked for is done or refused by then
	var seen look
	if err := p.inquire(ctx, l.Client, t.node.Name(), &seen); err != nil {
		return err
	}
	if seen.unsure != nil {
		return seen.unsure
	}
	owner, record, state := seen.rest, l.MarkRest, seen.state
	if seen.held != nil {
		owner, record = seen.held.Owner, l.Mark
	}
	if owner == nil || state.Plan == nil {
		return jobs.Blockedf("%s: no interrupted run on this node", t.node.Name())
	}
	n, err := state.Find(step)
	if err != nil {
		return usageError{err: err}
	}
	r := jobs.Record{Type: jobs.RecordMark, Step: n, Name: state.Steps[n-1].Name, Mark: &jobs.Mark{By: p.who(), Note: note}}
	r.Time = p.env.Now().UTC() // one record, in two journals
	if err := record(ctx, owner.Run, r); err != nil {
		return err
	}
	if err := p.recordHere(owner.Run, t.node.Name(), r); err != nil {
		return err
	}
	run, next := bundle.Short(owner.Run), state.With(r).Next()
	if p.flags.json {
		return p.printJSON(markJSON{V: 1, Type: "mark", Node: t.node.Name(), Run: run, Step: n, Name: r.Name, By: r.Mark.By, Note: note, Next: next})
	}
	_, err = fmt.Fprintf(p.streams.Out, "OK  %s  run %s: step %d %s is marked as done by hand\n", ui.Line(t.node.Name()), run, n, ui.Line(r.Name))
	if next > 0 {
		_, more := fmt.Fprintf(p.streams.Out, "Next: %s\n", ui.Line(p.toType(stepFrom(t.node, state.Plan, next)...)))
		err = errors.Join(err, more)
	}
	return err
}

// markJSON is what mark has recorded, for programs.
type markJSON struct {
	V    int    `json:"v"`
	Type string `json:"type"`
	Node string `json:"node"`
	Run  string `json:"run"`
	Step int    `json:"step"`
	Name string `json:"name"`
	By   string `json:"by"`
	Note string `json:"note,omitempty"`
	Next int    `json:"next,omitempty"` // the step that a resume would begin with
}
