package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"example.org/conc/jobs"
)

// pass takes a list through one kind of fault, which befalls each step in turn:
// the step is struck, the run is gone on with as conc proposes until the step is
// done, and then it is the next one's turn.
type pass struct {
	r     *Rehearsal
	score *score
	took  []time.Duration
	fault Fault

	s          *Stage
	verdicts   []Verdict
	violations []Violation
	found      int  // violations of the present step
	asked      bool // the step was to be run again, because it had left nothing
}

// run takes the whole list. After a violation nothing can be said of what comes
// after it: the next step begins on a new stage.
func (p *pass) run(ctx context.Context) (err error) {
	defer func() {
		if p.s != nil {
			err = errors.Join(err, drop(p.s))
		}
	}()
	for _, step := range p.r.Plan.Steps {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		script, ok := p.script(step)
		if !ok {
			p.verdicts[step.N-1] = Nothing
			if p.s != nil {
				if err := p.plainly(ctx, step.N); err != nil {
					return err
				}
			}
			continue
		}
		if err := p.ready(ctx, step.N); err != nil {
			return err
		}
		p.found = len(p.violations)
		if err := p.strike(ctx, step, script); err != nil {
			return fmt.Errorf("step %d %s, %s: %w", step.N, step.Name, p.fault, err)
		}
		if p.fault == Fail && len(p.violations) == p.found && p.refusable(step) {
			if err := p.refused(ctx, step); err != nil {
				return fmt.Errorf("step %d %s, its stubs say no: %w", step.N, step.Name, err)
			}
		}
		p.verdicts[step.N-1] = Stood
		if len(p.violations) > p.found {
			p.verdicts[step.N-1] = Broken
			err := drop(p.s)
			if p.s = nil; err != nil {
				return err
			}
		}
		p.r.tell("%s: step %d %s: %s", p.fault, step.N, step.Name, p.verdicts[step.N-1])
	}
	if p.s == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return p.checkEnd()
}

// checkEnd looks at the whole once the list is through: what a fault has left that
// a later step has brought to light, or has torn.
func (p *pass) checkEnd() error {
	if err := p.s.Settle(p.r.Limit); err != nil {
		return err
	}
	now, err := p.s.Moment(p.r.Plan.Node.Get("bundle"))
	if err != nil {
		return err
	}
	end := p.score.moments[len(p.score.moments)-1]
	if paths := p.score.differences(now, end); len(paths) > 0 {
		p.violate(jobs.Step{}, paths, "at the end of the list, each step gone on with, it is another state than without the fault")
	}
	return nil
}

// refusable tells whether a step calls programs that are stood in for, and that say
// yes otherwise.
func (p *pass) refusable(step jobs.Step) bool {
	calls := 0
	for _, c := range p.score.moments[step.N].Calls {
		if c.Step != step.N {
			continue
		}
		if p.r.Stubs[c.Args[0]].Exit != 0 {
			return false
		}
		calls++
	}
	return calls > 0
}

// refused has the programs that a step calls, and that are stood in for, say no: it
// must not be OK then. What it leaves is its own affair: the stage is another one
// before, and after.
func (p *pass) refused(ctx context.Context, step jobs.Step) error {
	err := drop(p.s)
	if p.s = nil; err != nil {
		return err
	}
	if err := p.ready(ctx, step.N); err != nil {
		return err
	}
	// A step may ask again for as long as it is told no.
	limited := Script{Answer: true, Step: step.N, Hangs: 10*time.Second + 3*p.took[step.N-1]}
	if err := errors.Join(p.s.Direct(limited), p.s.Stubs.Refuse(step.N)); err != nil {
		return err
	}
	c, err := p.r.start(ctx, p.s, p.words(step.N)...)
	if err == nil {
		err = c.wait()
	}
	if err == nil {
		err = p.s.Settle(p.r.Limit)
	}
	if err != nil {
		return err
	}
	if c.code() == 0 {
		p.violate(step, p.score.moments[step.N].called(step.N), "what it calls says no, by exit status 1, and the step is OK")
		return nil // whose stage goes with the violation
	}
	err = drop(p.s)
	p.s = nil
	return err
}

// script says what befalls a step: false when it cannot.
func (p *pass) script(step jobs.Step) (Script, bool) {
	s := Script{Step: step.N, Fault: p.fault, Answer: true}
	tree := onNode
	if step.Host == jobs.Local {
		tree = onWorkstation
	}
	smallest, largest := p.score.written(step.N, tree)
	switch p.fault {
	case Hang:
		s.Hangs = time.Second + 3*p.took[step.N-1]
	case Kill:
		s.Bytes = largest / 2
	case Full:
		s.Bytes = smallest / 2
		if step.Host == jobs.Local {
			far, _ := p.score.written(step.N, onNode)
			s.Far = far / 2
		}
		return s, s.Bytes > 0 || s.Far > 0
	case Gone:
		return s, step.Host == jobs.Remote // for a local step, Kill is the same
	}
	return s, true
}

// ready makes a stage on which the steps before n are done.
func (p *pass) ready(ctx context.Context, n int) error {
	if p.s != nil {
		return nil
	}
	s, err := p.r.stage(ctx)
	if err != nil {
		return err
	}
	p.s = s
	if n == 1 {
		return nil
	}
	if err := s.Direct(Script{Answer: true}); err != nil {
		return err
	}
	return p.must(ctx, "deploy", p.r.Plan.Node.Name(), "--jobs", p.r.Plan.List, "--to", fmt.Sprint(n-1))
}

// plainly runs a step without a fault.
func (p *pass) plainly(ctx context.Context, n int) error {
	if err := p.s.Direct(Script{Answer: true}); err != nil {
		return err
	}
	return p.must(ctx, p.words(n)...)
}

func (p *pass) must(ctx context.Context, args ...string) error {
	c, err := p.r.start(ctx, p.s, args...)
	if err == nil {
		err = c.wait()
	}
	if err == nil && c.code() != 0 {
		err = fmt.Errorf("%s: exit code %d\n%s", strings.Join(args, " "), c.code(), c.screen())
	}
	if err == nil {
		err = p.s.Settle(p.r.Limit)
	}
	return err
}

// words are the command that runs step n alone, after those before it.
func (p *pass) words(n int) []string {
	node, list := p.r.Plan.Node.Name(), p.r.Plan.List
	if !p.locked(n) {
		// Without a bundle there is no run to go on with: conc begins at the beginning.
		return []string{"deploy", node, "--jobs", list, "--to", fmt.Sprint(n)}
	}
	return []string{"step", node, "--jobs", list, "--from", fmt.Sprint(n), "--to", fmt.Sprint(n), "--yes"}
}

// locked tells whether the list has opened the node's bundle before step n.
func (p *pass) locked(n int) bool {
	for _, m := range p.score.moments[:n] {
		if m.Open {
			return true
		}
	}
	return false
}

// strike lets the fault befall a step, checks what that leaves, and goes on until
// the step is done.
func (p *pass) strike(ctx context.Context, step jobs.Step, script Script) error {
	over, err := p.struck(ctx, step, script)
	if err != nil {
		return err
	}
	if err := p.s.Direct(Script{Answer: true}); err != nil {
		return err
	}
	p.asked = false
	screen := ""
	for try := 1; ; try++ {
		if err := p.s.Settle(p.r.Limit); err != nil {
			return err
		}
		now, err := p.s.Moment(p.r.Plan.Node.Get("bundle"))
		if err != nil {
			return err
		}
		if try == 1 {
			p.checkTorn(step, now)
		}
		if over {
			p.checkDone(step, now)
			return nil
		}
		st, err := p.status(ctx)
		if err != nil {
			return err
		}
		if p.done(step.N, now, st) {
			p.checkDone(step, now)
			return nil
		}
		if try == 4 {
			p.violate(step, lastSaid(screen), "it was not done after three attempts to go on")
			return nil
		}
		args := p.goOn(step, now, st)
		if args == nil {
			return nil // a violation
		}
		c, err := p.r.start(ctx, p.s, args...)
		if err == nil {
			err = c.wait()
		}
		if err != nil {
			return err
		}
		over, screen = c.code() == 0 && args[0] != "mark", c.screen()
	}
}

// lastSaid gives the last lines that a step wrote, as a screen shows them.
func lastSaid(screen string) []string {
	var lines []string
	for line := range strings.Lines(screen) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "| "); ok {
			lines = append(lines, text)
		}
	}
	return lines[max(0, len(lines)-maxPaths):]
}

// struck runs the step with its fault, and tells whether it was done in spite of
// that.
func (p *pass) struck(ctx context.Context, step jobs.Step, script Script) (bool, error) {
	outside := script.Fault == Cut || script.Fault == Gone || script.Fault == Stop
	if outside {
		script.Dir = p.s.Sync
		if err := p.s.Clear(); err != nil {
			return false, err
		}
	}
	if err := p.s.Direct(script); err != nil {
		return false, err
	}
	c, err := p.r.start(ctx, p.s, p.words(step.N)...)
	if err != nil {
		return false, err
	}
	if outside && script.Await(step.N, c.over) {
		switch script.Fault {
		case Cut:
			p.s.Proxy.CutAfter(0)
		case Gone:
			_ = c.cmd.Process.Kill()
		case Stop:
			_ = c.cmd.Process.Signal(syscall.SIGINT)
			time.Sleep(20 * time.Millisecond) // to be heard before the step ends
		}
		err = script.GoOn(step.N)
	}
	err = errors.Join(err, c.wait())
	return err == nil && c.code() == 0, err
}

// stands is what `conc status --json` says of a node.
type stands struct {
	State string `json:"state"`
	Next  int    `json:"next"`
	Steps []struct {
		Status jobs.Status `json:"status"`
		Doubt  bool        `json:"in_doubt"`
	} `json:"steps"`
}

func (p *pass) status(ctx context.Context) (st stands, err error) {
	c, err := p.r.start(ctx, p.s, "status", p.r.Plan.Node.Name(), "--json")
	if err == nil {
		err = c.wait()
	}
	if err == nil && c.code() != 0 {
		err = fmt.Errorf("status: exit code %d\n%s", c.code(), c.screen())
	}
	if err == nil {
		err = json.Unmarshal(c.out.Bytes(), &st)
	}
	return st, err
}

// done tells whether step n is behind.
func (p *pass) done(n int, now Moment, st stands) bool {
	if st.Next > 0 || st.State != "free" {
		return st.Next == 0 || st.Next > n
	}
	return p.score.is(now, n, n) && (p.locked(n) || p.asked || len(p.score.differences(p.score.moments[n-1], p.score.moments[n])) > 0)
}

// goOn is what is typed next, as conc proposes it. Where the step began, and does
// not say that it may be repeated, the operator looks first.
func (p *pass) goOn(step jobs.Step, now Moment, st stands) []string {
	n := step.N
	if st.State == "free" && st.Next == 0 {
		if p.locked(n) && !p.score.moments[n].Open {
			p.violate(step, p.score.differences(now, p.score.moments[n]), "the node is free, the run cannot be gone on with, and the step is not done")
			return nil
		}
		if p.locked(n) {
			p.violate(step, nil, "the lock is gone in the middle of the run")
			return nil
		}
		p.asked = true
		return p.words(n)
	}
	if st.Next < n {
		p.violate(step, nil, fmt.Sprintf("conc proposes to go on at step %d, which was OK", st.Next))
		return nil
	}
	_, repeatable := step.Op.(jobs.Repeatable)
	began := st.Next <= len(st.Steps) && (st.Steps[n-1].Doubt || st.Steps[n-1].Status != "")
	again := p.words(n)
	if p.score.moments[n].Open && n > 0 && !p.locked(n) { // it is the one that opens
		again = []string{"step", p.r.Plan.Node.Name(), "--jobs", p.r.Plan.List, "--from", fmt.Sprint(n), "--to", fmt.Sprint(n), "--yes"}
	}
	switch {
	case !began || repeatable || p.score.is(now, n-1, n):
		p.asked = true
		return again
	case p.score.is(now, n, n):
		return []string{"mark", p.r.Plan.Node.Name(), fmt.Sprint(n), string(jobs.OK), "--note", "rehearsal: it is done"}
	}
	what := "it is left half done, and does not say that it may be repeated"
	if p.fault == Full || p.fault == Fail {
		what = "it ended with work half done, and does not say that it may be repeated"
	}
	paths := p.score.differences(now, p.score.moments[n])
	if len(paths) == 0 {
		for _, call := range now.called(n) {
			paths = append(paths, "called: "+call)
		}
	}
	p.violate(step, paths, what)
	return nil
}

// checkTorn holds that a file is the old one or the new one, whole. What a step
// that may be repeated makes for the first time is its own to mend.
func (p *pass) checkTorn(step jobs.Step, now Moment) {
	torn, replaced := p.score.torn(now)
	_, repeatable := step.Op.(jobs.Repeatable)
	if len(torn) > 0 && (replaced || !repeatable) {
		p.violate(step, torn, "a file is neither the old one nor the new one, whole")
	}
}

// checkDone holds that a step which was struck comes to the same as one that was
// not, and that what may not be repeated was not.
func (p *pass) checkDone(step jobs.Step, now Moment) {
	want := p.score.moments[step.N]
	if paths := p.score.differences(now, want); len(paths) > 0 {
		p.violate(step, paths, "gone on with, it comes to another state than without the fault")
	}
	if now.Own != want.Own {
		p.violate(step, nil, fmt.Sprintf("gone on with, the bundle on the workstation is open: %v, and without the fault: %v", now.Own, want.Own))
	}
	if now.Open != want.Open {
		p.violate(step, nil, fmt.Sprintf("gone on with, the node's bundle is open: %v, and without the fault: %v", now.Open, want.Open))
	}
	if _, repeatable := step.Op.(jobs.Repeatable); !repeatable && len(now.called(step.N)) > len(want.called(step.N)) {
		p.violate(step, now.called(step.N), "it was done twice, and does not say that it may be repeated")
	}
}

// maxPaths bounds what is told of a violation.
const maxPaths = 5

func (p *pass) violate(step jobs.Step, paths []string, text string) {
	p.violations = append(p.violations, Violation{Step: step.N, Name: step.Name, Fault: p.fault, Text: text, Paths: fewer(paths)})
}

func fewer(paths []string) []string {
	if len(paths) > maxPaths {
		paths = append(paths[:maxPaths:maxPaths], fmt.Sprintf("and %d more", len(paths)-maxPaths))
	}
	return paths
}
