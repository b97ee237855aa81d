package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// catalogue is every op that a line of deploy.ini can name.
func (p *program) catalogue() jobs.Catalogue {
	return append(append(jobs.Stock(), p.checks().Op()), p.app.Ops...)
}

// word is an op or a check, as `conc ops` tells of it. For programs it is JSON.
type word struct {
	V       int    `json:"v"`
	Type    string `json:"type"` // "op" or "check"
	Name    string `json:"name"`
	Args    string `json:"args"`
	Summary string `json:"summary"`
	Help    string `json:"help"`
	Example string `json:"example"`
}

// words are the ops, and then the checks, in the order of their catalogues.
func (p *program) words() []word {
	var all []word
	for _, e := range p.catalogue() {
		all = append(all, word{1, "op", e.Name, e.Args, e.Summary, e.Help, e.Example})
	}
	for _, e := range p.checks() {
		all = append(all, word{1, "check", e.Name, e.Args, e.Summary, e.Help, e.Example})
	}
	return all
}

// section is where a line that names it stands.
func (w word) section() string {
	if w.Type == "check" {
		return "[nodetest:NAME]"
	}
	return "[jobs:NAME]"
}

func (p *program) opsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "ops [NAME]",
		Short: "List the ops and checks of deploy.ini, or explain one",
		Long: `List the ops that a line of a [jobs:NAME] section can name, and the checks that a
line of a [nodetest:NAME] section can; or explain one: its arguments, what it does,
and how it can end. A name that is both is explained as both.`,
		Example: `  conc ops
  conc ops pip_install
  conc ops http`,
		Args: between(0, 1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []string
			seen := map[string]bool{}
			if len(args) == 0 {
				for _, w := range p.words() {
					if !seen[w.Name] {
						names = append(names, cobra.CompletionWithDesc(w.Name, w.Summary))
					}
					seen[w.Name] = true
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			words := p.words()
			if len(args) == 1 {
				var named []word
				for _, w := range words {
					if w.Name == args[0] {
						named = append(named, w)
					}
				}
				if len(named) == 0 {
					return usageError{err: fmt.Errorf("there is no op %q, nor a check of that name", args[0]), hint: "see " + p.name() + " ops"}
				}
				words = named
			}
			switch {
			case p.flags.json:
				for _, w := range words {
					if err := p.printJSON(w); err != nil {
						return err
					}
				}
				return nil
			case len(args) == 1:
				return p.explain(words)
			}
			return p.listWords(words)
		},
	}
}

func (p *program) listWords(words []word) error {
	rows := map[string][][]string{} // by type
	for _, w := range words {
		rows[w.Type] = append(rows[w.Type], []string{w.Name, w.Summary})
	}
	_, err := fmt.Fprintf(p.streams.Out, `Ops, for a line of a [jobs:NAME] section:

%s
Checks, for a line of a [nodetest:NAME] section:

%s
One of them: %s ops NAME
`, ui.Table(rows["op"]), ui.Table(rows["check"]), p.name())
	return err
}

func (p *program) explain(words []word) error {
	var texts []string
	for _, w := range words {
		lines := ui.Wrap(w.Name+" "+w.Args, 72)
		text := strings.TrimSpace(strings.Join(lines, "\n        ")) + "\n    " + w.Summary + "\n"
		if len(words) > 1 {
			text = "As " + map[string]string{"op": "an op", "check": "a check"}[w.Type] + ":\n\n" + text
		}
		if w.Help != "" {
			text += "\n" + strings.Join(ui.Wrap(w.Help, 80), "\n") + "\n"
		}
		if w.Example != "" {
			text += "\nExample, in a " + w.section() + " section:\n    " + w.Name + " = " + w.Example + "\n"
		}
		texts = append(texts, text)
	}
	_, err := fmt.Fprint(p.streams.Out, ui.Escape(strings.Join(texts, "\n\n")))
	return err
}
