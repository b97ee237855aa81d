package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"example.org/conc/config"
	"example.org/conc/nodetest"
)

// nodetestOptions are the flags of nodetest.
type nodetestOptions struct {
	suite  string
	only   []string
	levels []string
	forks  int
	retry  string
	resultOptions
	watchOptions
	sudoOptions
	goTestOptions
}

func (p *program) nodetestCmd() *cobra.Command {
	var o nodetestOptions
	cmd := &cobra.Command{
		Use:   "nodetest NODE... [./PACKAGE...]",
		Short: "Check whether a node is as it should be",
		Long: `Make the checks of each node's suite, a section [nodetest:NAME] of deploy.ini,
and say what was wanted and what was found. The checks are made by conc itself on
the node, which needs nothing installed for them; they change nothing, and no lock
is taken.

An argument that begins with ./, ../ or / is a folder with a Go package, or with
/... those below it too: its tests are built for the node's platform, brought to
a temporary directory there, run, and removed again. They are run alone; with
--suite, after that suite's checks. --only and --level choose among them as well.

The exit code is 0 when every check is OK or SKIPPED, 1 when one FAILED, 124 when
one TIMED OUT, 4 when a node cannot be reached, 6 on any other ERROR; with
--format nagios it is what Nagios wants: 0, 1, 2 or 3.

With --every the nodes are examined again and again until Ctrl-C; what is shown
after the first time is what has changed.`,
		Example: `  conc nodetest web1
  conc nodetest @web --forks 20
  conc nodetest web1 --only 'service*' --retry-timeout 30s
  conc nodetest web1 --format text,junit --output results.xml
  conc nodetest @web -f 20 --every 5m --listen 9650
  conc nodetest web1 ./smoke --sudo --level functional`,
		Args:              atLeast(1),
		ValidArgsFunction: p.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.nagiosEnd(o.resultOptions, p.nodetest(cmd.Context(), args, o))
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.suite, "suite", "", "make the checks of `SUITE` instead of the node's own")
	f.StringArrayVar(&o.only, "only", nil, "only the checks that `PATTERN` names; may be repeated")
	f.StringArrayVar(&o.levels, "level", nil, "only the checks of `LEVEL`: functional, migration, load, monitoring")
	f.IntVarP(&o.forks, "forks", "f", 1, "take `N` nodes at a time")
	f.StringVar(&o.retry, "retry-timeout", "", "try a check that is not OK again, for this `DURATION`")
	o.resultOptions.flags(f)
	o.watchOptions.flags(f)
	o.goTestOptions.flags(f)
	o.sudoOptions.flags(f)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoSpace))
	_ = cmd.RegisterFlagCompletionFunc("suite", p.completeSuites)
	_ = cmd.RegisterFlagCompletionFunc("level", cobra.FixedCompletions(nodetest.Levels, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// checks is what a program can look at on a node.
func (p *program) checks() nodetest.Catalogue { return append(nodetest.Stock(), p.app.Checks...) }

// examinee is one node's share of nodetest.
type examinee struct {
	task
	suite   nodetest.Suite
	secrets []string // that the checks and the tests stand on, by name
}

func (p *program) nodetest(ctx context.Context, patterns []string, o nodetestOptions) error {
	if o.forks < 1 {
		return usagef("--forks is at least 1")
	}
	var retry time.Duration
	if o.retry != "" {
		var err error
		if retry, err = config.ParseDuration(o.retry); err != nil {
			return usagef("--retry-timeout %s: %w", o.retry, err)
		}
	}
	out, err := o.outputs(p.flags.json)
	if err != nil {
		return err
	}
	// What may still go wrong is told as JSON, too.
	p.flags.json = out.screen == formatJSON
	every, err := o.interval(out)
	if err != nil {
		return err
	}
	patterns, tests, err := p.goTests(patterns, o)
	if err != nil {
		return err
	}
	defer tests.close()
	all, err := p.examinees(patterns, o, tests)
	if err != nil {
		return err
	}
	wanted := tests.wantsSudo()
	for _, e := range all {
		wanted = wanted || e.suite.NeedsSudo()
	}
	sudo, err := p.sudoers(ctx, o.sudoOptions, wanted, false)
	if err != nil {
		return err
	}
	x := &examination{program: p, given: o, nodes: all, sudo: sudo, options: nodetest.Options{Retry: retry}, tests: tests, out: out}
	ctx, stop := interruptible(ctx)
	defer stop()
	var code int
	if o.every == "" {
		_, code = x.round(ctx, nil)
	} else if code, err = x.watch(ctx, every); err != nil {
		return err
	}
	if code != exitOK {
		return ended{code}
	}
	return nil
}

// examinees plans every node that the patterns name. All that is wrong with any
// of them is told at once, as config.Problems.
func (p *program) examinees(patterns []string, o nodetestOptions, tests *goTests) ([]examinee, error) {
	f, err := p.load()
	if err != nil {
		return nil, err
	}
	names, err := p.names(f, patterns...)
	if err != nil {
		return nil, err
	}
	var all []examinee
	var problems config.Problems
	left := 0
	for _, name := range names {
		node, err := f.Node(name)
		if err != nil {
			problems = appendNew(problems, asProblems(f, err))
			continue
		}
		var suite nodetest.Suite
		if tests == nil || o.suite != "" {
			if suite, err = p.checks().Plan(f, node, o.suite); err != nil {
				problems = appendNew(problems, asProblems(f, err))
				continue
			}
		}
		if suite, err = suite.Only(o.only, o.levels); err != nil {
			return nil, usagef("--only: %w", err)
		}
		left += len(suite.Checks)
		t, err := p.target(f, node)
		if err != nil {
			return nil, err
		}
		secrets, err := tests.secretNames(node)
		if err != nil {
			return nil, err
		}
		all = append(all, examinee{task{node: node, target: t}, suite, append(suite.Secrets(), secrets...)})
	}
	switch {
	case len(problems) > 0:
		return nil, problems
	case left == 0 && tests == nil:
		return nil, usagef("no check is left by --only and --level")
	}
	return all, nil
}
