package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/sshconn"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// deployOptions are the flags of deploy.
type deployOptions struct {
	list     string
	message  string
	forks    int
	maxFail  int
	lockWait string
	dryRun   bool
}

func (p *program) deployCmd() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "deploy NODE...",
		Short: "Run a node's job list, step by step",
		Long: `Run the job list of each node, step by step, and stop at the first step that is
not OK. A node is a name, a glob such as "web*", or a group as @GROUP; several
nodes are taken one after the other unless --forks says otherwise.

The whole of deploy.ini and each node's plan are checked before anything is
connected to. The bundle directory on the node is the lock: while it is there,
every other deploy of the node is BLOCKED. It stays there when a step is not OK.

Ctrl-C once stops after the running step; twice ends that step; three times
leaves at once.`,
		Example: `  conc deploy web1
  conc deploy @web --forks 4 -m "release 1.4.2"
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
	f.StringVar(&o.lockWait, "lock-wait", "", "wait this `DURATION` for a bundle that is held: 30m")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "show the plan and connect to nothing")
	_ = cmd.RegisterFlagCompletionFunc("jobs", p.completeLists)
	return cmd
}

// task is one node's share of a deploy, planned.
type task struct {
	node   *config.Node
	plan   *jobs.Plan
	target sshconn.Target
}

// maxMessage bounds, in bytes, what is kept with the lock and shown to others.
const maxMessage = 4 << 10

func (p *program) deploy(ctx context.Context, patterns []string, o deployOptions) error {
	if o.forks < 1 || o.maxFail < 0 {
		return usagef("--forks is at least 1, and --max-fail at least 0")
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
	if o.dryRun {
		for _, t := range tasks {
			if err := p.showPlan(t.plan, planOptions{}); err != nil {
				return err
			}
		}
		return nil
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
	names, err := f.Select(patterns...)
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
		tasks[i] = task{plan.Node, plan, t}
	}
	return f, tasks, nil
}

// runOptions say how tasks are run.
type runOptions struct {
	deployOptions
	command  string
	lockWait time.Duration
}

// run takes the nodes through their plans and reports how that ended.
func (p *program) run(ctx context.Context, f *config.File, tasks []task, o runOptions) error {
	id := ulid.Make().String()
	logPath := filepath.Join(p.runDir(id), "log.jsonl")
	logFile, err := createLog(logPath)
	if err != nil {
		return fmt.Errorf("the log of this run cannot be kept: %w", err)
	}
	defer logFile.Close() //nolint:errcheck // a log that cannot be closed changes nothing for the run

	ctx, interrupt, release := p.signals(ctx)
	defer release()
	w := &wave{
		program: p, file: f, id: id, options: o, interrupt: interrupt,
		secrets: p.secrets(), log: zerolog.New(logFile), show: p.ui().Show, keep: ui.Log(logFile),
	}
	names := make([]string, len(tasks))
	for i, t := range tasks {
		names[i] = t.node.Name()
	}
	w.emit(runner.Event{Type: runner.RunStart, Command: o.command, Nodes: names, Version: Version})
	outcomes := w.all(ctx, tasks)
	codes := make([]int, len(outcomes))
	counts := map[jobs.Status]int{}
	for i, out := range outcomes {
		codes[i] = outcomeCode(out, interrupt)
		counts[out.Status]++
	}
	code := worst(codes)
	w.emit(runner.Event{Type: runner.RunEnd, Code: code, Counts: counts, Log: logPath})
	if code == exitOK {
		return nil
	}
	return ended{code}
}

func createLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

// outcomeCode gives one node's exit code.
func outcomeCode(o *runner.Outcome, i *runner.Interrupt) int {
	switch {
	case i.Raised() && (o.Status == jobs.Stopped || o.Status == notStarted):
		return exitInterrupted
	case o.Status == notStarted: // because of another, whose code counts
		return exitOK
	case o.Err != nil && o.Status != jobs.Blocked && o.Status != jobs.Stopped:
		return exitCode(o.Err)
	}
	return statusCode(o.Status)
}

// wave is one run over its nodes.
type wave struct {
	*program
	file      *config.File
	id        string
	options   runOptions
	interrupt *runner.Interrupt
	secrets   *secrets
	log       zerolog.Logger
	mu        sync.Mutex // held while an event is told
	show      runner.Sink
	keep      runner.Sink
}

func (w *wave) emit(e runner.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Time.IsZero() {
		e.Time, e.Run = time.Now(), w.id
	}
	if e.Type == runner.NodeEnd {
		e.Outcome.Code = outcomeCode(e.Outcome, w.interrupt)
	}
	w.keep(e)
	w.show(e)
}

// notStarted is the status of a node whose turn never came.
const notStarted jobs.Status = ""

// all takes the nodes in order, options.forks at a time, and gives their
// outcomes in that order.
func (w *wave) all(ctx context.Context, tasks []task) []*runner.Outcome {
	outcomes := make([]*runner.Outcome, len(tasks))
	places := make(chan struct{}, w.options.forks)
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		bad   int
	)
	for i, t := range tasks {
		places <- struct{}{}
		mu.Lock()
		enough := w.options.maxFail > 0 && bad >= w.options.maxFail
		mu.Unlock()
		if enough || w.interrupt.Raised() || ctx.Err() != nil {
			why := "interrupted"
			if enough {
				why = fmt.Sprintf("--max-fail %d reached", w.options.maxFail)
			}
			outcomes[i] = &runner.Outcome{Node: t.node.Name(), Status: notStarted, NotStarted: len(t.plan.Steps), Note: why}
			w.emit(runner.Event{Type: runner.NodeEnd, Time: time.Now(), Run: w.id, Node: t.node.Name(), Plan: t.plan, Outcome: outcomes[i], Text: why})
			<-places
			continue
		}
		group.Go(func() {
			defer func() { <-places }()
			out := w.one(ctx, t)
			outcomes[i] = out
			if out.Status != jobs.OK {
				mu.Lock()
				bad++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return outcomes
}

// one takes one node through its plan.
func (w *wave) one(ctx context.Context, t task) *runner.Outcome {
	owner := bundle.Owner{
		V: 1, Run: w.id, User: w.env.User, Host: w.env.Hostname, Since: w.env.Now().UTC(),
		Node: t.node.Name(), List: t.plan.List, Message: w.options.message,
		Version: Version, Release: t.node.Get("version"),
	}
	lookup := func(name string) (string, error) { return w.secrets.lookup(ctx, name) }
	dir, err := filepath.Abs(filepath.Dir(w.file.Path))
	if err != nil {
		dir = w.env.Home
	}
	r := &runner.Runner{
		Run: w.id, Plan: t.plan, Target: t.target.String(), SSH: typedSSH(t.target), Bundle: t.node.Get("bundle"),
		Env: jobs.Env{
			Node: t.node, Host: jobs.Local, Home: w.env.Home, Dir: dir, Bundle: w.localBundle(t),
			Owner: owner, Log: w.log, Secret: lookup, Ask: w.hold(ctx), SSH: t.target.SSHArgs(),
		},
		Sink: w.emit, Interrupt: w.interrupt, LockWait: w.options.lockWait,
	}
	r.Connect = func(ctx context.Context) (runner.Remote, error) {
		if err := w.secrets.need(ctx, t.plan, r.From, r.To); err != nil {
			return nil, err
		}
		l, err := w.connect(ctx, t.target, t.node, agent.Options{
			Plan: t.plan, Owner: owner, Secret: lookup, Log: w.log,
			Uploading: func(done, total int64) {
				w.emit(runner.Event{Type: runner.Progress, Time: time.Now(), Run: w.id, Node: t.node.Name(), Local: true, Done: done, Total: total})
			},
		})
		if err != nil {
			return nil, err
		}
		if err := refuseSudo(t.plan.Steps[r.From-1:r.To], os.Geteuid(), l.Hello().UID); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		return l, nil
	}
	journal, err := runner.CreateJournal(filepath.Join(w.runDir(w.id), t.node.Name()+".journal"), w.id, t.plan.Digest)
	if err != nil {
		return r.Refuse(fmt.Errorf("the journal cannot be kept: %w", err))
	}
	defer journal.Close() //nolint:errcheck // every record in it is on disk already
	r.Journal = journal
	return r.Do(ctx)
}

// refuseSudo says before the lock is taken which step cannot be run: conc does
// not call sudo, so a step with that modifier needs an account that is root.
func refuseSudo(steps []jobs.Step, here, there int) error {
	for _, s := range steps {
		uid := there
		if s.Host == jobs.Local {
			uid = here
		}
		if s.Sudo && uid != 0 {
			return jobs.Errorf("step %d %s: sudo, and the account on the %s side is not root", s.N, s.Name, s.Host).
				WithHint("this version of conc does not call sudo itself: log in as root for this list, or take the step out and do it by hand")
		}
	}
	return nil
}

// typedSSH is what a person types to get to the same place. The options that
// only make conc's own use of ssh stricter are left out.
func typedSSH(t sshconn.Target) []string {
	var args []string
	all := t.SSHArgs()
	for i := 0; i < len(all); i++ {
		if all[i] == "-o" && i+1 < len(all) && (all[i+1] == "IdentitiesOnly=yes" || all[i+1] == "StrictHostKeyChecking=yes") {
			i++
			continue
		}
		args = append(args, all[i])
	}
	return args
}

// localBundle is the bundle's other half, on this workstation: one for each
// place that a bundle is opened at, whatever deploy.ini calls the node.
func (p *program) localBundle(t task) string {
	place := sha256.Sum256([]byte(t.target.String() + " " + t.node.Get("bundle")))
	return filepath.Join(p.env.StateDir, "bundles", t.node.Name()+"-"+hex.EncodeToString(place[:4]))
}
