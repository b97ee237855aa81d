package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"al.essio.dev/pkg/shellescape"
	"github.com/spf13/cobra"

	"example.org/conc/internal/rehearsal"
)

// globals are the flags that every command has.
type globals struct {
	config  string
	set     []string
	verbose bool
	quiet   bool
	json    bool
	color   when
}

// when is the value of --color.
type when string

func (w *when) String() string { return string(*w) }
func (w *when) Type() string   { return "WHEN" }
func (w *when) Set(s string) error {
	if !slices.Contains(whens, s) {
		return errors.New("it is auto, always or never")
	}
	*w = when(s)
	return nil
}

var whens = []string{"auto", "always", "never"}

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
	cmd.SetFlagErrorFunc(flagError)
	f := cmd.PersistentFlags()
	f.SortFlags = false
	f.StringVarP(&p.flags.config, "config", "c", defaultFile, "the `FILE` that defines the deploy")
	f.StringArrayVar(&p.flags.set, "set", nil, "set an attribute of every node, as `KEY=VALUE`; wins over the file")
	f.BoolVarP(&p.flags.verbose, "verbose", "v", false, "show more: live output of the steps")
	f.BoolVarP(&p.flags.quiet, "quiet", "q", false, "show problems and the end only")
	f.BoolVar(&p.flags.json, "json", false, "write JSON for programs to read")
	p.flags.color = "auto"
	f.Var(&p.flags.color, "color", "decorate the terminal: auto, always or never")
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(whens, cobra.ShellCompDirectiveNoFileComp))
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	cmd.SetHelpCommand(helpCmd())
	for _, g := range p.commands() {
		cmd.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, c := range g.commands {
			c.GroupID = g.title
			cmd.AddCommand(c)
		}
	}
	cmd.SetHelpCommandGroupID(groupProgram)
	cmd.AddCommand(p.agentCmd())
	return cmd
}

// commandGroup is some of the commands, under one title in the help.
type commandGroup struct {
	title    string
	commands []*cobra.Command
}

const groupProgram = "The program itself"

// commands are all there are, but the hidden one.
func (p *program) commands() []commandGroup {
	return []commandGroup{
		{"Begin", []*cobra.Command{
			p.initCmd(),
			p.demoCmd(),
			p.trustCmd(),
		}},
		{"Look, without connecting", []*cobra.Command{
			p.configCmd(),
			p.nodesCmd(),
			p.secretCmd(),
			p.planCmd(),
			p.opsCmd(),
			p.rehearseCmd(),
		}},
		{"Change", []*cobra.Command{
			p.deployCmd(),
			p.stepCmd(),
			p.nodetestCmd(),
			p.statusCmd(),
			p.historyCmd(),
			p.shellCmd(),
			p.mountCmd(),
			p.markCmd(),
			p.unlockCmd(),
		}},
		{groupProgram, []*cobra.Command{
			p.versionCmd(),
			p.buildAgentCmd(),
			p.completionCmd(),
		}},
	}
}

// helpCmd is cobra's own, but for a command that is not there: that is an error.
func helpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			at, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range at.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if about == nil || err != nil || len(rest) > 0 {
				if about == nil {
					about = cmd.Root()
				}
				if len(rest) == 0 {
					rest = args
				}
				return groupArgs(about, rest)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// main runs one command line. Nothing that goes wrong in it leaves as a panic.
func (p *program) main(ctx context.Context, args []string) (code int) {
	defer func() {
		if p.sink != nil {
			p.sink.Close()
			p.flush()
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
	defer p.pool.Close()
	var err error
	if p.rehearsal, err = rehearsal.FromEnvironment(p.env.Getenv); err != nil {
		return p.report(args, err)
	}
	if asAgent(args) { // for which the other commands need not be made
		return p.report(args, p.serve(ctx))
	}
	cmd := p.root()
	cmd.SetArgs(args)
	cmd.SetIn(p.streams.In)
	cmd.SetOut(p.streams.Out)
	cmd.SetErr(p.streams.Err)
	return p.report(args, cmd.ExecuteContext(ctx))
}

// group is what a command does that is only a name for others.
func group(cmd *cobra.Command, _ []string) error {
	return usageError{
		err:  fmt.Errorf("%s needs a command", cmd.CommandPath()),
		hint: "see " + cmd.CommandPath() + " --help",
	}
}

// flagError makes a usage error of a flag that cannot be read. Where the command
// itself is misspelt, its flags are nobody's, and the command is what is told.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() {
		if err := groupArgs(cmd, cmd.Flags().Args()); err != nil {
			return err
		}
	}
	if text, _, number := strings.Cut(err.Error(), ": strconv."); number {
		err = errors.New(text + ": it is a whole number")
	}
	return usageError{err: err, hint: "see " + cmd.CommandPath() + " --help"}
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
