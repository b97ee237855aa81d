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
func quote(s string) string {
	s = Mask(s)
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	cut := maxQuoted
	for cut > maxQuoted-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "..."
}

// printable is s without quotes, escaped where it must be.
func printable(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) || r == utf8.RuneError {
			q := strconv.Quote(s)
			return q[1 : len(q)-1]
		}
	}
	return s
}
