package nodetest

import (
	"fmt"
	"strings"

	"al.essio.dev/pkg/shellescape"
	"github.com/google/shlex"

	"example.org/conc/config"
)

// line writes a check as deploy.ini would have it, substituted; a secret is
// still a token. parseLine reads it.
func (s Spec) line() string {
	var words []string
	if s.Sudo {
		words = append(words, "sudo")
	}
	if s.Level != Functional {
		words = append(words, "level="+s.Level)
	}
	if s.Timeout != checkLimit {
		words = append(words, "timeout="+s.Timeout.String())
	}
	return s.Name + equals + shellescape.QuoteCommand(append(words, s.Words...))
}

// equals stands behind a check's name, in which no "=" can be.
const equals = " = "

// parseLine reads what line wrote.
func (c Catalogue) parseLine(line string) (Spec, error) {
	name, rest, ok := strings.Cut(line, equals)
	words, err := shlex.Split(rest)
	if !ok || err != nil {
		return Spec{}, fmt.Errorf("%s is no check", config.OneLine(line))
	}
	s := Spec{Name: name, Level: Functional, Timeout: checkLimit}
	for len(words) > 0 {
		ok, err := s.modify(words[0])
		if err != nil {
			return Spec{}, fmt.Errorf("check %q: %w", name, err)
		}
		if !ok {
			break
		}
		words = words[1:]
	}
	s.Words = words
	e, ok := c.Lookup(s.kind())
	if !ok {
		return Spec{}, fmt.Errorf("check %q: this program knows no check %q", name, s.kind())
	}
	if _, err := e.Parse(words[1:]); err != nil {
		return Spec{}, fmt.Errorf("check %q: %s: %w", name, e.Name, err)
	}
	return s, nil
}
