package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"example.org/conc/config"
	"example.org/conc/internal/sshconn"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// deployOptions are the flags of deploy.
type deployOptions struct {
	list     string
	message  string
	forks    int
	maxFail  int
	canary   int  // how many nodes come first, before somebody says that the others may follow
	lockAll  bool // before any step beyond a lock
	yes      bool // the others follow the canaries
	lockWait string
	dryRun   bool
	to       string // a step of each plan
	each     bool   // ask before each step
	test     bool   // make the checks of the node's suite, too
	sudoOptions
}

func (p *program) deployCmd() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "deploy NODE...",
		Short: "Run a node's job list, step by step",
		Long: `Run the job list of each node, step by step, and stop at the first step that is
not OK. A node is a name, a glob such as "web*", or a group as @GROUP; @all is
every node, and @failed those that were not OK in the last run from this
workstation. Several nodes are taken one after the other unless --forks says
otherwise.

--canary N takes the first N nodes first. When all of them are OK, conc asks
before it goes on with the others: Enter goes on, q stops. Without a terminal it
stops there, unless --yes. --lock-all takes every node's lock, in the order of
the names, before any step beyond it, or none: when one is held, or a node
cannot be reached, those that were taken are given back, and nothing was
changed.

The whole of deploy.ini and each node's plan are checked before anything is
connected to. The bundle directory on the node is the lock: while it is there,
every other deploy of the node is BLOCKED. It stays there when a step is not OK.

Ctrl-C once stops after the running step; twice ends that step; three times
leaves at once.

--to halts on purpose after a step, a number or a name in each node's list. The
exit code is 0 when all steps up to it are OK; the bundle stays open, and "step"
goes on from there. --step asks before each step: Enter runs it, b shows what a
person would type for it, q stops before it.

--test makes the checks of the node's suite before the first step, and once more
after the last. What is not OK before is known, and no fault of this run; what
is not OK only after it ends the run, as a failed step would.`,
		Example: `  conc deploy web1
  conc deploy web1 --to migrate
  conc deploy @web --forks 4 -m "release 1.4.2"
  conc deploy @web --canary 1 --forks 10
  conc deploy @failed
  conc deploy web1 --test
  conc deploy web1 --set version=1.4.3 --dry-run`,
		Args:              atLeast(1),
		ValidArgsFunction: p.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.deploy(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.list, "jobs", "", "run this `LIST` instead of the node's own")
	f.StringVarP(&o.message, "message", "m", "", "a `TEXT` kept with the lock, for whoever finds it held")
	f.IntVarP(&o.forks, "forks", "f", 1, "take `N` nodes at a time")
	f.IntVar(&o.maxFail, "max-fail", 1, "start no further node once `N` nodes are not OK; 0 is no limit")
	f.IntVar(&o.canary, "canary", 0, "take the first `N` nodes first, and ask before the others")
	f.BoolVar(&o.lockAll, "lock-all", false, "take every node's lock before any other step, or none")
	f.StringVar(&o.lockWait, "lock-wait", "", "wait this `DURATION` for a bundle that is held: 30m")
	f.StringVar(&o.to, "to", "", "halt on purpose after `STEP`, a number or a name")
	f.BoolVar(&o.each, "step", false, "ask before each step")
	f.BoolVar(&o.test, "test", false, "make the node's checks before the first step and after the last")
	f.BoolVarP(&o.yes, "yes", "y", false, "go on after the canaries without being asked")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "show the plan and connect to nothing")
	o.sudoOptions.flags(f)
	o.localFlag(f)
	_ = cmd.RegisterFlagCompletionFunc("jobs", p.completeLists)
	return cmd
}

// task is one node's share of a deploy, planned.
type task struct {
	node   *config.Node
	plan   *jobs.Plan
	target sshconn.Target
	from   int             // the first step; 0: that of the list
	to     int             // the step to halt after; 0: the last
	lock   int             // the step that takes the lock on the node, where all are taken first
	suite  *nodetest.Suite // of the checks that go with the run; nil: none do
	run    string          // its id
	resume *look           // the run that is gone on with; nil: a new one
	no     error           // why it cannot be gone on with; nil: it can
}

// maxMessage bounds, in bytes, what is kept with the lock and shown to others.
const maxMessage = 4 << 10

func (p *program) deploy(ctx context.Context, patterns []string, o deployOptions) error {
	if o.forks < 1 || o.maxFail < 0 || o.canary < 0 {
		return usagef("--forks is at least 1, --max-fail and --canary at least 0")
	}
	if len(o.message) > maxMessage {
		return usagef("--message: %d bytes are over the limit of %d", len(o.message), maxMessage)
	}
	var lockWait time.Duration
	if o.lockWait != "" {
		var err error
		if lockWait, err = config.ParseDuration(o.lockWait); err != nil {
			return usagef("--lock-wait %s: %w", o.lockWait, err)
		}
	}
	f, tasks, err := p.tasks(patterns, o.list)
	if err != nil {
		return err
	}
	for i := range tasks {
		if _, tasks[i].to, err = stepRange(tasks[i].plan, "", o.to); err != nil {
			return err
		}
	}
	if o.lockAll {
		if err := lockSteps(tasks); err != nil {
			return err
		}
	}
	if o.test {
		if err := p.withSuites(f, tasks); err != nil {
			return err
		}
	}
	if o.dryRun {
		for _, t := range tasks {
			if err := p.showPlan(f, t.plan, planOptions{}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := p.canAsk(o.each); err != nil {
		return err
	}
	return p.run(ctx, f, tasks, runOptions{deployOptions: o, command: "deploy", lockWait: lockWait})
}

// tasks plans every node that the patterns name. All that is wrong with any of
// them is told at once, as config.Problems.
func (p *program) tasks(patterns []string, list string) (*config.File, []task, error) {
	f, err := p.read()
	if err != nil {
		return nil, nil, err
	}
	names, err := p.names(f, patterns...)
	if err != nil {
		return nil, nil, err
	}
	plans, problems := p.planAll(f, names, list)
	if len(problems) > 0 {
		return nil, nil, problems
	}
	p.warnings(f)
	tasks := make([]task, len(plans))
	for i, plan := range plans {
		t, err := p.target(f, plan.Node)
		if err != nil {
			return nil, nil, err
		}
		tasks[i] = task{node: plan.Node, plan: plan, target: t}
	}
	return f, tasks, nil
}

// runOptions say how tasks are run.
type runOptions struct {
	deployOptions
	command  string
	lockWait time.Duration
}
