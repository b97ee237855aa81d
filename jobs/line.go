package jobs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"example.org/conc/config"
)

// readLine makes a step of one line of a [jobs:*] section:
//
//	NAME = HOST [MODIFIER...] OP [ARGUMENT...]
//
// Every word is substituted on its own, so a value stays one word whatever is in it.
func (p Planner) readLine(f *config.File, node *config.Node, line config.Line) (Step, config.Problems) {
	s := Step{Job: Job{Name: line.Name}, Origin: line.Origin, cat: p.Catalogue}
	var problems config.Problems
	complain := func(hint, format string, args ...any) {
		reason := fmt.Sprintf("job %q: ", line.Name) + config.OneLine(fmt.Sprintf(format, args...))
		problems = append(problems, config.Problem{Origin: line.Origin, Reason: reason, Hint: hint})
	}
	words := make([]string, len(line.Words))
	for i, w := range line.Words {
		v, err := node.Expand(w, line.Origin)
		if err != nil {
			var ps config.Problems
			if errors.As(err, &ps) {
				problems = append(problems, ps...)
			} else {
				complain("", "%v", err)
			}
		}
		words[i] = v
	}
	if len(problems) > 0 {
		return s, problems
	}
	if len(words) == 0 {
		complain("write HOST [MODIFIER...] OP [ARGUMENT...]", "the line is empty")
		return s, problems
	}
	s.Host = Host(words[0])
	if s.Host != Local && s.Host != Remote {
		hint := config.DidYouMean(words[0], []string{string(Local), string(Remote)})
		if hint == "" {
			hint = "a line starts with local or remote"
		}
		complain(hint, "unknown host %q", config.Mask(words[0]))
		return s, problems
	}
	rest := words[1:]
	seen := map[string]bool{}
	for len(rest) > 0 {
		name, ok, err := s.modify(rest[0])
		if err != nil {
			complain("", "%v", err)
		}
		if !ok {
			break
		}
		if seen[name] {
			complain("", "the modifier %s is there twice", name)
		}
		seen[name] = true
		rest = rest[1:]
	}
	if len(rest) == 0 {
		complain("write HOST [MODIFIER...] OP [ARGUMENT...]", "no op is named")
		return s, problems
	}
	s.Words, s.OpName = rest, rest[0]
	if problems = append(problems, p.makeOp(f, node, &s)...); len(problems) == 0 {
		for _, fault := range s.faults(node) {
			complain("", "%s", fault)
		}
	}
	return s, problems
}

// makeOp fills in the op of s by its words, and the limit that goes with it.
func (p Planner) makeOp(f *config.File, node *config.Node, s *Step) config.Problems {
	problem := config.Problem{Origin: s.Origin}
	entry, ok := p.Catalogue.Lookup(s.OpName)
	if !ok {
		word := config.Mask(s.OpName)
		problem.Reason = fmt.Sprintf("job %q: unknown op %q", s.Name, word)
		problem.Hint = config.DidYouMean(word, p.Catalogue.names())
		if key, _, isModifier := strings.Cut(word, "="); isModifier {
			problem.Reason = fmt.Sprintf("job %q: unknown modifier %q", s.Name, word)
			problem.Hint = config.DidYouMean(key, modifiers)
		}
		if problem.Hint == "" {
			problem.Hint = "conc ops lists them"
		}
		return config.Problems{problem}
	}
	var err error
	if entry.Expand != nil {
		var args []string
		args, err = entry.Expand(f, node, s.Words[1:])
		var elsewhere config.Problems // of other lines, which they name
		if errors.As(err, &elsewhere) {
			return elsewhere
		}
		s.Words = append([]string{s.OpName}, args...)
	}
	var op Op
	if err == nil {
		op, err = entry.Parse(s.Words[1:])
	}
	if w, ok := op.(whereabouts); ok && err == nil {
		op = w.on(s.Host)
	}
	if err != nil {
		problem.Reason = fmt.Sprintf("job %q: %s: %s", s.Name, s.OpName, config.OneLine(err.Error()))
		problem.Hint = strings.TrimSpace("usage: " + entry.Name + " " + entry.Args)
		return config.Problems{problem}
	}
	s.Op = op
	if s.Timeout == 0 {
		s.Timeout = limitOf(op, node)
	}
	return nil
}

// modifiers are the words that may stand between host and op.
var modifiers = []string{"sudo", "timeout", "retry"}

// modify applies word if it is a modifier, and says which one it was.
func (s *Step) modify(word string) (name string, ok bool, err error) {
	name, value, hasValue := strings.Cut(word, "=")
	switch {
	case word == "sudo":
		s.Sudo = true
	case name == "timeout" && hasValue:
		s.Timeout, err = config.ParseDuration(value)
		if err != nil {
			err = fmt.Errorf("timeout=%s: %w", config.Mask(value), err)
		}
	case name == "retry" && hasValue:
		s.Retry, err = strconv.Atoi(value)
		if err != nil || s.Retry < 1 || s.Retry > maxRetry {
			err = fmt.Errorf("retry=%s is not a whole number from 1 to %d", config.Mask(value), maxRetry)
		}
	default:
		return "", false, nil
	}
	return name, true, err
}
