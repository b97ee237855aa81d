package nodetest

import (
	"cmp"
	"strings"
)

// compareRPM compares two versions [EPOCH:]VERSION[-RELEASE] as rpm does it:
// -1, 0 or 1. rpm has no query for it that all its releases know.
func compareRPM(a, b string) int {
	ea, va, ra := splitRPM(a)
	eb, vb, rb := splitRPM(b)
	return cmp.Or(compareRPMPart(ea, eb), compareRPMPart(va, vb), compareRPMPart(ra, rb))
}

func splitRPM(s string) (epoch, version, release string) {
	epoch = "0"
	if e, rest, ok := strings.Cut(s, ":"); ok {
		epoch, s = e, rest
	}
	version = s
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		version, release = s[:i], s[i+1:]
	}
	return epoch, version, release
}

// compareRPMPart compares segments of digits and of letters, one by one; what
// separates them does not count. "~" is before all, the end too; "^" is after
// the end, and before all else.
func compareRPMPart(a, b string) int {
	for a != "" || b != "" {
		a, b = strings.TrimLeftFunc(a, separates), strings.TrimLeftFunc(b, separates)
		if ta, tb := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~"); ta || tb {
			if !ta || !tb {
				return order(!ta)
			}
			a, b = a[1:], b[1:]
			continue
		}
		if ca, cb := strings.HasPrefix(a, "^"), strings.HasPrefix(b, "^"); ca || cb {
			switch {
			case ca && cb:
				a, b = a[1:], b[1:]
				continue
			case ca:
				return order(b == "")
			}
			return order(a != "")
		}
		if a == "" || b == "" {
			return cmp.Compare(len(a), len(b))
		}
		kind := isLetter
		if isDigit(rune(a[0])) {
			kind = isDigit
		}
		var sa, sb string
		sa, a = segment(a, kind)
		sb, b = segment(b, kind)
		if sb == "" { // of the other kind: digits are newer than letters
			return order(isDigit(rune(sa[0])))
		}
		if isDigit(rune(sa[0])) {
			sa, sb = strings.TrimLeft(sa, "0"), strings.TrimLeft(sb, "0")
			if len(sa) != len(sb) {
				return cmp.Compare(len(sa), len(sb))
			}
		}
		if c := cmp.Compare(sa, sb); c != 0 {
			return c
		}
	}
	return 0
}

// order is 1 when the first is newer, otherwise -1.
func order(newer bool) int {
	if newer {
		return 1
	}
	return -1
}

func isDigit(r rune) bool   { return '0' <= r && r <= '9' }
func isLetter(r rune) bool  { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }
func separates(r rune) bool { return !isDigit(r) && !isLetter(r) && r != '~' && r != '^' }

// segment cuts off the beginning that is all of one kind.
func segment(s string, kind func(rune) bool) (head, tail string) {
	tail = strings.TrimLeftFunc(s, kind)
	return s[:len(s)-len(tail)], tail
}
