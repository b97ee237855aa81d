package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/oklog/ulid/v2"
	"github.com/rs/zerolog"

	"example.org/conc/bundle"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// examination is what one command line of nodetest is about.
type examination struct {
	*program
	given   nodetestOptions
	nodes   []examinee
	sudo    *sudoers
	options nodetest.Options
	tests   *goTests // nil: none
	out     outputs
	told    func(i int, e ui.Examined) // of every node that is done; nil: nobody is to know
	whole   func()                     // when all are, unless interrupted; may be nil
}

// round is one examination of all the nodes. Connections are made for it, and
// end with it.
type round struct {
	*examination
	run      string
	before   []ui.Examined // by the round before; nil: this is the first
	lines    *ui.TestLines // on standard output; nil: something else is there
	progress *progress
	mu       sync.Mutex // held while a node's results are written
}

// round examines the nodes, forks at a time, writes the results and gives them,
// in order. The exit code is that of the whole.
func (x *examination) round(ctx context.Context, before []ui.Examined) ([]ui.Examined, int) {
	r := &round{examination: x, run: ulid.Make().String(), before: before, progress: &progress{now: x.env.Now, nodes: len(x.nodes)}}
	if x.out.screen == formatJSON {
		r.lines = &ui.TestLines{Out: x.ui().Results(), Run: r.run, Now: x.env.Now}
		names := make([]string, len(x.nodes))
		for i, e := range x.nodes {
			names[i] = e.node.Name()
		}
		r.lines.Start(names, Version)
	}
	x.ui().Watch(r.progress.line)
	all := make([]ui.Examined, len(x.nodes))
	places := make(chan struct{}, x.given.forks)
	var group sync.WaitGroup
	for i, e := range x.nodes {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			all[i] = r.one(ctx, e)
			if x.told != nil {
				x.told(i, all[i])
			}
		})
	}
	group.Wait()
	x.ui().Watch(nil)
	codes := make([]int, len(all))
	for i, e := range all {
		codes[i] = e.Code
	}
	if x.given.every != "" && ctx.Err() != nil && anyStopped(all) {
		// It says nothing of the nodes: what the run before has written stays.
		if r.lines != nil {
			r.lines.End(all, exitInterrupted)
			x.ui().Ended()
		}
		return all, exitInterrupted
	}
	return all, r.finish(all, worst(codes))
}

// finish writes the files, and what standard output has after the last node.
func (r *round) finish(all []ui.Examined, code int) int {
	_, nagios := ui.Nagios(all)
	files, err := r.write(all, code)
	if err != nil {
		r.tell(r.name() + ": " + err.Error())
		code, nagios = worst([]int{code, exitError}), nagiosUnknown
	}
	text := r.text(r.ui().Results())
	text.Files = files
	switch {
	case r.lines != nil:
		r.lines.End(all, code)
		r.ui().Ended()
	case r.out.screen != formatText:
		// A document of its own, which nothing else is on standard output beside.
		data, err := r.render(r.out.screen, all, code)
		if err != nil {
			r.tell(r.name() + ": " + err.Error())
			return exitError
		}
		_, _ = r.ui().Results().Write(data)
	case r.before != nil:
		text.Changes(r.env.Now(), r.before, all)
	case len(all) == 1:
		r.end(text, r.nodes[0], all[0])
	default:
		text.Fleet(all, r.again(all))
	}
	if r.out.nagios {
		return nagios
	}
	return code
}

// nagiosUnknown is the exit code of a plugin that could not do its work.
const nagiosUnknown = 3

// tell writes a line of conc's own to standard error.
func (r *round) tell(text string) { r.ui().Tell(ui.Escape(text) + "\n") }

// text makes the screen of a node.
func (r *round) text(w io.Writer) *ui.Tests {
	t := &ui.Tests{Out: w, Color: r.color(r.streams.Out), Quiet: r.program.flags.quiet, Verbose: r.program.flags.verbose}
	if ui.Terminal(r.streams.Out) {
		t.Width = ui.Width(r.streams.Out)
	}
	return t
}

// end writes a node's summary.
func (r *round) end(text *ui.Tests, e examinee, done ui.Examined) {
	text.Asked = done.Asked
	text.One = func(res nodetest.Result) string { return r.onlyThis(e, res) }
	text.End(done.Report, done.Hint)
}

// one examines a node. Text of a node that has the screen to itself is written
// as it comes; of several at a time, when each is done.
func (r *round) one(ctx context.Context, e examinee) ui.Examined {
	done := ui.Examined{
		Report: nodetest.Report{Node: e.node.Name(), Target: e.target.String(), Suite: e.suite.Name, Begun: r.env.Now()},
		Asked:  len(e.suite.Checks),
	}
	if ctx.Err() != nil {
		done.Err = &jobs.Error{Status: jobs.Stopped, Err: errors.New("not started: interrupted")}
		done.Code = exitInterrupted
		if r.lines != nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines.Node(done)
		}
		return done // the table has it
	}
	shown := r.out.screen == formatText && r.before == nil
	alone := len(r.nodes) == 1
	live := shown && (alone || r.given.forks == 1)
	text := r.text(r.ui().Results())
	if live {
		text.Begin(done.Node, done.Target, r.content(e))
	}
	r.progress.begin(e)
	done.Err = r.ask(ctx, e, func(res nodetest.Result) {
		done.Results = append(done.Results, res)
		r.progress.result(done.Node)
		switch {
		case live:
			text.Result(res)
		case r.lines != nil:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines.Result(done.Node, done.Suite, res)
		}
	})
	r.progress.end(done.Node)
	done.Took = r.env.Now().Sub(done.Begun)
	if ctx.Err() != nil && (done.Err != nil || nodetest.Worst(done.Results) == jobs.Errored) {
		done.Err = &jobs.Error{Status: jobs.Stopped, Err: errors.New("interrupted")}
	}
	done.Code, done.Hint = examinedCode(ctx, done.Report), hintOf(done.Err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.lines != nil:
		r.lines.Node(done)
	case shown && !live:
		var block bytes.Buffer
		text = r.text(&block)
		text.Begin(done.Node, done.Target, r.content(e))
		for _, res := range done.Results {
			text.Result(res)
		}
		r.end(text, e, done)
		r.separate(&block)
		_, _ = r.ui().Results().Write(block.Bytes())
	case live && !alone:
		r.end(text, e, done)
		r.separate(text.Out)
	}
	return done
}

// separate parts a node's block from the next.
func (r *round) separate(w io.Writer) {
	if !r.program.flags.quiet {
		_, _ = io.WriteString(w, "\n")
	}
}

// examinedCode gives one node's exit code.
func examinedCode(ctx context.Context, r nodetest.Report) int {
	switch {
	case ctx.Err() != nil && r.Status() == jobs.Stopped:
		return exitInterrupted
	case r.Err != nil:
		return exitCode(r.Err)
	}
	return statusCode(r.Status())
}

// ask has a node make the checks.
func (r *round) ask(ctx context.Context, e examinee, report func(nodetest.Result)) error {
	lookup := func(name string) (string, error) { return r.sudo.secrets.lookup(ctx, name) }
	l, err := r.connect(ctx, e.target, e.node, agent.Options{
		Owner:  bundle.Owner{V: 1, Run: r.run, User: r.env.User, Host: r.env.Hostname, Node: e.node.Name()},
		Secret: lookup, Secrets: e.secrets, Log: zerolog.New(io.Discard),
	})
	if err != nil {
		return err
	}
	r.progress.connected(e.node.Name())
	n := len(e.suite.Checks) // numbers go on after them
	err = r.sudo.elevate(ctx, l.Client, e.task, e.suite.NeedsSudo() || r.tests.wantsSudo())
	if err == nil {
		err = e.suite.RunOn(ctx, l.Client, r.options, report)
	}
	if err == nil && r.tests != nil {
		err = r.tests.on(ctx, l.Client, func(res nodetest.Result) {
			n++
			res.N = n
			report(res)
		})
	}
	if gone := l.Err(); gone != nil && err != nil {
		err = fmt.Errorf("%s: %w", e.node.Name(), gone)
	}
	return errors.Join(err, l.Close())
}

// content says what a node is examined by.
func (r *round) content(e examinee) string {
	checks := ui.Count(len(e.suite.Checks), "check")
	switch {
	case r.tests == nil:
		return checks
	case len(e.suite.Checks) == 0:
		return "Go tests of " + strings.Join(r.tests.dirs, " ")
	}
	return checks + ", and Go tests of " + strings.Join(r.tests.dirs, " ")
}

// again is the command that examines those nodes again that are not OK.
func (r *round) again(all []ui.Examined) string {
	args := []string{"nodetest"}
	for _, e := range all {
		if e.Status() != jobs.OK {
			args = append(args, e.Node)
		}
	}
	args = append(args, r.suiteArgs()...)
	for _, p := range r.given.only {
		args = append(args, "--only", p)
	}
	for _, l := range r.given.levels {
		args = append(args, "--level", l)
	}
	return r.toType(append(args, r.testArgs()...)...)
}

// onlyThis is the command that makes one check, or runs one test, again.
func (r *round) onlyThis(e examinee, res nodetest.Result) string {
	args := []string{"nodetest", e.node.Name()}
	if res.N > len(e.suite.Checks) {
		args = append(args, r.testArgs()...)
		if _, test, ok := strings.Cut(res.Name, ": "); ok && strings.HasPrefix(test, "Test") {
			args = append(args, "--only", literally(test))
		}
		return r.toType(args...)
	}
	return r.toType(append(append(args, r.suiteArgs()...), "--only", literally(res.Name))...)
}

// suiteArgs name the suite, where it is not the node's own.
func (r *round) suiteArgs() []string {
	if r.given.suite == "" {
		return nil
	}
	return []string{"--suite", r.given.suite}
}

// testArgs name the Go tests, and what they may do.
func (r *round) testArgs() []string {
	if r.tests == nil {
		return nil
	}
	args := append([]string(nil), r.tests.dirs...)
	if r.tests.run.Sudo {
		args = append(args, "--sudo")
	}
	for _, key := range r.given.secrets {
		args = append(args, "--secret", key)
	}
	return args
}

// literally makes the pattern that means one name only.
func literally(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}
