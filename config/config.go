// Package config reads deploy.ini: the one file that defines a deploy.
//
// It is data, not code: sections of keys and values, and %(key)s substitution,
// resolved late, in the scope of the node that asks. Every value knows the
// file and the line that it came from, and every complaint names them.
package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Origin says where a value or a line was written.
type Origin struct {
	File    string `json:"file,omitempty"`    // as given to Load; "" for built-in values
	Line    int    `json:"line,omitempty"`    // 1 is the first; 0 when there is no file
	Section string `json:"section,omitempty"` // "DEFAULT", "group:web", "node:web1", "--set", "built in"
}

// The sections of values that no file holds.
const (
	commandLine = "--set"
	builtInName = "built in"
)

// BuiltIn says that nobody wrote the value: it is conc's own.
func (o Origin) BuiltIn() bool { return o.File == "" && o.Section == builtInName }

// String gives "deploy.ini:14", "deploy.ini" when no line is meant, or the
// section's name when there is no file. It is escaped.
func (o Origin) String() string {
	switch {
	case o.File == "":
		return o.Section
	case o.Line == 0:
		return printable(o.File)
	}
	return fmt.Sprintf("%s:%d", printable(o.File), o.Line)
}

// Problem is one complaint about a file. It is an error.
type Problem struct {
	Origin Origin
	Reason string // escaped; one line
	Hint   string // what to write instead; may be empty
}

func (p Problem) Error() string {
	s := p.Origin.String() + ": " + p.Reason
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Problems is every complaint that one reading found, in the file's order. It
// is the error type that Load, Parse, File.Node and friends return: the command
// line ends with exit code 5 on it.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, q := range p {
		lines[i] = q.Error()
	}
	return strings.Join(lines, "\n")
}

// maxProblems is how many complaints are told of one file, and about how many
// are looked for.
const maxProblems = 100

// inOrder gives the complaints in the order of the lines, those about --set
// last, and cuts a list that nobody would read.
func (p Problems) inOrder() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		if (a.Origin.File == "") != (b.Origin.File == "") {
			return cmp.Compare(b.Origin.File, a.Origin.File)
		}
		return cmp.Compare(a.Origin.Line, b.Origin.Line)
	})
	if len(p) > maxProblems {
		last := Problem{Origin: Origin{File: p[0].Origin.File}, Reason: "and more problems than these"}
		p = append(p[:maxProblems:maxProblems], last)
	}
	return p
}

// Line is one NAME = WORD... line of a [jobs:*] or [nodetest:*] section. Words
// are split by shell quoting rules and not yet substituted.
type Line struct {
	Name   string
	Words  []string
	Origin Origin
}

// Options are what the command line adds to a file.
type Options struct {
	Set []string // "key=value", as given to --set; wins over everything
}
