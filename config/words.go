package config

import (
	"fmt"
	"strings"

	"github.com/google/shlex"
)

// A comment behind a value starts with a ";" or a "#" that a blank stands
// before. In the line of a list one inside quotes starts none.

func isBlank(c byte) bool   { return c == ' ' || c == '\t' }
func isComment(c byte) bool { return c == ';' || c == '#' }

// plain gives the value of a key: without its comment, and without the quotes
// when they are around the whole of it. What is inside those stands as it is.
// The Problem has no origin yet.
func plain(s string) (string, *Problem) {
	if s == "" {
		return "", nil
	}
	if isComment(s[0]) {
		if len(s) == 1 || isBlank(s[1]) {
			return "", nil
		}
		return "", &Problem{Reason: fmt.Sprintf("a value that starts with %q looks like a comment", s[0]), Hint: `put it in quotes, or a blank after the sign`}
	}
	quoted := s[0] == '"' || s[0] == '\''
	if quoted {
		if end := strings.IndexByte(s[1:], s[0]) + 1; end > 0 {
			if after := s[end+1:]; after == "" || cutComment(after) == "" {
				return s[1:end], nil
			}
		}
	}
	v := cutComment(s)
	if quoted && strings.Count(v, s[:1])%2 == 1 && strings.Contains(s[len(v):], s[:1]) {
		return "", &Problem{Reason: "a comment seems to start inside quotes", Hint: "let the quotes be around the whole value, or none at its start"}
	}
	return v, nil
}

// cutComment gives s without its comment and the blanks before that.
func cutComment(s string) string {
	for i := 1; i < len(s); i++ {
		if isComment(s[i]) && isBlank(s[i-1]) {
			return strings.TrimRight(s[:i], " \t")
		}
	}
	return s
}

// shellWords splits the line of a list as a POSIX shell would, its comment cut.
// Nothing is expanded. The Problem has no origin yet.
//
// shlex does the splitting; what it does not do as a shell is put right before:
// ";" starts a comment too, and in double quotes a backslash stays unless it
// is before one of $ ` " \.
func shellWords(s string) ([]string, *Problem) {
	var b strings.Builder
	var open byte // the quote that is open, or 0
	start := true // a word would start here
scan:
	for i := 0; i < len(s); i++ {
		c := s[i]
		atStart := start
		start = false
		switch {
		case open == '\'':
			if c == '\'' {
				open = 0
			}
		case c == '\\':
			if i+1 == len(s) {
				return nil, &Problem{Reason: "a backslash at the end of the line", Hint: "a line cannot go on on the next one"}
			}
			if i++; open != 0 && !strings.ContainsRune("$`\"\\", rune(s[i])) {
				b.WriteByte('\\')
			}
			b.WriteByte('\\')
			c = s[i]
		case open != 0:
			if c == open {
				open = 0
			}
		case c == '"' || c == '\'':
			open = c
		case isBlank(c):
			start = true
		case isComment(c) && atStart:
			break scan
		}
		b.WriteByte(c)
	}
	if open != 0 {
		return nil, &Problem{Reason: fmt.Sprintf("a quote (%c) is not closed", open), Hint: `write \" or \' for a quote that is meant as such`}
	}
	words, err := shlex.Split(b.String())
	if err != nil {
		return nil, &Problem{Reason: printable(err.Error())}
	}
	return words, nil
}
