package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/rs/zerolog"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/sshconn"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// run takes the nodes through their plans and reports how that ended.
func (p *program) run(ctx context.Context, f *config.File, tasks []task, o runOptions) error {
	there, here := o.wanted(tasks)
	sudo, err := p.sudoers(ctx, o.sudoOptions, there, here)
	if err != nil {
		return err
	}
	ids := runsOf(tasks)
	id := ids[0]
	logs, err := p.openLogs(ids)
	if err != nil {
		return err
	}
	defer logs.close() //nolint:errcheck // a log that cannot be closed changes nothing for the run

	show := p.ui().Show // before a signal's words need the screen
	ctx, interrupt, release := p.signals(ctx)
	defer release()
	w := &wave{
		program: p, file: f, id: id, options: o, interrupt: interrupt,
		secrets: sudo.secrets, sudo: sudo, index: bundle.OpenIndex(filepath.Join(p.env.StateDir, "files.index")),
		log: zerolog.New(logs.files[0]), show: show, keep: logs.keep, nodes: len(tasks),
	}
	names := make([]string, len(tasks))
	for i, t := range tasks {
		names[i] = t.node.Name()
	}
	if w.last, err = p.setOut(absolute(f.Path), id, names); err != nil {
		p.warn("what " + failedNodes + " means is not kept: " + err.Error())
	} else {
		defer w.last.close()
	}
	w.emit(runner.Event{Type: runner.RunStart, Command: o.command, Nodes: names, Forks: o.forks, Version: Version, Program: p.identity()})
	outcomes := w.all(ctx, tasks)
	if err := w.index.Save(); err != nil {
		w.log.Warn().Err(err).Msg("what is known of local files is not kept")
	}
	codes := make([]int, len(outcomes))
	counts := map[jobs.Status]int{}
	for i, out := range outcomes {
		codes[i] = outcomeCode(out, interrupt)
		counts[out.Status]++
	}
	code := worst(codes)
	w.emit(runner.Event{Type: runner.RunEnd, Code: code, Counts: counts, NotOK: notOK(outcomes), Log: p.logPath(id)})
	if code == exitOK {
		return nil
	}
	return ended{code}
}

// notOK gives the nodes that are not OK, and those whose turn never came.
func notOK(outcomes []*runner.Outcome) []string {
	var names []string
	for _, o := range outcomes {
		if o.Status != jobs.OK {
			names = append(names, o.Node)
		}
	}
	return names
}

// runsOf gives each task the id of its run, and all of these: that of a run that
// is gone on with, or a new one. An account keeps one journal for a run, and lets
// one agent at a time be at work on it: of two nodes that are one account, the
// second gets a run of its own.
func runsOf(tasks []task) []string {
	var ids []string
	for i, t := range tasks {
		if t.resume != nil {
			if tasks[i].run = t.resume.held.Owner.Run; !slices.Contains(ids, tasks[i].run) {
				ids = append(ids, tasks[i].run)
			}
		}
	}
	if ids == nil {
		ids = []string{ulid.Make().String()}
	}
	taken := map[string]bool{}
	for i, t := range tasks {
		if t.resume != nil {
			continue
		}
		place := t.target.String()
		if tasks[i].run = ids[0]; taken[place] {
			tasks[i].run = ulid.Make().String()
			ids = append(ids, tasks[i].run)
		}
		taken[place] = true
	}
	return ids
}

func createLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return openLog(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY)
}

// outcomeCode gives one node's exit code.
func outcomeCode(o *runner.Outcome, i *runner.Interrupt) int {
	switch {
	case o.Left, i.Raised() && (o.Status == jobs.Stopped || o.Status == notStarted):
		return exitInterrupted
	case o.Status == notStarted && o.Err == nil: // because of another, whose code counts
		return exitOK
	case o.Status == notStarted:
		return exitCode(o.Err)
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
	nodes     int
	secrets   *secrets
	sudo      *sudoers
	log       zerolog.Logger
	index     *bundle.Index // of the local files that are delivered
	mu        sync.Mutex    // held while an event is told
	show      runner.Sink
	keep      runner.Sink
	last      *last // what @failed will mean; nil: it cannot be kept
}

func (w *wave) emit(e runner.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Time.IsZero() {
		e.Time, e.Run = time.Now(), w.id
	}
	if e.Type == runner.NodeEnd {
		e.Outcome.Code = outcomeCode(e.Outcome, w.interrupt)
		e.Outcome.Own = w.own(e.Outcome)
		if w.last != nil {
			w.last.end(e.Outcome)
		}
	}
	w.keep(e)
	w.show(e)
}

// own tells whether a node that is not OK is held by a run of the one that types.
func (w *wave) own(o *runner.Outcome) bool {
	h := o.Held
	return h != nil && h.Owner != nil && h.Owner.User+"@"+h.Owner.Host == w.who() || errors.As(o.Err, new(stillOpen))
}

// notStarted is the status of a node whose turn never came.
const notStarted jobs.Status = ""

// one takes one node through its plan; g is where it waits for others, or nil.
func (w *wave) one(ctx context.Context, t task, g *gate) *runner.Outcome {
	program := w.identity()
	owner := bundle.Owner{
		V: 1, Run: t.run, User: w.env.User, Host: w.env.Hostname, Since: w.env.Now().UTC(),
		Node: t.node.Name(), List: t.plan.List, Message: w.options.message,
		Version: Version, Release: cmp.Or(t.node.Get("version"), program.Release), Program: program,
	}
	setOut := &jobs.PlanRecord{
		Program: program,
		Run:     t.run, Node: t.node.Name(), List: t.plan.List, Digest: t.plan.Digest,
		Release: owner.Release, Command: w.options.command, From: t.from, To: t.to, By: w.who(), File: absolute(w.file.Path),
	}
	if t.resume != nil {
		owner = *t.resume.held.Owner // the run stays the one that it is
	}
	lookup := func(name string) (string, error) { return w.secrets.lookup(ctx, name) }
	r := &runner.Runner{
		From: t.from, To: t.to, Run: t.run, Plan: t.plan, Target: t.target.String(), SSH: typedSSH(t.target), Bundle: t.node.Get("bundle"),
		Env: jobs.Env{
			Node: t.node, Host: jobs.Local, Home: w.env.Home, Dir: filepath.Dir(setOut.File), Bundle: w.localBundle(t),
			Owner: owner, Log: w.log, Secret: lookup, Ask: w.hold(t), SSH: w.sshArgs(t.target), Index: w.index,
		},
		Sink: w.emit, Interrupt: w.interrupt, LockWait: w.options.lockWait,
		Ask:    w.beforeEach(t),
		ByHand: func(s jobs.Step) []string { return byHand(t.node, s, w.localBundle(t)) },
	}
	if g != nil {
		r.Gate, r.Lock = g, t.lock
	}
	var root *agent.Root // of the local steps with sudo; a line that goes is not its business
	defer func() {
		if root != nil {
			_ = root.Close()
		}
	}()
	r.Hidden = w.sudo.passwords
	boot := ""
	reach := func(ctx context.Context, again bool) (*link, error) {
		if err := w.secrets.need(ctx, t.plan, r.From, r.To); err != nil {
			return nil, err
		}
		secrets, err := w.secretsOf(ctx, t.suite)
		if err != nil {
			return nil, err
		}
		o := agent.Options{
			Plan: t.plan, Owner: owner, Record: setOut, Secret: lookup, Secrets: secrets, Log: w.log,
			Uploading: func(done, total int64) {
				w.emit(runner.Event{Type: runner.Progress, Time: time.Now(), Run: t.run, Node: t.node.Name(), Local: true, Done: done, Total: total})
			},
		}
		o.Ways = w.ways()
		if !again {
			o.Channels = w.channels(ctx, t.plan.Steps[r.From-1:r.To], r.Env)
		}
		var l *link
		if t.resume == nil || again {
			l, err = w.connect(ctx, t.target, t.node, o)
		} else {
			l, err = w.start(ctx, t.resume.conn, t.node, o)
		}
		if err != nil {
			return nil, err
		}
		err = w.sudo.elevate(ctx, l.Client, t, needsSudo(t.plan.Steps[r.From-1:r.To], jobs.Remote) || t.suite != nil && t.suite.NeedsSudo())
		if err == nil && !again {
			env := r.Env
			env.Far = l
			if root, err = w.sudo.elevateHere(ctx, t, r.From, r.To, env); root != nil {
				r.Root = root.Perform
			}
			r.Env.Call = w.sudo.call(r.Env, root)
		}
		if err == nil && t.resume != nil && !again {
			err = w.adopt(ctx, t, l, r)
		}
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		w.sameBoot(t, &boot, l.Hello().BootID)
		return l, nil
	}
	if t.suite != nil {
		r.Test, r.Suite = testOf(*t.suite), t.suite.Name
	}
	r.Connect = func(ctx context.Context) (runner.Remote, error) { return reach(ctx, false) }
	r.Reconnect, r.ReconnectFor = w.reconnect(t, reach), t.node.Duration("timeout.reconnect")
	if t.no != nil {
		return r.Refuse(t.no)
	}
	journal, release, err := w.working(ctx, t.run, t.node.Name())
	if err == nil {
		defer release()
		own := *setOut
		own.Steps = t.plan.Specs()
		err = journal.Record(jobs.Record{Type: jobs.RecordPlan, Plan: &own})
	}
	var busy *jobs.Error
	switch {
	case errors.As(err, &busy):
		return r.Refuse(err)
	case err != nil:
		return r.Refuse(fmt.Errorf("the journal cannot be kept: %w", err))
	}
	r.Journal = journal
	return r.Do(ctx)
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
