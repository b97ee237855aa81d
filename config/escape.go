package config

import (
	"strconv"
	"unicode/utf8"
)

// maxQuoted is how many bytes of a text a message repeats.
const maxQuoted = 80

// quote writes text from a file or a command line for a message: in quotes, on
// one line, whatever a terminal could take for a command escaped, and long text
// cut.
func quote(s string) string { return strconv.Quote(cut(Mask(s))) }

// cut shortens a text that is too long for a message.
func cut(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	end := maxQuoted
	for !utf8.RuneStart(s[end]) && end > maxQuoted-utf8.UTFMax {
		end--
	}
	return s[:end] + "..."
}

// printable is s without quotes, escaped when there is something to escape.
func printable(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) || r == utf8.RuneError {
			q := strconv.Quote(s)
			return q[1 : len(q)-1]
		}
	}
	return s
}
