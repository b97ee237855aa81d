package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// catalogue is every op that a line of deploy.ini can name.
func (p *program) catalogue() jobs.Catalogue { return append(jobs.Stock(), p.app.Ops...) }

// opJSON is an op for programs.
type opJSON struct {
	V       int    `json:"v"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Args    string `json:"args"`
	Summary string `json:"summary"`
	Help    string `json:"help"`
	Example string `json:"example"`
}

func (p *program) opsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "ops [NAME]",
		Short: "List the ops that a job can name, or explain one",
		Long: `List the ops that a line of a [jobs:NAME] section can name, or explain one: its
arguments, what it does on each host, and when it is BLOCKED or FAILED.`,
		Example: `  conc ops
  conc ops pip_install`,
		Args: between(0, 1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []string
			if len(args) == 0 {
				for _, e := range p.catalogue() {
					names = append(names, cobra.CompletionWithDesc(e.Name, e.Summary))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			entries := p.catalogue()
			if len(args) == 1 {
				e, ok := entries.Lookup(args[0])
				if !ok {
					return usageError{err: fmt.Errorf("there is no op %q", args[0]), hint: "see " + p.name() + " ops"}
				}
				if !p.flags.json {
					return p.showOp(e)
				}
				entries = jobs.Catalogue{e}
			}
			if p.flags.json {
				for _, e := range entries {
					if err := p.printJSON(opJSON{1, "op", e.Name, e.Args, e.Summary, e.Help, e.Example}); err != nil {
						return err
					}
				}
				return nil
			}
			rows := make([][]string, len(entries))
			for i, e := range entries {
				rows[i] = []string{e.Name, e.Summary}
			}
			_, err := fmt.Fprintf(p.streams.Out, "%s\nOne of them: %s ops NAME\n", ui.Table(rows), p.name())
			return err
		},
	}
}

func (p *program) showOp(e jobs.Entry) error {
	text := strings.TrimSpace(e.Name+" "+e.Args) + "\n    " + e.Summary + "\n"
	if e.Help != "" {
		text += "\n" + strings.Join(ui.Wrap(e.Help, 80), "\n") + "\n"
	}
	if e.Example != "" {
		text += "\nExample, in a [jobs:NAME] section:\n    " + e.Name + " = " + e.Example + "\n"
	}
	_, err := fmt.Fprint(p.streams.Out, ui.Escape(text))
	return err
}
