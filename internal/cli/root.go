package cli

import (
	"context"
	"fmt"
	"runtime/debug"

	"al.essio.dev/pkg/shellescape"
	"github.com/spf13/cobra"
)

// globals are the flags that every command has.
type globals struct {
	config  string
	set     []string
	verbose bool
	quiet   bool
	json    bool
	color   string
}

// defaultFile is the deploy.ini of the current directory.
const defaultFile = "deploy.ini"

// again gives the global flags that a command proposed to the user needs, in
// order to mean the same file and values as this one.
func (g globals) again() []string {
	var args []string
	if g.config != defaultFile {
		args = append(args, "-c", g.config)
	}
	for _, s := range g.set {
		args = append(args, "--set", s)
	}
	return args
}

// Root gives the command tree, for those who document it.
func Root(app App) *cobra.Command { return (&program{app: app}).root() }

// root makes the command tree. The order is the one of the help.
func (p *program) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   p.name(),
		Short: "change on command: an ordered list of steps on your workstation and a node",
		Long: `conc performs a change on command: an ordered list of operations, some on your
workstation, some on a node, that takes one application from one working
configuration to the next. You see every step, may stop at any of them, work by
hand on the node, and go on from there.

Everything about a deploy is in one file, deploy.ini: see "` + p.name() + ` init".`,
		Args:              groupArgs,
		RunE:              group,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err: err} })
	f := cmd.PersistentFlags()
	f.SortFlags = false
	f.StringVarP(&p.flags.config, "config", "c", defaultFile, "the `FILE` that defines the deploy")
	f.StringArrayVar(&p.flags.set, "set", nil, "set an attribute of every node, as `KEY=VALUE`; wins over the file")
	f.BoolVarP(&p.flags.verbose, "verbose", "v", false, "show more: live output of the steps")
	f.BoolVarP(&p.flags.quiet, "quiet", "q", false, "show problems and the end only")
	f.BoolVar(&p.flags.json, "json", false, "write JSON for programs to read")
	f.StringVar(&p.flags.color, "color", "auto", "decorate the terminal: auto, always or never (`WHEN`)")
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	for _, c := range p.commands() {
		cmd.AddCommand(c)
	}
	return cmd
}

// commands are all there are, in the order of the help.
func (p *program) commands() []*cobra.Command {
	return []*cobra.Command{
		p.initCmd(),
		p.configCmd(),
		p.nodesCmd(),
		p.planCmd(),
		p.opsCmd(),
		p.deployCmd(),
		p.unlockCmd(),
		p.versionCmd(),
		p.completionCmd(),
		p.agentCmd(),
	}
}

// main runs one command line. Nothing that goes wrong in it leaves as a panic.
func (p *program) main(ctx context.Context, args []string) (code int) {
	defer func() {
		if p.sink != nil {
			p.sink.Close()
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			if p.env.Getenv("CONC_DEBUG") == "1" {
				fmt.Fprintf(p.streams.Err, "%s\n", debug.Stack())
			}
			code = p.report(args, panicError{r})
		}
	}()
	cmd := p.root()
	cmd.SetArgs(args)
	cmd.SetIn(p.streams.In)
	cmd.SetOut(p.streams.Out)
	cmd.SetErr(p.streams.Err)
	return p.report(args, cmd.ExecuteContext(ctx))
}

// group is what a command does that is only a name for others.
func group(cmd *cobra.Command, _ []string) error {
	return usageError{err: fmt.Errorf("%s needs a command", cmd.CommandPath()),
		hint: "see " + cmd.CommandPath() + " --help"}
}

// groupArgs refuses a misspelt command of a group, with the near ones.
func groupArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see " + cmd.CommandPath() + " --help"
	if cmd.SuggestionsMinimumDistance == 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + cmd.CommandPath() + " " + near[0] + "?"
	}
	return usageError{err: fmt.Errorf("%s has no command %q", cmd.CommandPath(), args[0]), hint: hint}
}

// quote writes an argv as a line for a POSIX shell.
func quote(args ...string) string { return shellescape.QuoteCommand(args) }
