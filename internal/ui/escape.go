package ui

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Escape makes text from a node, a file or a person harmless to a terminal:
// every control character but newline becomes its escape (\x1b, \r, \t stays a
// tab's worth of space), bytes that are not UTF-8 become \xNN, and characters
// that reorder or hide text \u202e. It does not change what has none of them.
func Escape(s string) string { return escape(s, true) }

// Line is Escape for text that must stay on one line: a newline becomes \n.
func Line(s string) string { return escape(s, false) }

func escape(s string, newlines bool) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || harmful(r) && (r != '\n' || !newlines) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n <= 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\n' && newlines, !harmful(r):
			b.WriteString(s[:n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString("    ")
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// harmful tells whether a terminal would act on r, or a reader be deceived by it.
func harmful(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0: // C0, DEL, C1
		return true
	case r >= 0x200b && r <= 0x200f: // zero width, direction marks
		return true
	case r >= 0x2028 && r <= 0x202e: // line and paragraph separator, bidi embedding and override
		return true
	case r >= 0x2060 && r <= 0x206f: // word joiner, bidi isolates, deprecated format characters
		return true
	}
	return r == 0xfeff || r == 0x061c || r >= 0xe0000 && r <= 0xe007f
}
