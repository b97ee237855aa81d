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
		Short: "Check all of deploy.ini, and every node's plan",
		Long: `Check the whole of deploy.ini: every section, every reference, and every job
list with the values of the nodes that run it. Nothing is connected to. Every
problem is told with its file and line; with one or more, the exit code is 5.`,
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
			V     int    `json:"v"`
			Type  string `json:"type"`
			File  string `json:"file"`
			Nodes int    `json:"nodes"`
			Lists int    `json:"lists"`
		}{1, "check", f.Path, len(f.NodeNames()), len(lists)})
	}
	_, err = fmt.Fprintf(p.streams.Out, "%s: %s, %s: OK\n", ui.Line(f.Path), ui.Count(len(f.NodeNames()), "node"), ui.Count(len(lists), "list"))
	return err
}

// checkPlans plans every node's own list. A list that is no node's own must
// suit at least one node: --jobs can name it.
func (p *program) checkPlans(f *config.File, lists []string) config.Problems {
	var problems config.Problems
	var nodes []*config.Node
	own := map[string]bool{}
	for _, name := range f.NodeNames() {
		n, err := f.Node(name)
		if err != nil {
			problems = appendNew(problems, asProblems(f, err))
			continue
		}
		nodes = append(nodes, n)
		if list := n.Get("jobs"); list != "" {
			own[list] = true
			if _, err := p.planner().Plan(f, n, ""); err != nil {
				problems = appendNew(problems, asProblems(f, err))
			}
		}
		if _, err := p.target(f, n); err != nil {
			problems = appendNew(problems, asProblems(f, err))
		}
	}
	for _, list := range lists {
		if own[list] {
			continue
		}
		var first error
		for i, n := range nodes {
			_, err := p.planner().Plan(f, n, list)
			if err == nil {
				first = nil
				break
			}
			if i == 0 {
				first = err
			}
		}
		if first != nil {
			problems = appendNew(problems, asProblems(f, first))
		}
	}
	return problems
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
