package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"example.org/conc/config"
	"example.org/conc/internal/ui"
)

func (p *program) configCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check all of deploy.ini, and every node's plan and suite",
		Long: `Check the whole of deploy.ini: every section, every reference, and every job
list and suite of checks with the values of the nodes whose it is. Nothing is
connected to. Every problem is told with its file and line; with one or more,
the exit code is 5.`,
		Example: `  conc config check
  conc -c staging.ini config check`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return p.check() },
	}
}

func (p *program) check() error {
	f, err := p.read()
	if err != nil {
		var problems config.Problems
		if !errors.As(err, &problems) {
			return err
		}
		return p.found(problems)
	}
	for _, w := range f.Warnings() {
		p.warn(w.Error())
	}
	lists := p.listNames(f)
	if problems := p.checkPlans(f, lists); len(problems) > 0 {
		return p.found(problems)
	}
	if p.flags.json {
		return p.printJSON(struct {
			V      int    `json:"v"`
			Type   string `json:"type"`
			File   string `json:"file"`
			Nodes  int    `json:"nodes"`
			Lists  int    `json:"lists"`
			Suites int    `json:"suites"`
		}{1, "check", f.Path, len(f.NodeNames()), len(lists), len(f.SuiteNames())})
	}
	counts := ui.Count(len(f.NodeNames()), "node") + ", " + ui.Count(len(lists), "list")
	if suites := len(f.SuiteNames()); suites > 0 {
		counts += ", " + ui.Count(suites, "suite")
	}
	_, err = fmt.Fprintf(p.streams.Out, "%s: %s: OK\n", ui.Line(f.Path), counts)
	return err
}

// checkPlans plans every node's own list and suite.
func (p *program) checkPlans(f *config.File, lists []string) config.Problems {
	var problems config.Problems
	var nodes []*config.Node
	for _, name := range f.NodeNames() {
		n, err := f.Node(name)
		if err != nil {
			problems = appendNew(problems, asProblems(f, err))
			continue
		}
		nodes = append(nodes, n)
		if _, err := p.target(f, n); err != nil {
			problems = appendNew(problems, asProblems(f, err))
		}
	}
	for _, kind := range []struct {
		key   string // names a node's own
		names []string
		plan  func(n *config.Node, name string) error // "" is the node's own
	}{
		{"jobs", lists, func(n *config.Node, name string) error { _, err := p.planner().Plan(f, n, name); return err }},
		{"nodetest", f.SuiteNames(), func(n *config.Node, name string) error { _, err := p.checks().Plan(f, n, name); return err }},
	} {
		own := map[string]bool{}
		for _, n := range nodes {
			name := n.Get(kind.key)
			if name == "" {
				continue
			}
			own[name] = true
			if err := kind.plan(n, ""); err != nil {
				problems = appendNew(problems, asProblems(f, err))
			}
		}
		for _, name := range kind.names {
			if own[name] {
				continue
			}
			if err := suits(nodes, name, kind.plan); err != nil {
				problems = appendNew(problems, asProblems(f, err))
			}
		}
	}
	return problems
}

// suits tells whether a list or a suite that is no node's own can be planned for
// at least one node: a flag can name it. If not, it says why not for the first.
func suits(nodes []*config.Node, name string, plan func(*config.Node, string) error) error {
	var first error
	for i, n := range nodes {
		err := plan(n, name)
		if err == nil {
			return nil
		}
		if i == 0 {
			first = err
		}
	}
	return first
}

// listNames gives the job lists of the file, and then those of the program.
func (p *program) listNames(f *config.File) []string {
	names := f.ListNames()
	for _, name := range slices.Sorted(maps.Keys(p.app.Lists)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// found writes the result of a check that found something.
func (p *program) found(problems config.Problems) error {
	for _, q := range problems {
		if p.flags.json {
			err := p.printJSON(struct {
				V       int    `json:"v"`
				Type    string `json:"type"`
				File    string `json:"file,omitempty"`
				Line    int    `json:"line,omitempty"`
				Section string `json:"section,omitempty"`
				Reason  string `json:"reason"`
				Hint    string `json:"hint,omitempty"`
			}{1, "problem", q.Origin.File, q.Origin.Line, q.Origin.Section, q.Reason, q.Hint})
			if err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintln(p.streams.Out, problemLine(q)); err != nil {
			return err
		}
	}
	if !p.flags.json {
		fmt.Fprintf(p.streams.Out, "%s in %s\n", ui.Count(len(problems), "problem"), ui.Line(p.flags.config))
	}
	return ended{exitConfig}
}

// problemLine gives "deploy.ini:23: reason; hint".
func problemLine(q config.Problem) string {
	if q.Origin.String() == "" {
		s := q.Reason
		if q.Hint != "" {
			s += "; " + q.Hint
		}
		return ui.Line(s)
	}
	return ui.Line(q.Error())
}
