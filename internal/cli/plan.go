package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"al.essio.dev/pkg/shellescape"
	"github.com/spf13/cobra"

	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// planOptions are the flags of plan.
type planOptions struct {
	list   string
	byHand bool
}

func (p *program) planCmd() *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan NODE...",
		Short: "Show the steps that a deploy would run, without connecting",
		Long: `Show the numbered steps that a deploy of the node would run, with every value
filled in and every secret hidden. Nothing is connected to.

With --by-hand, show the shell lines that a person would type for each step.`,
		Example: `  conc plan web1
  conc plan web1 --jobs rollback --by-hand`,
		Args:              atLeast(1),
		ValidArgsFunction: p.completeNodes,
		RunE: func(_ *cobra.Command, args []string) error {
			return p.plans(args, o)
		},
	}
	cmd.Flags().StringVar(&o.list, "jobs", "", "plan this `LIST` instead of the node's own")
	cmd.Flags().BoolVar(&o.byHand, "by-hand", false, "show the shell lines of each step")
	_ = cmd.RegisterFlagCompletionFunc("jobs", p.completeLists)
	return cmd
}

func (p *program) plans(patterns []string, o planOptions) error {
	f, err := p.load()
	if err != nil {
		return err
	}
	names, err := p.names(f, patterns...)
	if err != nil {
		return err
	}
	plans, problems := p.planAll(f, names, o.list)
	if len(problems) > 0 {
		return problems
	}
	for i, plan := range plans {
		if i > 0 && !p.flags.json {
			fmt.Fprintln(p.streams.Out)
		}
		if err := p.showPlan(f, plan, o); err != nil {
			return err
		}
	}
	return nil
}

// planAll plans each node's list, and gathers all that is wrong with any.
func (p *program) planAll(f *config.File, names []string, list string) ([]*jobs.Plan, config.Problems) {
	var plans []*jobs.Plan
	var problems config.Problems
	for _, name := range names {
		node, err := f.Node(name)
		if err == nil {
			var plan *jobs.Plan
			if plan, err = p.planner().Plan(f, node, list); err == nil {
				plans = append(plans, plan)
				continue
			}
		}
		problems = appendNew(problems, asProblems(f, err))
	}
	return plans, problems
}

// appendNew leaves out what many nodes of one group have in common.
func appendNew(all, more config.Problems) config.Problems {
	for _, m := range more {
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}

// asProblems makes every error of reading or planning a list of complaints.
func asProblems(f *config.File, err error) config.Problems {
	if problems, ok := err.(config.Problems); ok { //nolint:errorlint // these are never wrapped
		return problems
	}
	return config.Problems{{Origin: config.Origin{File: f.Path}, Reason: err.Error()}}
}

// showPlan writes a plan to standard output.
func (p *program) showPlan(f *config.File, plan *jobs.Plan, o planOptions) error {
	here := "BUNDLE" // where the node cannot be told yet
	if t, err := p.target(f, plan.Node); err == nil {
		here = p.localBundle(task{node: plan.Node, target: t})
	}
	switch {
	case p.flags.json:
		return p.printJSON(planRecord(plan, here))
	case o.byHand:
		return writeByHand(p.streams.Out, plan, here)
	}
	return writePlan(p.streams.Out, plan)
}

func writePlan(w io.Writer, plan *jobs.Plan) error {
	rows := make([][]string, len(plan.Steps))
	for i, s := range plan.Steps {
		rows[i] = []string{
			fmt.Sprintf("%*d", len(fmt.Sprint(len(plan.Steps))), s.N), s.Name, string(s.Host),
			strings.Join(append(modifiers(plan, s), command(s)), " "),
		}
	}
	_, err := fmt.Fprintf(w, "%s  list %s, %s\n\n%s", ui.Line(plan.Node.Name()), ui.Line(plan.List), ui.Count(len(plan.Steps), "step"), ui.Table(rows))
	return err
}

// modifiers gives what a line of deploy.ini says between its host and its op.
func modifiers(plan *jobs.Plan, s jobs.Step) []string {
	var mods []string
	if s.Sudo {
		mods = append(mods, "sudo")
	}
	if s.Timeout > 0 && s.Timeout != plan.Node.Duration("timeout.job") {
		mods = append(mods, "timeout="+ui.Span(s.Timeout))
	}
	if s.Retry > 0 {
		mods = append(mods, fmt.Sprintf("retry=%d", s.Retry))
	}
	return mods
}

// command gives a step's op and arguments by shell rules, as deploy.ini would
// have them after substitution.
func command(s jobs.Step) string {
	if len(s.Words) == 0 {
		return s.OpName
	}
	if brief := s.Brief(); brief != "" {
		return brief
	}
	words := make([]string, len(s.Words))
	for i, w := range s.Words {
		words[i] = quoteMasked(w)
	}
	return strings.Join(words, " ")
}

// quoteMasked quotes a word whose secrets are to be hidden. What hides them is
// not quoted: it is no part of the word.
func quoteMasked(word string) string {
	names := config.SecretNames(word)
	if len(names) == 0 {
		return shellescape.Quote(word)
	}
	const stand = "_conc_secret_" // survives quoting
	for _, name := range names {
		word = strings.ReplaceAll(word, config.SecretToken(name), stand)
	}
	return strings.ReplaceAll(shellescape.Quote(word), stand, config.Masked)
}

// writeByHand writes what a person would type instead of conc.
func writeByHand(w io.Writer, plan *jobs.Plan, here string) error {
	var b strings.Builder
	for i, s := range plan.Steps {
		if i > 0 {
			b.WriteByte('\n')
		}
		where := "on " + plan.Node.Name() + ", from the home directory"
		if s.Host == jobs.Local {
			where = "here, beside deploy.ini"
		}
		fmt.Fprintf(&b, "# %d/%d %s: %s\n", s.N, len(plan.Steps), ui.Line(s.Name), ui.Line(where))
		lines := byHand(plan.Node, s, here)
		if len(lines) == 0 {
			fmt.Fprintf(&b, "# no shell lines: %s\n", ui.Line(config.Mask(command(s))))
		}
		for _, l := range lines {
			fmt.Fprintf(&b, "%s\n", ui.Escape(config.Mask(l)))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// planJSON is a plan for programs. Secrets are hidden in it.
type planJSON struct {
	V      int        `json:"v"`
	Type   string     `json:"type"`
	Node   string     `json:"node"`
	List   string     `json:"list"`
	Digest string     `json:"digest"`
	Steps  []stepJSON `json:"steps"`
}

type stepJSON struct {
	Step    int      `json:"step"`
	Name    string   `json:"name"`
	Where   string   `json:"where"`
	Sudo    bool     `json:"sudo"`
	Timeout int64    `json:"timeout_ms"`
	Retry   int      `json:"retry"`
	Op      string   `json:"op"`
	Args    []string `json:"args"`
	From    string   `json:"from,omitempty"`
	ByHand  []string `json:"by_hand"`
}

func planRecord(plan *jobs.Plan, here string) planJSON {
	r := planJSON{V: 1, Type: "plan", Node: plan.Node.Name(), List: plan.List, Digest: plan.Digest, Steps: []stepJSON{}}
	for _, s := range plan.Steps {
		limit := s.Timeout
		if limit == 0 {
			limit = plan.Node.Duration("timeout.job")
		}
		j := stepJSON{
			Step: s.N, Name: s.Name, Where: string(s.Host), Sudo: s.Sudo, Timeout: limit.Milliseconds(),
			Retry: s.Retry, Op: s.OpName, Args: []string{}, ByHand: []string{},
		}
		if s.Origin.File != "" {
			j.From = s.Origin.String()
		}
		for _, w := range s.Words[min(1, len(s.Words)):] {
			j.Args = append(j.Args, config.Mask(w))
		}
		for _, l := range byHand(plan.Node, s, here) {
			j.ByHand = append(j.ByHand, config.Mask(l))
		}
		r.Steps = append(r.Steps, j)
	}
	return r
}
