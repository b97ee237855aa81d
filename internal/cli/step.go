package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
)

// stepOptions are the flags of step.
type stepOptions struct {
	list     string
	from, to string
	changed  bool
	takeOver bool
	yes      bool // that steps which never began are taken as done
	each     bool // ask before each step
	sudoOptions
}

func (p *program) stepCmd() *cobra.Command {
	var o stepOptions
	cmd := &cobra.Command{
		Use:   "step [NODE] --from STEP",
		Short: "Go on with an interrupted run, from a step of your choice",
		Long: `Go on with the run whose bundle is open on NODE, from STEP, a number or a name,
to the end of its list or to the step that --to names. The run keeps its id and
its bundle. Without --from, show where the run stands and what to type; nothing
is done then. NODE may be left out when this workstation knows of exactly one
interrupted run.

conc never decides what is to be done about a step that began and whose end is
not known. --from that step runs it again; --from the one after it says that you
have looked, and that it is done; both are recorded. What is taken as done is
said first; when a step never began, you are asked, if there is a terminal.

A job list that has changed since is refused, with the difference; --changed
insists. Another operator's run is refused, unless you --take-over.`,
		Example: `  conc step web1
  conc step web1 --from 9
  conc step web1 --from migrate --to restart`,
		Args:              between(0, 1),
		ValidArgsFunction: p.completeNode(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return p.step(cmd.Context(), name, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.from, "from", "", "begin with `STEP`, a number or a name")
	f.StringVar(&o.to, "to", "", "halt after `STEP`")
	f.BoolVar(&o.each, "step", false, "ask before each step, as deploy does")
	f.StringVar(&o.list, "jobs", "", "the `LIST` of the run, when it is not the node's own")
	f.BoolVar(&o.changed, "changed", false, "go on although the list is another one now")
	f.BoolVar(&o.takeOver, "take-over", false, "go on with another operator's run")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask about a step that never began and is before STEP")
	o.sudoOptions.flags(f)
	o.localFlag(f)
	_ = cmd.RegisterFlagCompletionFunc("jobs", p.completeLists)
	return cmd
}

func (p *program) step(ctx context.Context, name string, o stepOptions) error {
	if name == "" {
		f, err := p.load()
		if err != nil {
			return err
		}
		if name, err = p.interrupted(f); err != nil {
			return err
		}
	}
	f, tasks, err := p.tasks([]string{name}, o.list)
	if err != nil {
		return err
	}
	if len(tasks) != 1 {
		return usagef("%s means %d nodes; a run is gone on with on one", name, len(tasks))
	}
	t := tasks[0]
	from, to, err := stepRange(t.plan, o.from, o.to)
	tasks[0].to = to
	if err != nil {
		return err
	}
	if err := p.canAsk(o.each && o.from != ""); err != nil {
		return err
	}
	seen, err := p.look(ctx, t, o.from == "")
	if err != nil {
		return err
	}
	defer seen.close()
	switch {
	case o.from == "" && p.flags.json:
		return p.printJSON(p.statusRecord(t.node.Name(), seen, nil))
	case o.from == "":
		return p.showState(t, seen)
	}
	if seen.rest != nil && from >= seen.restFrom {
		seen.held = &bundle.HeldError{Owner: seen.rest}
	}
	if err := p.mayResume(t, seen, o); err != nil {
		return err
	}
	if err := p.sayTakenAsDone(ctx, seen.state, from, o.yes); err != nil {
		return err
	}
	return p.run(ctx, f, tasks, runOptions{
		command: "step", from: from, resume: seen,
		deployOptions: deployOptions{forks: 1, maxFail: 1, each: o.each, sudoOptions: o.sudoOptions},
	})
}

// stepFrom gives the words that go on with a run at a step. The list is named
// where it is not the node's own.
func stepFrom(node *config.Node, plan *jobs.PlanRecord, n int) []string {
	words := []string{"step", node.Name(), "--from", fmt.Sprint(n)}
	if plan != nil && plan.List != node.Get("jobs") {
		words = append(words, "--jobs", plan.List)
	}
	return words
}

// stepRange finds the steps that were asked for; 0 is the first, or the last.
func stepRange(plan *jobs.Plan, first, last string) (from, to int, err error) {
	if first != "" {
		if from, err = plan.Find(first); err != nil {
			return 0, 0, usagef("--from: %w", err)
		}
	}
	if last != "" {
		if to, err = plan.Find(last); err != nil {
			return 0, 0, usagef("--to: %s: %w", plan.Node.Name(), err)
		}
		if to < from {
			return 0, 0, usagef("--to %s is before --from %s", last, first)
		}
	}
	return from, to, nil
}

// mayResume says why a run must not be gone on with, if so.
func (p *program) mayResume(t task, seen *look, o stepOptions) error {
	node := t.node.Name()
	h := seen.held
	switch {
	case seen.unsure != nil && (h == nil || !h.Alive):
		return seen.unsure
	case h == nil && seen.rest != nil:
		return jobs.Blockedf("%s: run %s has closed its bundle there", node, bundle.Short(seen.rest.Run)).
			WithHint("what is left of it begins with step %d", seen.restFrom)
	case h == nil:
		return jobs.Blockedf("no interrupted run on this node: %s is free", node).WithHint("begin a new one: %s", p.toType("deploy", node))
	case h.Owner == nil:
		return jobs.Blockedf("%s: %s exists, and nothing says whose it is", node, h.Dir).
			WithHint("look at it: %s; give it up: %s", p.toType("shell", node), p.toType("unlock", node, "--id", "unknown"))
	case h.Alive:
		return jobs.Blockedf("%s: run %s is still at work there, at step %s", node, bundle.Short(h.Owner.Run), h.Step).
			WithHint("watch it: %s", p.toType("status", node))
	case h.Owner.User+"@"+h.Owner.Host != p.who() && !o.takeOver:
		return jobs.Blockedf("%s: run %s is %s@%s's", node, bundle.Short(h.Owner.Run), h.Owner.User, h.Owner.Host).
			WithHint("once it is agreed with them: add --take-over")
	case seen.state.Plan.Digest != t.plan.Digest && !o.changed:
		return jobs.Blockedf("%s: the list is not the one that run %s began with:\n%s",
			node, bundle.Short(h.Owner.Run), strings.Join(planDifferences(p.catalogue(), seen.state.Plan, t.plan), "\n")).
			WithHint("was the run begun with --set, or with another file? then give the same; if the change is meant: add --changed")
	}
	return nil
}

// who is the one that types.
func (p *program) who() string { return p.env.User + "@" + p.env.Hostname }

// wordDifferences tells how the arguments differ of two steps that are alike in
// all else, where each of many arguments is a line of its own. Nil: they are not
// like that.
func wordDifferences(ops jobs.Catalogue, n int, was, is jobs.Spec) []string {
	before, now := was, is
	before.Words, now.Words = nil, nil
	if len(was.Words) < 2 || len(is.Words) < 2 || ops.Brief(was.Words) == "" || ops.Brief(is.Words) == "" || specLine(before) != specLine(now) || !slices.Equal(was.Words[:2], is.Words[:2]) {
		return nil
	}
	lines := []string{fmt.Sprintf("  step %d, %s = %s:", n, is.Name, ops.Brief(is.Words))}
	for _, w := range was.Words[2:] {
		if !slices.Contains(is.Words, w) {
			lines = append(lines, "      was "+config.Mask(w))
		}
	}
	for _, w := range is.Words[2:] {
		if !slices.Contains(was.Words, w) {
			lines = append(lines, "      is  "+config.Mask(w))
		}
	}
	if len(lines) == 1 {
		lines = append(lines, "      the order is another one")
	}
	return lines
}

// planDifferences tells how a plan differs from the one that a run followed.
func planDifferences(ops jobs.Catalogue, was *jobs.PlanRecord, is *jobs.Plan) []string {
	var lines []string
	if was.List != is.List {
		lines = append(lines, fmt.Sprintf("  the list was %s, and is %s", was.List, is.List))
	}
	now := is.Specs()
	for i := range max(len(was.Steps), len(now)) {
		switch {
		case i >= len(now):
			lines = append(lines, fmt.Sprintf("  step %d was %s, and is gone", i+1, specLine(was.Steps[i])))
		case i >= len(was.Steps):
			lines = append(lines, fmt.Sprintf("  step %d is new: %s", i+1, specLine(now[i])))
		case specLine(was.Steps[i]) != specLine(now[i]):
			if words := wordDifferences(ops, i+1, was.Steps[i], now[i]); words != nil {
				lines = append(lines, words...)
				continue
			}
			lines = append(lines, fmt.Sprintf("  step %d was %s\n      and is %s", i+1, specLine(was.Steps[i]), specLine(now[i])))
		}
	}
	if lines == nil {
		lines = append(lines, "  the steps read the same; an op made in Go, or conc itself, is another one")
	}
	return lines
}

// specLine writes a step as deploy.ini would have it, substituted.
func specLine(s jobs.Spec) string {
	words := []string{string(s.Host)}
	if s.Sudo {
		words = append(words, "sudo")
	}
	if s.Timeout > 0 {
		words = append(words, "timeout="+s.Timeout.String())
	}
	if s.Retry > 0 {
		words = append(words, fmt.Sprintf("retry=%d", s.Retry))
	}
	args := make([]string, len(s.Words))
	for i, w := range s.Words {
		args[i] = config.Mask(w)
	}
	return s.Name + " = " + strings.Join(words, " ") + " " + quote(args...)
}
