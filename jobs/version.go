package jobs

import (
	"cmp"
	"regexp"
	"strings"
	"sync"
)

// compareVersions orders names as people read versions: runs of digits count as
// numbers, and a pre-release comes before its release. "shop-1.4.0-rc1",
// "shop-1.4.0", "shop-1.4.0.1", "shop-1.10.0".
func compareVersions(a, b string) int {
	whole := strings.Compare(a, b)
	for a != "" || b != "" {
		if r := cmp.Compare(rank(a), rank(b)); r != 0 {
			return r
		}
		var x, y string
		x, a = chunk(a)
		y, b = chunk(b)
		if r := compareChunks(x, y); r != 0 {
			return r
		}
	}
	return whole // "1.01" and "1.1"
}

var preRelease = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(~|[-_.+]?(alpha|beta|preview|snapshot|pre|dev|rc|a|b|c)([-_.]?[0-9]|[-_.]|$))`)
})

// rank places what follows an equal beginning: a pre-release's mark comes
// before the end, and everything else after it.
func rank(rest string) int {
	switch {
	case preRelease().MatchString(strings.ToLower(rest)):
		return 0
	case rest == "":
		return 1
	}
	return 2
}

// chunk cuts the leading run of digits, or one other character, off s.
func chunk(s string) (first, rest string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == 0 {
		n = min(1, len(s))
	}
	return s[:n], s[n:]
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func compareChunks(x, y string) int {
	if x == "" || y == "" || !isDigit(x[0]) || !isDigit(y[0]) {
		return strings.Compare(x, y)
	}
	x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
}
