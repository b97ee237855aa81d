package rehearsal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.org/conc/jobs"
)

// Faults are those that a list is rehearsed with, in the order of the table.
var Faults = []Fault{Fail, Hang, Cut, Kill, Gone, Stop, Full}

// Rehearsal is what is rehearsed, and with what.
type Rehearsal struct {
	Options // of every stage; each has a numbered directory of its own in Dir
	Plan    *jobs.Plan
	Seed    string     // a directory whose content is in the home before; "": nothing is
	Before  [][]string // lists that are run before it, each with further arguments: --set
	Ignore  []string   // globs of paths that may be different each time
	Faults  []Fault
	Forks   int            // stages at a time
	Args    []string       // further arguments of every command: --set
	Tell    func(s string) // progress, a line, one call at a time; nil: nobody listens
	Limit   time.Duration  // for one command

	stages  atomic.Int64 // that were set
	telling sync.Mutex
}

// Verdict is how a list stood a fault at one step.
type Verdict string

// The verdicts.
const (
	Stood   Verdict = "ok"
	Broken  Verdict = "violation"
	Nothing Verdict = "-" // the fault cannot befall the step
)

// Violation is a promise that was not kept.
type Violation struct {
	Step  int // 0: the list as a whole
	Name  string
	Fault Fault // "": without one
	Text  string
	Paths []string
}

// Report is what came of a rehearsal.
type Report struct {
	Plan       *jobs.Plan
	Faults     []Fault
	Verdicts   [][]Verdict // by step, by fault
	Violations []Violation
}

// CleanError says that the list does not get to its end even without a fault.
type CleanError struct {
	Text   string
	Screen string
}

func (e *CleanError) Error() string { return e.Text }

// Run rehearses a list: twice without a fault, and once with each kind, which
// befalls each of the steps in turn. *CleanError when there is nothing to compare
// with.
func (r *Rehearsal) Run(ctx context.Context) (*Report, error) {
	n := len(r.Plan.Steps)
	report := &Report{Plan: r.Plan, Faults: r.Faults, Verdicts: make([][]Verdict, n)}
	for i := range report.Verdicts {
		report.Verdicts[i] = make([]Verdict, len(r.Faults))
	}
	r.tell("without a fault, twice")
	begun := time.Now()
	first, took, err := r.clean(ctx)
	if err != nil {
		return nil, err
	}
	// What has the time in it, in seconds, must not be the same in both by chance.
	time.Sleep(time.Until(begun.Add(1500 * time.Millisecond)))
	second, _, err := r.clean(ctx)
	if err != nil {
		return nil, err
	}
	score := compare(first, second, r.Ignore)
	report.Violations = r.checkLock(score)
	var mu sync.Mutex
	var all error
	var work sync.WaitGroup
	places := make(chan struct{}, max(1, r.Forks))
	for i, f := range r.Faults {
		work.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			p := &pass{r: r, score: score, took: took, fault: f, verdicts: make([]Verdict, n)}
			err := p.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			all = errors.Join(all, err)
			for step, v := range p.verdicts {
				report.Verdicts[step][i] = v
			}
			report.Violations = append(report.Violations, p.violations...)
		})
	}
	work.Wait()
	slices.SortStableFunc(report.Violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(slices.Index(r.Faults, a.Fault), slices.Index(r.Faults, b.Fault)))
	})
	return report, all
}

// checkLock looks whether the list keeps others out while it changes the node, and
// lets them in again. It needs no fault for that.
func (r *Rehearsal) checkLock(score *score) (all []Violation) {
	for _, step := range r.Plan.Steps {
		was, is := score.moments[step.N-1], score.moments[step.N]
		if was.Open || is.Open {
			continue
		}
		paths := score.differ("", was.Home, is.Home)
		if step.Host == jobs.Remote {
			for _, call := range is.called(step.N) {
				paths = append(paths, "called: "+strings.TrimPrefix(call, fmt.Sprintf("step %d: ", step.N)))
			}
		}
		if len(paths) > 0 {
			all = append(all, Violation{
				Step: step.N, Name: step.Name, Paths: fewer(paths),
				Text: "it changes the node while no bundle is open there: nobody else is kept out, and nobody can go on with the run",
			})
		}
	}
	end := score.moments[len(score.moments)-1]
	if end.Open {
		all = append(all, Violation{Text: "the list ends, and the node's bundle is still open: the next deploy is BLOCKED"})
	}
	if end.Own {
		all = append(all, Violation{Text: "the list ends, and its bundle on the workstation is still open"})
	}
	return all
}

// tell is called by several passes at a time.
func (r *Rehearsal) tell(format string, args ...any) {
	if r.Tell != nil {
		r.telling.Lock()
		defer r.telling.Unlock()
		r.Tell(fmt.Sprintf(format, args...))
	}
}

// stage sets a stage in a directory of its own. The names of all are of one
// length: a program that writes down its place also writes down how long that is.
func (r *Rehearsal) stage(ctx context.Context) (*Stage, error) {
	o := r.Options
	o.Dir = filepath.Join(r.Dir, fmt.Sprintf("%04d", r.stages.Add(1)))
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	s, err := NewStage(ctx, o)
	if err != nil {
		return nil, err
	}
	if r.Seed != "" {
		if err := os.CopyFS(s.Node.Home, os.DirFS(r.Seed)); err != nil {
			return nil, errors.Join(fmt.Errorf("seed the node's home: %w", err), s.Close())
		}
	}
	if err := r.before(ctx, s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// before runs the lists that bring the node to where the rehearsal begins. What they
// have called is no part of that.
func (r *Rehearsal) before(ctx context.Context, s *Stage) error {
	if len(r.Before) == 0 {
		return nil
	}
	if err := s.Direct(Script{Answer: true}); err != nil {
		return err
	}
	for _, list := range r.Before {
		c, err := r.start(ctx, s, append([]string{"deploy", r.Plan.Node.Name(), "--jobs"}, list...)...)
		if err == nil {
			err = c.wait()
		}
		if err != nil {
			return err
		}
		if c.code() != 0 {
			return &CleanError{
				Text:   fmt.Sprintf("the list %s, which comes before, does not get to its end on a throwaway node: exit code %d", list[0], c.code()),
				Screen: c.screen(),
			}
		}
	}
	return errors.Join(s.Settle(r.Limit), os.RemoveAll(s.Stubs.Log))
}

// drop ends a stage, and removes all of it.
func drop(s *Stage) error { return errors.Join(s.Close(), os.RemoveAll(s.o.Dir)) }

// clean runs the list without a fault, and looks after each step.
func (r *Rehearsal) clean(ctx context.Context) (moments []Moment, took []time.Duration, err error) {
	s, err := r.stage(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, drop(s)) }()
	bundle := r.Plan.Node.Get("bundle")
	look := func() error {
		m, err := s.Moment(bundle)
		moments = append(moments, m)
		return err
	}
	if err := look(); err != nil {
		return nil, nil, err
	}
	script := Script{Dir: s.Sync, Watch: true, Answer: true}
	if err := s.Direct(script); err != nil {
		return nil, nil, err
	}
	c, err := r.start(ctx, s, "deploy", r.Plan.Node.Name(), "--jobs", r.Plan.List)
	if err != nil {
		return nil, nil, err
	}
	for n := 1; n <= len(r.Plan.Steps); n++ {
		begun := time.Now()
		if !script.Await(n, c.over) {
			break
		}
		took = append(took, time.Since(begun))
		if err := errors.Join(look(), script.GoOn(n)); err != nil {
			return nil, nil, errors.Join(err, c.end())
		}
	}
	if err := c.wait(); err != nil {
		return nil, nil, err
	}
	if n := len(moments); c.code() != 0 || n <= len(r.Plan.Steps) {
		step := r.Plan.Steps[min(n, len(r.Plan.Steps))-1]
		return nil, nil, &CleanError{
			Text:   fmt.Sprintf("without any fault, on a throwaway node, the list does not get to its end: step %d %s, exit code %d", step.N, step.Name, c.code()),
			Screen: c.screen(),
		}
	}
	return moments, took, s.Settle(r.Limit)
}

// command is a command line that runs.
type command struct {
	cmd       *exec.Cmd
	out, errs bytes.Buffer
	over      chan struct{}
	stop      func() bool
}

// start starts a command line. It is killed when it is over the limit, or ctx is done.
func (r *Rehearsal) start(ctx context.Context, s *Stage, args ...string) (*command, error) {
	c := &command{cmd: s.Command(append(append([]string(nil), r.Args...), args...)...), over: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.errs
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is the rehearsal's, not its
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	limit, cancel := context.WithTimeout(ctx, r.Limit)
	stop := context.AfterFunc(limit, func() { _ = c.cmd.Process.Kill() })
	c.stop = func() bool { defer cancel(); return stop() }
	go func() {
		defer close(c.over)
		_ = c.cmd.Wait()
	}()
	return c, nil
}

// wait waits for the end: an error when it had to be ended.
func (c *command) wait() error {
	<-c.over
	if !c.stop() {
		return fmt.Errorf("%s did not end in time, or was cancelled", strings.Join(c.cmd.Args[3:], " "))
	}
	return nil
}

// end ends it now.
func (c *command) end() error {
	_ = c.cmd.Process.Kill()
	return c.wait()
}

func (c *command) code() int      { return c.cmd.ProcessState.ExitCode() }
func (c *command) screen() string { return c.out.String() + c.errs.String() }
