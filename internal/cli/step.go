package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// stepOptions are the flags of step.
type stepOptions struct {
	list     string
	from, to string
	again    bool // from where the run stopped
	forks    int
	maxFail  int
	changed  bool
	takeOver bool
	yes      bool // that steps which never began are taken as done
	each     bool // ask before each step
	sudoOptions
}

func (p *program) stepCmd() *cobra.Command {
	var o stepOptions
	cmd := &cobra.Command{
		Use:   "step [NODE...] --from STEP",
		Short: "Go on with an interrupted run, from a step of your choice",
		Long: `Go on with the run whose bundle is open on NODE, from STEP, a number or a name,
to the end of its list or to the step that --to names. The run keeps its id and
its bundle. Without --from, show where the run stands and what to type; nothing
is done then. NODE may be left out when this workstation knows of exactly one
interrupted run.

--again, in the place of --from, goes on where the run stopped, and runs the step
again at which it did; with several nodes, each goes on with its own run. @failed
means those nodes of the last run that are left open. A node whose step is in
doubt is BLOCKED, and so is one that is free; neither keeps the others from it.

conc never decides what is to be done about a step that began and whose end is
not known. --from that step runs it again; --from the one after it says that you
have looked, and that it is done; both are recorded. What is taken as done is
said first; when a step never began, you are asked, if there is a terminal.

A job list that has changed since is refused, with the difference; --changed
insists. Another operator's run is refused, unless you --take-over.`,
		Example: `  conc step web1
  conc step web1 --from 9
  conc step web1 --from migrate --to restart
  conc step @failed --again`,
		Args:              atLeast(0),
		ValidArgsFunction: p.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.step(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.from, "from", "", "begin with `STEP`, a number or a name")
	f.BoolVar(&o.again, "again", false, "begin where the run stopped")
	f.StringVar(&o.to, "to", "", "halt after `STEP`")
	f.IntVarP(&o.forks, "forks", "f", 1, "take `N` nodes at a time")
	f.IntVar(&o.maxFail, "max-fail", 1, "start no further node once `N` nodes are not OK; 0 is no limit")
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

func (p *program) step(ctx context.Context, patterns []string, o stepOptions) error {
	switch {
	case o.forks < 1 || o.maxFail < 0:
		return usagef("--forks is at least 1, and --max-fail at least 0")
	case o.from != "" && o.again:
		return usagef("--from says where to begin, and --again that it is where the run stopped: give one of them")
	}
	if len(patterns) == 0 {
		f, err := p.load()
		if err != nil {
			return err
		}
		name, err := p.interrupted(f)
		if err != nil {
			return err
		}
		patterns = []string{name}
	}
	nodes, err := p.toGoOn(patterns)
	if err != nil {
		return err
	}
	f, tasks, err := p.tasks(nodes, o.list)
	if err != nil {
		return err
	}
	for i := range tasks {
		if tasks[i].from, tasks[i].to, err = stepRange(tasks[i].plan, o.from, o.to); err != nil {
			return err
		}
	}
	begin := o.from != "" || o.again
	if err := p.canAsk(o.each && begin); err != nil {
		return err
	}
	switch {
	case len(tasks) == 1:
		return p.stepOne(ctx, f, tasks, o)
	case begin:
		return p.stepSeveral(ctx, f, tasks, o)
	}
	names := make([]string, len(tasks))
	for i, t := range tasks {
		names[i] = t.node.Name()
	}
	if err := p.status(ctx, names); err != nil || p.flags.json {
		return err
	}
	fmt.Fprintf(p.streams.Out, "\ngo on with each where it stopped: %s\n", ui.Line(p.toType(append(append([]string{"step"}, patterns...), "--again")...)))
	return nil
}

// stepOne goes on with the run of one node, or shows it.
func (p *program) stepOne(ctx context.Context, f *config.File, tasks []task, o stepOptions) error {
	t := tasks[0]
	begin := o.from != "" || o.again
	seen, err := p.look(ctx, t, !begin)
	if err != nil {
		return err
	}
	defer seen.close()
	switch {
	case !begin && p.flags.json:
		return p.printJSON(p.statusRecord(t.node.Name(), seen, nil))
	case !begin:
		return p.showState(t, seen)
	}
	if t.from, err = p.begins(t, seen, o); err != nil {
		return err
	}
	if err := p.adoptable(t, seen, o); err != nil {
		return err
	}
	if err := p.sayTakenAsDone(ctx, "", seen.state, t.from, o.yes); err != nil {
		return err
	}
	t.resume = seen
	return p.run(ctx, f, []task{t}, o.running())
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
