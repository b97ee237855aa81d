package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

func (p *program) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NODE...]",
		Short: "Show who holds a node, and how far that run is",
		Long: `Show who holds a node: the run, its operator, whether its agent is at work now,
and each of its steps. A step that began, and whose end is not on record, is in
doubt: look at the node, then run it again, or go on after it. Delivered files in
the bundle that are not as they were delivered are named, while nobody is at work
there. Several nodes are shown as a table; without NODE it is all of deploy.ini.
Nothing is changed.

The exit code is 0 when every node could be asked.`,
		Example: `  conc status web1
  conc status @web
  conc status`,
		Args:              atLeast(0),
		ValidArgsFunction: p.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.status(cmd.Context(), args)
		},
	}
}

func (p *program) status(ctx context.Context, patterns []string) error {
	f, err := p.load()
	if err != nil {
		return err
	}
	names := f.NodeNames()
	if len(patterns) > 0 {
		if names, err = p.names(f, patterns...); err != nil {
			return err
		}
	}
	var codes []int
	rows := [][]string{{"NODE", "STATE", "AT", "HOLDER", "NOTE"}}
	for i, one := range p.lookAtAll(ctx, f, names) {
		name, seen, t, err := names[i], one.seen, one.task, one.err
		if err != nil && len(names) == 1 {
			return err
		}
		codes = append(codes, exitCode(err))
		switch {
		case p.flags.json:
			err = p.printJSON(p.statusRecord(name, seen, err))
		case err != nil:
			rows = append(rows, []string{name, "unknown", "", "", err.Error()})
			err = nil
		case len(names) == 1:
			err = p.showState(t, seen)
		default:
			rows = append(rows, p.statusRow(name, seen))
		}
		if err != nil {
			return err
		}
	}
	if len(names) > 1 && !p.flags.json {
		if _, err := fmt.Fprint(p.streams.Out, ui.Noted(rows, p.width())); err != nil {
			return err
		}
	}
	if code := worst(codes); code != exitOK {
		return ended{code}
	}
	return nil
}

// looked is what came of a look at a node.
type looked struct {
	task task
	seen *look
	err  error
}

// atOnce is how many nodes are looked at, at a time.
const atOnce = 20

// lookAtAll is look for nodes of the file, without a plan, in their order.
func (p *program) lookAtAll(ctx context.Context, f *config.File, names []string) []looked {
	all := make([]looked, len(names))
	places := make(chan struct{}, atOnce)
	if len(names) > 1 {
		p.ui() // what is said meanwhile comes from several
	}
	var group sync.WaitGroup
	for i, name := range names {
		one := &all[i]
		if one.task.node, one.err = f.Node(name); one.err == nil {
			one.task.target, one.err = p.target(f, one.task.node)
		}
		if one.err != nil {
			continue
		}
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			if one.seen, one.err = p.look(ctx, one.task, true); one.err == nil {
				one.seen.close()
			}
		})
	}
	group.Wait()
	return all
}

// statusRow is a node's line among several.
func (p *program) statusRow(name string, seen *look) []string {
	h := seen.held
	switch {
	case h == nil:
		return []string{name, "free", "", "", ""}
	case h.Owner == nil:
		return []string{name, "held", "", "unknown", h.Dir + " has no record of its owner"}
	}
	at := ""
	if n := seen.state.Next(); n > 0 {
		at = fmt.Sprintf("%d/%d %s", n, len(seen.state.Steps), seen.state.Steps[n-1].Name)
	}
	return []string{name, stateWord(seen), at, h.Owner.User + "@" + h.Owner.Host + ", " + ui.Ago(h.Owner.Since, p.env.Now()), h.Owner.Message}
}

// stateWord says in a word what a held node's run is at.
func stateWord(seen *look) string {
	n := seen.state.Next()
	switch {
	case seen.held.Alive:
		return "at work"
	case seen.state.Plan == nil:
		return "unknown"
	case seen.state.InDoubt() > 0:
		return "in doubt"
	case n > 0 && seen.state.Steps[n-1].Status != "":
		return string(seen.state.Steps[n-1].Status)
	}
	return "open"
}

// showState shows one node's run, and what to type.
func (p *program) showState(t task, seen *look) error {
	_, err := fmt.Fprint(p.streams.Out, ui.State(ui.Found{
		Node: t.node.Name(), Target: t.target.String(), Held: seen.held, State: seen.state,
		Changed: seen.changed, Next: p.proposals(t, seen), Now: p.env.Now(), Color: p.color(p.streams.Out), Width: p.width(),
	}))
	return err
}

// proposals are what to type about a held node.
func (p *program) proposals(t task, seen *look) [][2]string {
	h, name := seen.held, t.node.Name()
	if h != nil && h.Alive {
		return nil
	}
	conc := func(args ...string) string {
		return quote(append(append([]string{p.name()}, p.flags.again()...), args...)...)
	}
	if h == nil {
		if seen.rest == nil {
			return nil
		}
		n := seen.restFrom
		all := [][2]string{{"go on", conc(stepFrom(t.node, seen.state.Plan, n)...)}}
		if s := seen.state.Steps[n-1]; s.Status != "" || s.Doubt {
			all = append(all, [2]string{"done by hand", conc("mark", name, fmt.Sprint(n), "OK", "--note", "...")})
		}
		return all
	}
	all := [][2]string{{"look around", quote(append([]string{"ssh"}, typedSSH(t.target)...)...)}}
	if h.Owner == nil {
		return append(all, [2]string{"give up", conc("unlock", name, "--id", "unknown")})
	}
	if n := seen.state.Next(); n > 0 {
		all = append(all, [2]string{"go on", conc(stepFrom(t.node, seen.state.Plan, n)...)})
		if s := seen.state.Steps[n-1]; s.Status != "" || s.Doubt {
			all = append(all, [2]string{"done by hand", conc("mark", name, fmt.Sprint(n), "OK", "--note", "...")})
		}
	}
	return append(all, [2]string{"give up", conc("unlock", name, "--id", bundle.Short(h.Owner.Run))})
}

// statusJSON is a node's status for programs.
type statusJSON struct {
	V       int             `json:"v"`
	Type    string          `json:"type"`
	Node    string          `json:"node"`
	State   string          `json:"state"` // free, held, open, at work, in doubt, unknown, or a step's status
	Run     string          `json:"run,omitempty"`
	Holder  string          `json:"holder,omitempty"`
	Since   *time.Time      `json:"since,omitempty"`
	Note    string          `json:"note,omitempty"`
	Program *bundle.Program `json:"program,omitempty"` // that the run was begun with
	Error   string          `json:"error,omitempty"`
	Next    int             `json:"next,omitempty"` // the step that a resume would begin with
	// What is not as it was delivered, in a bundle that nobody is at work in: "app.conf (changed)".
	Changed []string      `json:"changed,omitempty"`
	Steps   []statusStepJ `json:"steps,omitempty"`
}

type statusStepJ struct {
	Step   int         `json:"step"`
	Name   string      `json:"name"`
	Where  jobs.Host   `json:"where"`
	Status jobs.Status `json:"status"` // "": not started, or in doubt
	Doubt  bool        `json:"in_doubt,omitempty"`
	By     string      `json:"marked_by,omitempty"`
}

func (p *program) statusRecord(name string, seen *look, err error) statusJSON {
	r := statusJSON{V: 1, Type: "status", Node: name}
	if err == nil && seen.unsure != nil {
		r.Error = seen.unsure.Error()
	}
	switch {
	case err != nil:
		r.State, r.Error = "unknown", err.Error()
		return r
	case seen.held == nil:
		r.State = "free"
		if seen.rest != nil {
			r.Run, r.Next, r.Steps = bundle.Short(seen.rest.Run), seen.restFrom, stepRecords(seen.state.Steps)
		}
		return r
	case seen.held.Owner == nil:
		r.State = "held"
		return r
	}
	o := seen.held.Owner
	r.State, r.Run, r.Holder, r.Since, r.Note = stateWord(seen), bundle.Short(o.Run), o.User+"@"+o.Host, &o.Since, o.Message
	r.Program = o.Program
	r.Next = seen.state.Next()
	r.Steps, r.Changed = stepRecords(seen.state.Steps), seen.changed
	return r
}
