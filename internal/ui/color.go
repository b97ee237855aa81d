package ui

import (
	"os"

	"golang.org/x/term"
)

// Color tells whether what is written to w may be coloured. The first that
// says something wins: the flag (always, never), NO_COLOR, CLICOLOR_FORCE, and
// then whether w is a terminal that can.
func Color(flag string, getenv func(string) string, w any) bool {
	switch {
	case flag == "always":
		return true
	case flag == "never":
		return false
	case getenv("NO_COLOR") != "":
		return false
	case getenv("CLICOLOR_FORCE") != "" && getenv("CLICOLOR_FORCE") != "0":
		return true
	}
	return Terminal(w) && getenv("TERM") != "dumb" && getenv("TERM") != ""
}

// Terminal tells whether a stream is a terminal.
func Terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Height gives the lines of the terminal that a stream is, or 24.
func Height(stream any) int {
	if f, ok := stream.(*os.File); ok {
		if _, h, err := term.GetSize(int(f.Fd())); err == nil && h > 0 {
			return h
		}
	}
	return 24
}

// Width gives the columns of the terminal that a stream is, or 80.
func Width(stream any) int {
	if f, ok := stream.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 80
}
