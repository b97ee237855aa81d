package jobs

import (
	"slices"
	"strconv"
	"strings"

	"example.org/conc/config"
)

// masker replaces secrets in a stream, however it is cut into pieces. What may
// be the start of one is held back until more is known: less than the longest
// secret, always. Its user locks.
type masker struct {
	secrets []string // the longest first
	first   [256]bool
	held    []byte
}

// shortLine is up to how many bytes a line of a secret is no secret by itself.
const shortLine = 5

// add has a secret masked, and the lines of one that has several: a program
// indents, joins or quotes them. It is masked in the quotes of %q, too, in which
// conc itself says what was wanted and found.
func (m *masker) add(secret string) {
	if secret == "" || slices.Contains(m.secrets, secret) {
		return
	}
	for _, line := range strings.FieldsFunc(secret, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(line); len(line) > shortLine && line != secret {
			m.add(line)
		}
	}
	m.insert(secret)
	quoted := strconv.Quote(secret)
	m.insert(quoted[1 : len(quoted)-1])
}

func (m *masker) insert(secret string) {
	if slices.Contains(m.secrets, secret) {
		return
	}
	m.secrets = append(m.secrets, secret)
	slices.SortStableFunc(m.secrets, func(a, b string) int { return len(b) - len(a) })
	m.first[secret[0]] = true
}

// feed takes the next piece, and gives what can be passed on.
func (m *masker) feed(p []byte) []byte {
	if len(m.secrets) == 0 {
		return p
	}
	in := append(m.held, p...)
	out, rest := m.scan(in, false)
	m.held = append([]byte(nil), rest...)
	return out
}

// flush gives what is held back, at the end of the stream.
func (m *masker) flush() []byte {
	out, _ := m.scan(m.held, true)
	m.held = nil
	return out
}

// scan masks in up to the point where more input could make a difference.
func (m *masker) scan(in []byte, last bool) (out, rest []byte) {
	for i := 0; i < len(in); {
		if !m.first[in[i]] {
			out = append(out, in[i])
			i++
			continue
		}
		n, undecided := m.match(in[i:])
		switch {
		case undecided && !last:
			return out, in[i:]
		case n > 0:
			out = append(out, config.Masked...)
			i += n
		default:
			out = append(out, in[i])
			i++
		}
	}
	return out, nil
}

// match gives the length of the longest secret that p starts with. undecided
// says that p is all there is of what may become a longer one.
func (m *masker) match(p []byte) (n int, undecided bool) {
	for _, s := range m.secrets {
		switch {
		case len(p) < len(s):
			undecided = undecided || s[:len(p)] == string(p)
		case string(p[:len(s)]) == s:
			return len(s), undecided
		}
	}
	return 0, undecided
}

// mask masks a text that is whole.
func (m *masker) mask(s string) string {
	out, _ := m.scan([]byte(s), true)
	return config.Mask(string(out))
}
