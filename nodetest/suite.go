package nodetest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"example.org/conc/config"
)

// Levels are what a test may be for, as the Change on Command article lists
// them. A check that names none is functional.
var Levels = []string{Functional, Migration, Load, Monitoring}

// Spec is one line of a suite, in a form that can travel.
type Spec struct {
	N       int           `json:"n"` // from 1, in the suite
	Name    string        `json:"name"`
	Sudo    bool          `json:"sudo,omitempty"`
	Level   string        `json:"level"`
	Timeout time.Duration `json:"timeout"` // nanoseconds, for each try
	Words   []string      `json:"words"`   // check and arguments, substituted; secrets are tokens
}

// Suite is the checks for one node.
type Suite struct {
	Name   string
	Checks []Spec
}

// checkLimit is the time limit of a check that names none.
const checkLimit = 30 * time.Second

// askedFor is where a suite's name comes from that no key of the node gives.
const askedFor = "--suite"

// Plan makes the suite called name ("" is the node's nodetest key) for node.
// Words are substituted, and every check is parsed once. The error is
// config.Problems.
func (c Catalogue) Plan(f *config.File, node *config.Node, name string) (Suite, error) {
	asked := config.Origin{Section: askedFor}
	if name == "" {
		attr, ok := node.Lookup("nodetest")
		if !ok || attr.Value == "" {
			return Suite{}, config.Problems{{
				Origin: config.Origin{Section: f.Path},
				Reason: fmt.Sprintf("the node %q has no suite of checks", node.Name()),
				Hint:   "set nodetest = NAME, and write a section [nodetest:NAME]",
			}}
		}
		name, asked = attr.Value, attr.Origin
	}
	lines, err := f.Suite(name)
	if err != nil {
		if !slices.Contains(f.SuiteNames(), name) {
			return Suite{}, config.Problems{{Origin: asked, Reason: fmt.Sprintf("no suite is called %q", name), Hint: config.DidYouMean(name, f.SuiteNames())}}
		}
		return Suite{}, err
	}
	s := Suite{Name: name}
	var problems config.Problems
	for i, line := range lines {
		spec, faults := c.readLine(node, line)
		spec.N = i + 1
		s.Checks = append(s.Checks, spec)
		problems = append(problems, faults...)
	}
	if len(problems) > 0 {
		return Suite{}, problems
	}
	return s, nil
}

// readLine makes a spec of one line of a [nodetest:*] section:
//
//	NAME = [MODIFIER...] CHECK [ARGUMENT...]
func (c Catalogue) readLine(node *config.Node, line config.Line) (Spec, config.Problems) {
	s := Spec{Name: line.Name, Level: Functional, Timeout: checkLimit}
	var problems config.Problems
	complain := func(hint, format string, args ...any) {
		reason := fmt.Sprintf("check %q: ", line.Name) + config.OneLine(fmt.Sprintf(format, args...))
		problems = append(problems, config.Problem{Origin: line.Origin, Reason: reason, Hint: hint})
	}
	words := make([]string, len(line.Words))
	for i, w := range line.Words {
		v, err := node.Expand(w, line.Origin)
		var ps config.Problems
		if errors.As(err, &ps) {
			problems = append(problems, ps...)
		} else if err != nil {
			complain("", "%v", err)
		}
		words[i] = v
	}
	if len(problems) > 0 {
		return s, problems
	}
	for len(words) > 0 {
		ok, err := s.modify(words[0])
		if err != nil {
			complain("", "%v", err)
		}
		if !ok {
			break
		}
		words = words[1:]
	}
	if len(words) == 0 {
		complain("write [MODIFIER...] CHECK [ARGUMENT...]", "no check is named")
		return s, problems
	}
	s.Words = words
	entry, ok := c.Lookup(words[0])
	if !ok {
		hint := config.DidYouMean(words[0], append(c.names(), "sudo"))
		if hint == "" {
			hint = "conc ops lists them"
		}
		complain(hint, "unknown check %q", config.Mask(words[0]))
		return s, problems
	}
	if _, err := entry.Parse(words[1:]); err != nil {
		complain("usage: "+strings.TrimSpace(entry.Name+" "+entry.Args), "%s: %v", entry.Name, err)
	}
	return s, problems
}

// modify applies word if it is a modifier.
func (s *Spec) modify(word string) (ok bool, err error) {
	name, value, hasValue := strings.Cut(word, "=")
	switch {
	case word == "sudo":
		s.Sudo = true
	case name == "timeout" && hasValue:
		if s.Timeout, err = config.ParseDuration(value); err != nil {
			err = fmt.Errorf("timeout=%s: %w", config.Mask(value), err)
		}
	case name == "level" && hasValue:
		if s.Level = value; !slices.Contains(Levels, value) {
			err = fmt.Errorf("level=%s: it is one of %s", config.Mask(value), strings.Join(Levels, ", "))
		}
	default:
		return false, nil
	}
	return true, err
}

// Only gives the checks that one of the patterns names, as path.Match has them,
// and that are of one of the levels; no patterns, or no levels, mean all.
func (s Suite) Only(patterns, levels []string) (Suite, error) {
	out := Suite{Name: s.Name}
	for _, c := range s.Checks {
		named := len(patterns) == 0
		for _, p := range patterns {
			ok, err := path.Match(p, c.Name)
			if err != nil {
				return out, fmt.Errorf("the pattern %q cannot be read", p)
			}
			named = named || ok
		}
		if named && (len(levels) == 0 || slices.Contains(levels, c.Level)) {
			out.Checks = append(out.Checks, c)
		}
	}
	return out, nil
}

// NeedsSudo tells whether a check is to be made as root.
func (s Suite) NeedsSudo() bool {
	return slices.ContainsFunc(s.Checks, func(c Spec) bool { return c.Sudo })
}

// Secrets lists the names of the secrets that the checks stand on, without repeats.
func (s Suite) Secrets() []string {
	var names []string
	for _, c := range s.Checks {
		for _, w := range c.Words {
			names = append(names, config.SecretNames(w)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
