package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// nodetestOptions are the flags of nodetest.
type nodetestOptions struct {
	suite  string
	only   []string
	levels []string
	forks  int
	retry  string
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

The exit code is 0 when every check is OK or SKIPPED, 1 when one FAILED.`,
		Example: `  conc nodetest web1
  conc nodetest @web --forks 20
  conc nodetest web1 --only 'service*' --retry-timeout 30s
  conc nodetest web1 ./smoke --sudo --level functional`,
		Args:              atLeast(1),
		ValidArgsFunction: p.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.nodetest(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.suite, "suite", "", "make the checks of `SUITE` instead of the node's own")
	f.StringArrayVar(&o.only, "only", nil, "only the checks that `PATTERN` names; may be repeated")
	f.StringArrayVar(&o.levels, "level", nil, "only the checks of `LEVEL`: functional, migration, load, monitoring")
	f.IntVarP(&o.forks, "forks", "f", 1, "take `N` nodes at a time")
	f.StringVar(&o.retry, "retry-timeout", "", "try a check that is not OK again, for this `DURATION`")
	o.goTestOptions.flags(f)
	o.sudoOptions.flags(f)
	_ = cmd.RegisterFlagCompletionFunc("suite", p.completeSuites)
	_ = cmd.RegisterFlagCompletionFunc("level", cobra.FixedCompletions(nodetest.Levels, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// checks is what a program can look at on a node.
func (p *program) checks() nodetest.Catalogue { return nodetest.Stock() }

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
	ctx, stop := interruptible(ctx)
	defer stop()
	x := &examination{program: p, sudo: sudo, run: ulid.Make().String(), options: nodetest.Options{Retry: retry}, tests: tests}
	reports := x.all(ctx, all, o.forks)
	codes := make([]int, len(reports))
	for i, r := range reports {
		codes[i] = reportCode(ctx, r)
	}
	if code := worst(codes); code != exitOK {
		return ended{code}
	}
	return nil
}

// reportCode gives one node's exit code.
func reportCode(ctx context.Context, r nodetest.Report) int {
	switch {
	case ctx.Err() != nil && r.Status() != jobs.OK:
		return exitInterrupted
	case r.Err != nil:
		return exitCode(r.Err)
	}
	return statusCode(r.Status())
}

// examinees plans every node that the patterns name. All that is wrong with any
// of them is told at once, as config.Problems.
func (p *program) examinees(patterns []string, o nodetestOptions, tests *goTests) ([]examinee, error) {
	f, err := p.load()
	if err != nil {
		return nil, err
	}
	names, err := f.Select(patterns...)
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

// examination is one run of nodetest over its nodes.
type examination struct {
	*program
	sudo    *sudoers
	run     string
	options nodetest.Options
	tests   *goTests   // nil: none
	mu      sync.Mutex // held while a node's results are written
}

// all examines the nodes, forks at a time, and gives their reports in order. A
// single one is shown as it goes, several are each shown when they are done.
func (x *examination) all(ctx context.Context, all []examinee, forks int) []nodetest.Report {
	reports := make([]nodetest.Report, len(all))
	places := make(chan struct{}, forks)
	var group sync.WaitGroup
	for i, e := range all {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			reports[i] = x.one(ctx, e, forks == 1)
		})
	}
	group.Wait()
	return reports
}

// one examines a node.
func (x *examination) one(ctx context.Context, e examinee, live bool) nodetest.Report {
	r := nodetest.Report{Node: e.node.Name(), Target: e.target.String(), Suite: e.suite.Name, Begun: x.env.Now()}
	text := &ui.Tests{Out: x.streams.Out, Color: x.color(x.streams.Out), Quiet: x.flags.quiet, Verbose: x.flags.verbose}
	if live {
		text.Begin(r.Node, r.Target, x.content(e))
	}
	r.Err = x.ask(ctx, e, func(res nodetest.Result) {
		r.Results = append(r.Results, res)
		if live {
			text.Result(res)
		}
	})
	r.Took = x.env.Now().Sub(r.Begun)
	x.mu.Lock()
	defer x.mu.Unlock()
	if !live {
		text.Begin(r.Node, r.Target, x.content(e))
		for _, res := range r.Results {
			text.Result(res)
		}
	}
	text.End(r, hintOf(r.Err))
	return r
}

// ask has a node make the checks.
func (x *examination) ask(ctx context.Context, e examinee, report func(nodetest.Result)) error {
	lookup := func(name string) (string, error) { return x.sudo.secrets.lookup(ctx, name) }
	l, err := x.connect(ctx, e.target, e.node, agent.Options{
		Owner:  bundle.Owner{V: 1, Run: x.run, User: x.env.User, Host: x.env.Hostname, Node: e.node.Name()},
		Secret: lookup, Secrets: e.secrets, Log: zerolog.New(io.Discard),
	})
	if err != nil {
		return err
	}
	n := len(e.suite.Checks) // numbers go on after them
	err = x.sudo.elevate(ctx, l.Client, e.task, e.suite.NeedsSudo() || x.tests.wantsSudo())
	if err == nil {
		err = e.suite.RunOn(ctx, l.Client, x.options, report)
	}
	if err == nil && x.tests != nil {
		err = x.tests.on(ctx, l.Client, func(r nodetest.Result) {
			n++
			r.N = n
			report(r)
		})
	}
	if gone := l.Err(); gone != nil && err != nil {
		err = fmt.Errorf("%s: %w", e.node.Name(), gone)
	}
	return errors.Join(err, l.Close())
}

// content says what a node is examined by.
func (x *examination) content(e examinee) string {
	checks := ui.Count(len(e.suite.Checks), "check")
	switch {
	case x.tests == nil:
		return checks
	case len(e.suite.Checks) == 0:
		return "Go tests of " + strings.Join(x.tests.dirs, " ")
	}
	return checks + ", and Go tests of " + strings.Join(x.tests.dirs, " ")
}
