package config

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// The kinds of section.
const (
	kindDefault  = "DEFAULT"
	kindGroup    = "group"
	kindNode     = "node"
	kindJobs     = "jobs"
	kindSuite    = "nodetest"
	kindRehearse = "rehearse"
)

// kinds is in the order that a reader expects them in.
var kinds = []string{kindDefault, kindGroup, kindNode, kindJobs, kindSuite, kindRehearse}

const kindsHint = "sections are [DEFAULT], [group:NAME], [node:NAME], [jobs:NAME], [nodetest:NAME] and [rehearse]"

// parseTitle takes a section's title apart. The Problem has no origin yet.
func parseTitle(s string) (kind, name string, _ *Problem) {
	kind, name, named := strings.Cut(s, ":")
	switch {
	case s == kindDefault:
		return kindDefault, "", nil
	case s == kindRehearse:
		return kindRehearse, "", nil
	case !named || kind != kindGroup && kind != kindNode && kind != kindJobs && kind != kindSuite:
		return "", "", &Problem{Reason: "unknown section " + title(s, ""), Hint: titleHint(kind, name)}
	case !isName(name):
		return "", "", &Problem{
			Reason: fmt.Sprintf("%s is no name for a section", quote(name)),
			Hint:   `a name is of letters, digits, ".", "_" and "-", and starts with a letter or a digit`,
		}
	case kind == kindGroup && (name == "all" || name == "failed"):
		return "", "", &Problem{Reason: fmt.Sprintf("a group cannot be called %s: @%s has a meaning of its own", name, name)}
	case kind == kindNode && name == "none":
		return "", "", &Problem{Reason: "a node cannot be called none: in sshd.jump the word has a meaning of its own"}
	}
	return kind, name, nil
}

func titleHint(kind, name string) string {
	near := Near(kind, kinds)
	switch {
	case len(near) == 0:
		return kindsHint
	case near[0] == kindDefault:
		return "did you mean [DEFAULT]?"
	case near[0] == kindRehearse:
		return "did you mean [rehearse]?"
	case !isName(name):
		name = "NAME"
	}
	return fmt.Sprintf("did you mean %s?", title(near[0], name))
}

// isName tells whether s can be the name of a node, a group or a list. Such a
// name becomes the name of a file, stands in a pattern, and in %(node:NAME:key)s.
func isName(s string) bool {
	for i, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && (i == 0 || !strings.ContainsRune("._-", r)) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

var keyPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`) })

// isKey tells whether s can be a key.
func isKey(s string) bool { return keyPattern().MatchString(s) && len(s) <= 128 }

// isLineName tells whether s can be the name of a line of a list: words for
// people to read. One of digits alone would be taken for a step's number.
func isLineName(s string) bool {
	letters := false
	for i, r := range s {
		if !unicode.IsPrint(r) || i == 0 && !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' {
			return false
		}
		letters = letters || unicode.IsLetter(r)
	}
	return letters && len(s) <= 128
}
