package nodetest

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// bound is a limit such as ">=10": an operator and a number.
type bound struct {
	op    string // < <= = >= >
	limit float64
}

// operators, the longer ones first.
var operators = []string{"<=", ">=", "<", ">", "="}

// readBound reads "[OPERATOR]NUMBER"; otherwise is the operator where none is
// written, number reads what follows.
func readBound(s, otherwise string, number func(string) (float64, error)) (bound, error) {
	b := bound{op: otherwise}
	for _, op := range operators {
		if rest, ok := strings.CutPrefix(s, op); ok {
			b.op, s = op, rest
			break
		}
	}
	var err error
	b.limit, err = number(strings.TrimSpace(s))
	return b, err
}

func (b bound) holds(v float64) bool {
	c := cmp.Compare(v, b.limit)
	switch b.op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return c == 0
}

// isBound judges a value for a grammar.
func isBound(number func(string) (float64, error)) func(string) error {
	return func(s string) error {
		_, err := readBound(s, "=", number)
		return err
	}
}

// plainNumber reads "12" or "0.5".
func plainNumber(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v != v || v > 1e18 || v < -1e18 {
		return 0, errors.New("not a number")
	}
	return v, nil
}

// units of sizes, binary as df -h and ls -h have them.
var units = []struct {
	suffix string
	factor float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"K", 1 << 10},
	{"M", 1 << 20},
	{"G", 1 << 30},
	{"T", 1 << 40},
	{"B", 1},
}

// sizeNumber reads bytes: "512", "10K", "1.5GiB".
func sizeNumber(s string) (float64, error) {
	factor := 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, factor = rest, u.factor
			break
		}
	}
	v, err := plainNumber(s)
	if err != nil || v < 0 {
		return 0, errors.New("not a size: write 512, 10K, 1.5GiB")
	}
	return v * factor, nil
}

// percentNumber reads "90%" or "90".
func percentNumber(s string) (float64, error) {
	v, err := plainNumber(strings.TrimSuffix(s, "%"))
	if err != nil || v < 0 || v > 100 {
		return 0, errors.New("not a percentage from 0% to 100%")
	}
	return v, nil
}

// secondsNumber reads a duration: "500ms", "2s", "24h".
func secondsNumber(s string) (float64, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("not a duration: write 500ms, 2s, 24h")
	}
	return d.Seconds(), nil
}

// showSize writes bytes for people.
func showSize(n float64) string {
	for i := 3; i >= 0; i-- {
		if u := units[i]; n >= u.factor {
			return strconv.FormatFloat(n/u.factor, 'f', 1, 64) + " " + u.suffix
		}
	}
	return strconv.FormatFloat(n, 'f', 0, 64) + " B"
}

// The properties of texts: those of file, command and http.
const (
	contains = "contains" // has this text in it
	lacks    = "lacks"    // does not have this text in it
	matches  = "matches"  // a regular expression is found in it
)

func isPattern(s string) error {
	if _, err := regexp.Compile(s); err != nil {
		return fmt.Errorf("not a regular expression: %w", err)
	}
	return nil
}

// onText judges a text by one of its properties; what names the text: "" when
// there is but one.
func onText(what string, w want, text []byte) Finding {
	var ok bool
	switch w.property {
	case contains:
		ok = strings.Contains(string(text), w.value)
	case lacks:
		ok = !strings.Contains(string(text), w.value)
	case matches:
		p, err := regexp.Compile("(?m)" + w.value)
		ok = err == nil && p.Match(text)
	}
	return Finding{
		OK:   ok,
		Want: strings.TrimSpace(fmt.Sprintf("%s %s %s", what, w.property, strconv.Quote(w.value))),
		Got:  excerpt(text),
	}
}

// maxExcerpt bounds what is shown of a text.
const maxExcerpt = 200

// excerpt gives the beginning of a text, for people.
func excerpt(text []byte) string {
	s := strings.TrimRight(string(text[:min(len(text), maxExcerpt)]), "\n")
	if len(text) > maxExcerpt {
		return strings.ToValidUTF8(s, string(utf8.RuneError)) + fmt.Sprintf(" [... %d bytes in all]", len(text))
	}
	if s == "" {
		return "nothing"
	}
	return strings.ToValidUTF8(s, string(utf8.RuneError))
}
