package cli

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func (p *program) completionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Write a completion script for bash, zsh, fish or powershell",
		Long: `Write a script that makes the shell complete commands, flags, the names of
nodes, groups, job lists and suites. Names are read from deploy.ini; nothing is
connected to.

The script for bash needs nothing but bash. For every new shell, put the line
of the example into ~/.bashrc.`,
		Example: `  source <(conc completion bash)
  conc completion zsh > "${fpath[1]}/_conc"
  conc completion fish > ~/.config/fish/completions/conc.fish`,
		Args:              exactly(1),
		ValidArgsFunction: cobra.FixedCompletions(shells, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), p.streams.Out
			switch args[0] {
			case "bash":
				_, err := io.WriteString(out, bashCompletion(p.name()))
				return err
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return usageError{err: fmt.Errorf("no completion for %q", args[0]), hint: "usage: " + cmd.UseLine() + " (bash, zsh, fish or powershell)"}
		},
	}
}

// completeNodes offers the nodes and groups of deploy.ini that are not on the
// line yet. A file with problems offers nothing.
func (p *program) completeNodes(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	f, err := p.read()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := append(f.NodeNames(), "@all", failedNodes)
	for _, g := range f.GroupNames() {
		names = append(names, "@"+g)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeNode is completeNodes for a command that takes n nodes.
func (p *program) completeNode(n int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.completeNodes(cmd, args, word)
	}
}

// completeLists offers the job lists of deploy.ini and of the program.
func (p *program) completeLists(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []string
	if f, err := p.read(); err == nil {
		names = f.ListNames()
	}
	for name := range p.app.Lists {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeSuites offers the suites of checks of deploy.ini.
func (p *program) completeSuites(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	f, err := p.read()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return f.SuiteNames(), cobra.ShellCompDirectiveNoFileComp
}
