package jobs

import (
	"bytes"
	"unicode/utf8"
)

// The bounds of a Tail.
const (
	tailLines = 20
	tailWidth = 1000 // bytes
)

// Tail keeps the last 20 lines that are written to it, the first 1000 bytes of
// each, and counts them all. Its memory is bounded whatever comes. The zero
// value is ready; it is not safe for concurrent use.
type Tail struct {
	kept [tailLines][]byte
	n    int  // lines begun
	open bool // the last line has no newline yet
}

// Write takes output of any kind. It never fails.
func (t *Tail) Write(p []byte) (int, error) {
	n := len(p)
	p = t.skip(p)
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		if !t.open {
			t.kept[t.n%tailLines] = t.kept[t.n%tailLines][:0]
			t.n++
		}
		last := &t.kept[(t.n-1)%tailLines]
		*last = append(*last, line[:min(len(line), tailWidth-len(*last))]...)
		t.open = !ended
		p = rest
	}
	return n, nil
}

// skip counts the lines of p that the ones behind them in p would push out, and
// gives those: a flood costs no more than the search for its newlines.
func (t *Tail) skip(p []byte) []byte {
	newline := []byte{'\n'}
	cut := len(p)
	for range tailLines + 1 {
		if cut = bytes.LastIndexByte(p[:cut], '\n'); cut < 0 {
			return p
		}
	}
	t.n += bytes.Count(p[:cut+1], newline)
	if t.open { // its beginning was counted before
		t.n--
		t.open = false
	}
	return p[cut+1:]
}

// Count is how many lines there were, a last one without a newline among them.
func (t *Tail) Count() int { return t.n }

// Lines gives the last lines, without their line ends, not escaped.
func (t *Tail) Lines() []string {
	var lines []string
	for i := max(0, t.n-tailLines); i < t.n; i++ {
		line := bytes.TrimSuffix(t.kept[i%tailLines], []byte{'\r'})
		lines = append(lines, string(wholeRunes(line)))
	}
	return lines
}

// wholeRunes cuts off a character that a full line's width has split.
func wholeRunes(line []byte) []byte {
	if len(line) < tailWidth {
		return line
	}
	for i := len(line) - 1; i >= len(line)-utf8.UTFMax; i-- {
		if utf8.RuneStart(line[i]) {
			if !utf8.FullRune(line[i:]) {
				return line[:i]
			}
			break
		}
	}
	return line
}
