package jobs

import (
	"fmt"
	"time"

	"example.org/conc/config"
)

// Spec is one planned line in a form that can travel: the agent builds the same
// step of it.
type Spec struct {
	Name    string        `json:"name"`
	Host    Host          `json:"host"`
	Sudo    bool          `json:"sudo,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"` // nanoseconds, resolved, never 0
	Retry   int           `json:"retry,omitempty"`
	Words   []string      `json:"words"`        // op and arguments, substituted; secrets are tokens
	Op      string        `json:"op,omitempty"` // without Words: the name of a stock op about the bundle
}

// OpName names the op of a line, as the catalogue does: "" for one of a Go list
// that has nothing to do with the bundle.
func (s Spec) OpName() string {
	if len(s.Words) > 0 {
		return s.Words[0]
	}
	return s.Op
}

// Specs gives the plan in the form that travels; nil Words mean an op of a Go list.
func (p *Plan) Specs() []Spec {
	specs := make([]Spec, len(p.Steps))
	for i, s := range p.Steps {
		specs[i] = Spec{Name: s.Name, Host: s.Host, Sudo: s.Sudo, Timeout: s.Timeout, Retry: s.Retry, Words: s.Words}
		if s.Words != nil {
			continue
		}
		// Whoever reads this in a journal has to know where the lock was.
		switch s.Op.(type) {
		case OpenBundle:
			specs[i].Op = openBundleEntry().Name
		case CloseBundle:
			specs[i].Op = closeBundleEntry().Name
		}
	}
	return specs
}

// Rebuild is the agent's side of Plan: the same steps, of the node's values and
// the specs that came over the line. The error says what does not match.
func (p Planner) Rebuild(node *config.Node, list string, specs []Spec) (*Plan, error) {
	steps := make([]Step, len(specs))
	for i, spec := range specs {
		s, err := p.rebuild(list, i, len(specs), spec)
		if err != nil {
			return nil, fmt.Errorf("step %d %q: %w", i+1, spec.Name, err)
		}
		if faults := s.faults(node); len(faults) > 0 {
			return nil, fmt.Errorf("step %d %q: %s", i+1, spec.Name, faults[0])
		}
		s.rehearsal = p.Rehearsal
		steps[i] = s
	}
	plan := &Plan{Node: node, List: list, Steps: steps}
	digest, err := plan.digest()
	plan.Digest = digest
	return plan, err
}

func (p Planner) rebuild(list string, i, n int, spec Spec) (Step, error) {
	s := Step{
		N:     i + 1,
		Job:   Job{Name: spec.Name, Host: spec.Host, Sudo: spec.Sudo, Timeout: spec.Timeout, Retry: spec.Retry},
		Words: spec.Words,
	}
	if spec.Words != nil {
		op, err := p.Catalogue.make(spec.Words)
		if err != nil {
			return Step{}, err
		}
		s.Op, s.OpName, s.cat = op, spec.Words[0], p.Catalogue
		return s, nil
	}
	jobs, ok := p.Lists[list]
	switch {
	case !ok:
		return Step{}, fmt.Errorf("this program has no list %q", list)
	case len(jobs) != n:
		return Step{}, fmt.Errorf("list %q has %d jobs here, %d there", list, len(jobs), n)
	case jobs[i].Name != spec.Name || jobs[i].Host != spec.Host || jobs[i].Sudo != spec.Sudo || jobs[i].Retry != spec.Retry:
		return Step{}, fmt.Errorf("list %q differs: here it is %q on %s", list, jobs[i].Name, jobs[i].Host)
	}
	s.Op, s.OpName = jobs[i].Op, typeName(jobs[i].Op)
	return s, nil
}

// make makes the op that words name.
func (c Catalogue) make(words []string) (Op, error) {
	if len(words) == 0 {
		return nil, fmt.Errorf("no op is named")
	}
	e, ok := c.Lookup(words[0])
	if !ok {
		return nil, fmt.Errorf("unknown op %q", config.Mask(words[0]))
	}
	return e.Parse(words[1:])
}
