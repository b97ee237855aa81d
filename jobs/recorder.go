package jobs

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"example.org/conc/config"
)

// recorder stands between an op and the outside: it masks, counts and keeps the
// end of the output, and passes it on. An op that outlives its step talks to a
// closed recorder, which hears nothing.
type recorder struct {
	mu       sync.Mutex
	closed   bool
	seen     *masker
	out      io.Writer
	progress func(done, total int64)
	note     string

	bytes int64
	lines int
	tail  tail
}

func newRecorder(env *Env, seen *masker) *recorder {
	return &recorder{seen: seen, out: env.Out, progress: env.Progress}
}

// env gives a copy of env whose ways out lead through the recorder.
func (r *recorder) env(env *Env) *Env {
	e := *env
	e.Out = r
	e.Progress = func(done, total int64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.closed && r.progress != nil {
			r.progress(done, total)
		}
	}
	e.note = func(s string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.note = s
	}
	lookup := env.Secret
	e.Secret = func(name string) (string, error) {
		v, err := lookup(name)
		if err == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen.add(v)
		}
		return v, err
	}
	return &e
}

// Write takes output of any kind. It never fails, so that a command is not
// killed by a broken pipe because somebody stopped listening.
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.emit(r.seen.feed(p))
	}
	return len(p), nil
}

func (r *recorder) emit(p []byte) {
	if len(p) == 0 {
		return
	}
	r.bytes += int64(len(p))
	r.lines += bytes.Count(p, []byte{'\n'})
	r.tail.write(p)
	if r.out != nil {
		_, _ = r.out.Write(p)
	}
}

// close passes on what was held back, and ends the recording.
func (r *recorder) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.emit(r.seen.flush())
	r.closed = true
}

// report puts what was recorded into the result.
func (r *recorder) report(res *Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res.Bytes, res.Lines, res.Tail = r.bytes, r.lines, r.tail.lines()
	if r.tail.open {
		res.Lines++
	}
	res.Note = r.seen.mask(r.note)
}

// The bounds of a tail.
const (
	tailLines = 20
	tailWidth = 1000
)

// tail keeps the last lines of a stream, each cut to a width, in bounded memory.
type tail struct {
	kept [tailLines][]byte
	n    int  // lines begun
	open bool // the last line has no newline yet
}

func (t *tail) write(p []byte) {
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		if !t.open {
			t.kept[t.n%tailLines] = t.kept[t.n%tailLines][:0]
			t.n++
			t.open = true
		}
		last := &t.kept[(t.n-1)%tailLines]
		*last = append(*last, line[:min(len(line), tailWidth-len(*last))]...)
		t.open = !ended
		p = rest
	}
}

func (t *tail) lines() []string {
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
	for i := len(line) - 1; i >= max(0, len(line)-utf8.UTFMax); i-- {
		if utf8.RuneStart(line[i]) {
			if !utf8.FullRune(line[i:]) {
				return line[:i]
			}
			break
		}
	}
	return line
}

// masker replaces secrets in a stream, however it is cut into pieces. What may
// be the start of one is held back until more is known: less than the longest
// secret, always. Its user locks.
type masker struct {
	secrets []string // the longest first
	first   [256]bool
	held    []byte
}

func (m *masker) add(secret string) {
	if secret == "" || slices.Contains(m.secrets, secret) {
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
		if len(p) < len(s) && strings.HasPrefix(s, string(p)) {
			return m.longest(p), true
		}
		if len(p) >= len(s) && string(p[:len(s)]) == s {
			return len(s), false
		}
	}
	return 0, false
}

func (m *masker) longest(p []byte) int {
	for _, s := range m.secrets {
		if bytes.HasPrefix(p, []byte(s)) {
			return len(s)
		}
	}
	return 0
}

// mask masks a text that is whole.
func (m *masker) mask(s string) string {
	out, _ := m.scan([]byte(s), true)
	return config.Mask(string(out))
}
