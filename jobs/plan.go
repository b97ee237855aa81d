package jobs

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/conc/config"
)

// Step is one numbered step of a plan.
type Step struct {
	N int // from 1
	Job
	OpName string        // catalogue name; for an op of a Go list, its type's name
	Words  []string      // as in Spec; nil for an op of a Go list
	Origin config.Origin // where the line was written
	cat    Catalogue

	rehearsal Rehearsal
}

// AsRoot tells whether a step is to be performed as root: one with sudo is, but
// for two ops. The lock stays the account's own, whose process looks after it,
// and the operator is asked where the operator is.
func (s Step) AsRoot() bool {
	switch s.Op.(type) {
	case OpenBundle, Hold:
		return false
	}
	return s.Sudo
}

// NeedsRoot tells whether a step is performed as root, or a part of it is.
func (s Step) NeedsRoot() bool {
	part, ok := s.Op.(PartRoot)
	return s.AsRoot() || ok && part.PartAsRoot()
}

// Brief says in a few words what the step's op and arguments are; "" when they
// are to be shown as they are.
func (s Step) Brief() string { return s.cat.Brief(s.Words) }

// Plan is a node's list of steps, made without network or clock. Both ends
// hold the same one, so that a step's number is all that has to travel.
type Plan struct {
	Node   *config.Node
	List   string
	Steps  []Step
	Digest string // hex sha256 of everything that decides what the steps do
}

// Planner makes plans.
type Planner struct {
	Catalogue Catalogue
	Lists     map[string]List // of a Go program; a [jobs:NAME] of the same name is an error
	Rehearsal Rehearsal       // stands around every op; nil: none
}

// maxRetry bounds the modifier retry.
const maxRetry = 100

// Plan makes node's plan of the list called list ("" is the node's jobs key).
// Modifiers are read, words substituted, ops made and validated. The error is
// config.Problems.
func (p Planner) Plan(f *config.File, node *config.Node, list string) (*Plan, error) {
	asked := config.Origin{Section: "--jobs"}
	if list == "" {
		attr, ok := node.Lookup("jobs")
		if !ok || attr.Value == "" {
			return nil, config.Problems{{
				Origin: config.Origin{Section: f.Path},
				Reason: fmt.Sprintf("the node %q has no job list", node.Name()),
				Hint:   "set jobs = NAME, or pass --jobs NAME",
			}}
		}
		list, asked = attr.Value, attr.Origin
	}
	written := f.ListNames()
	inGo, isGo := p.Lists[list]
	switch isIni := slices.Contains(written, list); {
	case isGo && isIni:
		return nil, config.Problems{{
			Origin: p.where(f, list, asked),
			Reason: fmt.Sprintf("the job list %q is in this file and in the program", list),
			Hint:   "rename one of them",
		}}
	case isGo:
		return p.planGo(f, node, list, inGo)
	case !isIni:
		for name := range p.Lists {
			written = append(written, name)
		}
		slices.Sort(written)
		return nil, config.Problems{{
			Origin: asked,
			Reason: fmt.Sprintf("no job list is called %q", list),
			Hint:   listHint(list, written),
		}}
	}
	return p.planIni(f, node, list)
}

// listHint names the lists that were perhaps meant, or else those there are.
func listHint(list string, names []string) string {
	if hint := config.DidYouMean(list, names); hint != "" || len(names) == 0 || len(names) > maxCandidates {
		return hint
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return "choose from " + strings.Join(quoted, ", ")
}

// where finds the line of a list's section, as far as its first job tells.
func (p Planner) where(f *config.File, list string, otherwise config.Origin) config.Origin {
	if lines, err := f.List(list); err == nil && len(lines) > 0 {
		return lines[0].Origin
	}
	return otherwise
}

func (p Planner) planIni(f *config.File, node *config.Node, list string) (*Plan, error) {
	lines, err := f.List(list)
	if err != nil {
		return nil, err
	}
	var problems config.Problems
	steps := make([]Step, 0, len(lines))
	for i, line := range lines {
		s, faults := p.readLine(f, node, line)
		problems = append(problems, faults...)
		s.N = i + 1
		steps = append(steps, s)
	}
	return p.finish(node, list, steps, problems)
}

// planGo numbers and checks a list of a Go program.
func (p Planner) planGo(f *config.File, node *config.Node, list string, jobs List) (*Plan, error) {
	var problems config.Problems
	at := config.Origin{Section: "list " + strconv.Quote(list) + " of the program"}
	if len(jobs) == 0 {
		problems = append(problems, config.Problem{Origin: at, Reason: "the list has no jobs"})
	}
	steps := make([]Step, 0, len(jobs))
	seen := map[string]bool{}
	for i, j := range jobs {
		complain := func(format string, args ...any) {
			reason := fmt.Sprintf("job %d %q: ", i+1, j.Name) + fmt.Sprintf(format, args...)
			problems = append(problems, config.Problem{Origin: at, Reason: reason})
		}
		if seen[j.Name] {
			complain("the name is taken by an earlier job")
		}
		seen[j.Name] = true
		s := Step{N: i + 1, Job: j, OpName: typeName(j.Op), Origin: at}
		if w, ok := j.Op.(Worded); ok && !isNil(j.Op) {
			s.Words, s.cat = w.Words(), p.Catalogue
			s.OpName = s.Words[0]
			if faults := p.makeOp(f, node, &s); len(faults) > 0 {
				problems = append(problems, faults...)
				continue
			}
		}
		if s.Timeout == 0 {
			s.Timeout = limitOf(j.Op, node)
		}
		for _, reason := range s.faults(node) {
			complain("%s", reason)
		}
		steps = append(steps, s)
	}
	return p.finish(node, list, steps, problems)
}

func (p Planner) finish(node *config.Node, list string, steps []Step, problems config.Problems) (*Plan, error) {
	if len(problems) > 0 {
		return nil, problems
	}
	for i := range steps {
		steps[i].rehearsal = p.Rehearsal
	}
	plan := &Plan{Node: node, List: list, Steps: steps}
	digest, err := plan.digest()
	if err != nil {
		return nil, config.Problems{{Origin: config.Origin{Section: "list " + list}, Reason: err.Error()}}
	}
	plan.Digest = digest
	return plan, nil
}

// faults says what is wrong with a step whose op has been made, whichever way
// the step came about.
func (s Step) faults(node *config.Node) []string {
	var faults []string
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if s.Name == "" {
		add("it has no name")
	}
	if _, err := strconv.Atoi(s.Name); err == nil {
		add("a name that is a number could be taken for a step's number")
	}
	if s.Host != Local && s.Host != Remote {
		add("host %q is neither local nor remote", s.Host)
	}
	if s.Timeout <= 0 {
		add("timeout %v is not over zero", s.Timeout)
	}
	if s.Retry < 0 || s.Retry > maxRetry {
		add("retry %d is not between 1 and %d", s.Retry, maxRetry)
	}
	if isNil(s.Op) {
		add("it has no op")
		return faults
	}
	if _, ok := s.Op.(Repeatable); s.Retry > 0 && !ok {
		add("%s cannot be repeated, so it takes no retry", s.OpName)
	}
	if placed, ok := s.Op.(Placed); ok && s.Host != placed.Place() {
		add("%s is an op for the %s host only", s.OpName, placed.Place())
	}
	if v, ok := s.Op.(Validator); ok {
		if err := v.Validate(); err != nil {
			add("%s: %s", s.OpName, config.OneLine(err.Error()))
		}
	}
	if c, ok := s.Op.(Checker); ok {
		if err := c.Check(node); err != nil {
			add("%s: %s", s.OpName, config.OneLine(err.Error()))
		}
	}
	return faults
}

// isNil tells whether op is nil, or a nil pointer or function in an interface.
func isNil(op Op) bool {
	if op == nil {
		return true
	}
	switch v := reflect.ValueOf(op); v.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice:
		return v.IsNil()
	}
	return false
}

func typeName(op Op) string {
	t := reflect.TypeOf(op)
	if t == nil {
		return ""
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// limitOf gives the time limit of a job that names none.
func limitOf(op Op, node *config.Node) time.Duration {
	if l, ok := op.(Limiter); ok {
		return l.Limit()
	}
	return node.Duration("timeout.job")
}

// UsesSecrets lists the names of the secrets that the steps of host h in from..to
// stand on, without repeats.
func (p *Plan) UsesSecrets(h Host, from, to int) []string {
	var names []string
	for _, s := range p.Steps {
		if s.Host != h || s.N < from || s.N > to {
			continue
		}
		for _, w := range s.Words {
			names = append(names, config.SecretNames(w)...)
		}
		if u, ok := s.Op.(SecretUser); ok {
			names = append(names, u.Secrets(p.Node)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Find gives the number of the step that s names, by number or by name.
func (p *Plan) Find(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > len(p.Steps) {
			return 0, fmt.Errorf("no step %d: the list %q has steps 1 to %d", n, p.List, len(p.Steps))
		}
		return n, nil
	}
	names := make([]string, len(p.Steps))
	for i, step := range p.Steps {
		if step.Name == s {
			return step.N, nil
		}
		names[i] = step.Name
	}
	err := fmt.Errorf("no step of the list %q is called %q", p.List, s)
	if hint := config.DidYouMean(s, names); hint != "" {
		err = fmt.Errorf("%w; %s", err, hint)
	}
	return 0, err
}

// OpenBefore tells whether the list has the bundle on h open when step n is
// about to begin.
func (p *Plan) OpenBefore(h Host, n int) bool {
	open := false
	for _, s := range p.Steps[:n-1] {
		if s.Host != h {
			continue
		}
		switch s.Op.(type) {
		case OpenBundle:
			open = true
		case CloseBundle:
			open = false
		}
	}
	return open
}
