package nodetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"

	"example.org/conc/jobs"
)

// goTestKind is the kind of check that a Go test is.
const goTestKind = "go test"

// testMarker begins each line by which a test program run with
// -test.v=test2json says what it does, as cmd/test2json has it.
const testMarker = 0x16

// The bounds of what a test program may say.
const (
	maxTests    = 10_000
	maxTestLine = 64 << 10
	maxLead     = 10 // lines that are kept of what came before a crash
)

// testOutput makes results of what a test program prints.
type testOutput struct {
	pkg    string
	report func(Result)

	open    map[string]*runningTest
	order   []*runningTest // as they began
	current *runningTest   // whose output comes
	ended   *runningTest   // has its status; more of its output may come
	rest    runningTest    // the program's own output
	count   int            // of results
	bad     bool           // one of them
	late    bool           // the program says that its time is over
	many    bool           // there are more than anybody asked for
}

// runningTest is a test that has begun.
type runningTest struct {
	name    string
	result  Result
	lines   []string
	crashed bool
}

func newTestOutput(pkg string, report func(Result)) *testOutput {
	o := &testOutput{pkg: pkg, report: report, open: map[string]*runningTest{}}
	o.current = &o.rest
	return o
}

// read takes all that comes, however much that is.
func (o *testOutput) read(in io.Reader) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4096), maxTestLine+1)
	lines.Split(splitTestLines)
	for lines.Scan() {
		o.line(lines.Bytes())
	}
	_, _ = io.Copy(io.Discard, in)
}

// splitTestLines cuts before a marker too, and what is too long.
func splitTestLines(data []byte, atEOF bool) (int, []byte, error) {
	for i, c := range data {
		switch {
		case c == '\n':
			return i + 1, bytes.TrimSuffix(data[:i], []byte("\r")), nil
		case c == testMarker && i > 0:
			return i, data[:i], nil
		}
	}
	if len(data) > 0 && (atEOF || len(data) >= maxTestLine) {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func (o *testOutput) line(line []byte) {
	if len(line) == 0 || line[0] != testMarker {
		o.late = o.late || bytes.HasPrefix(line, []byte("panic: test timed out after "))
		o.current.add(string(line))
		return
	}
	o.flush()
	text := string(line[1:])
	if word, ok := strings.CutPrefix(text, "=== "); ok {
		action, name, _ := strings.Cut(word, " ")
		name = strings.TrimLeft(name, " ")
		if action == "ATTR" || action == "ARTIFACTS" {
			name, _, _ = strings.Cut(name, " ")
		}
		o.current = o.test(name)
		return
	}
	verdict, name, ok := strings.Cut(strings.TrimPrefix(strings.TrimLeft(text, " "), "--- "), ": ")
	status, known := map[string]jobs.Status{"PASS": jobs.OK, "FAIL": jobs.Failed, "SKIP": Skipped}[verdict]
	if !ok || !known {
		return // its last word
	}
	took := time.Duration(0)
	if i := strings.LastIndex(name, " ("); i >= 0 {
		took, _ = time.ParseDuration(strings.TrimSuffix(name[i+2:], ")"))
		name = name[:i]
	}
	t := o.test(name)
	t.result.Status, t.result.Took = status, took
	o.current, o.ended = t, t
}

// test finds a test that has begun, or begins it. Of no name, it is the program.
func (o *testOutput) test(name string) *runningTest {
	if t := o.open[name]; t != nil {
		return t
	}
	if o.many = o.many || o.count+len(o.open) >= maxTests; o.many || name == "" {
		return &o.rest
	}
	t := &runningTest{name: name}
	o.open[name] = t
	o.order = append(o.order, t)
	return t
}

// add keeps the last lines; of a crash, the first.
func (t *runningTest) add(line string) {
	if !t.crashed && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		t.crashed = true
		t.lines = t.lines[max(0, len(t.lines)-maxLead):]
	}
	switch {
	case len(t.lines) < maxFindings:
	case t.crashed:
		return
	default:
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, bounded(strings.ToValidUTF8(line, "\uFFFD")))
}

// flush reports the test that has ended.
func (o *testOutput) flush() {
	if t := o.ended; t != nil && t != &o.rest {
		o.tell(t)
	}
	o.ended = nil
}

func (o *testOutput) tell(t *runningTest) {
	delete(o.open, t.name)
	for i := range o.order {
		if o.order[i] == t {
			o.order = append(o.order[:i], o.order[i+1:]...)
			break
		}
	}
	r := t.result
	r.Name = o.pkg
	if t.name != "" {
		r.Name += ": " + t.name
	}
	if r.Output = t.lines; r.Status == Skipped {
		r.Text, r.Output = skipReason(t.lines), nil
	}
	o.emit(r)
}

func (o *testOutput) emit(r Result) {
	o.count++
	o.bad = o.bad || r.Bad()
	r.Check = goTestKind
	o.report(r.sober())
}

// logPrefix is where a test says something.
var logPrefix = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^ *\S+\.go:\d+: `) })

// skipReason is what a test said last.
func skipReason(lines []string) string {
	last := 0
	for i, l := range lines {
		if logPrefix().MatchString(l) {
			last = i
		}
	}
	var words []string
	for _, l := range lines[min(last, len(lines)):] {
		words = append(words, strings.TrimSpace(logPrefix().ReplaceAllString(l, "")))
	}
	return strings.Join(words, "\n")
}

// end tells of the tests that did not end, and of the program itself.
func (o *testOutput) end(g GoRun, ended goEnded, said *jobs.Error) {
	if t := o.ended; t != nil && t.crashed {
		t.result.Text = "the test program ended in it: the tests after it did not run"
	}
	o.flush()
	how := fmt.Sprintf("exit %d", ended.Exit)
	switch {
	case ended.Signal != 0:
		how = fmt.Sprintf("signal %d", ended.Signal)
	case said != nil:
		how = said.Error()
	}
	unended := jobs.Errored
	text := "the test program ended before the test did: " + how
	if ended.TooLong || o.late && ended.Exit != 0 {
		unended, text = jobs.TimedOut, fmt.Sprintf("over the limit of %v for the package", g.Limit)
	}
	hung := len(o.order)
	for len(o.order) > 0 {
		t := o.order[0]
		t.result.Status, t.result.Text = unended, text
		o.tell(t)
	}
	own := Result{Name: o.pkg, Status: jobs.Errored, Output: o.rest.lines}
	switch {
	case said != nil:
		own.Text, own.Hint = said.Error(), said.Hint
		if said.Status == jobs.TimedOut {
			own.Status = jobs.TimedOut
		}
	case o.many:
		own.Text = fmt.Sprintf("it has over %d tests, of which not all are told here", maxTests)
	case hung == 0 && unended == jobs.TimedOut:
		own.Status, own.Text = unended, text
	case (ended.Exit != 0 || ended.Signal != 0) && !o.bad:
		own.Status, own.Text = jobs.Failed, "the test program ended with "+how+", and no test failed"
	case o.count == 0 && len(g.Only) > 0:
		own = Result{Name: o.pkg, Status: Skipped, Text: "--only names none of its tests"}
	case o.count == 0:
		own.Text, own.Hint = "it ran no test", "are there functions TestXxx in its files _test.go, and does TestMain call m.Run?"
	default:
		return
	}
	o.emit(own)
}

// runPattern makes of patterns as path.Match has them what -test.run takes.
func runPattern(patterns []string) (string, error) {
	var all []string
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return "", fmt.Errorf("the pattern %q cannot be read", p)
		}
		var levels []string
		for level := range strings.SplitSeq(p, "/") {
			expr, err := levelPattern(level)
			if err != nil {
				return "", fmt.Errorf("the pattern %q: %w", p, err)
			}
			levels = append(levels, "^"+expr+"$")
		}
		all = append(all, strings.Join(levels, "/"))
	}
	return strings.Join(all, "|"), nil
}

// levelPattern is one level of a test's name.
func levelPattern(glob string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteByte('.')
		case '[':
			n := strings.IndexByte(glob[i:], ']')
			if n < 0 || strings.ContainsAny(glob[i+1:i+n], `\[`) {
				return "", errors.New("its brackets hold what cannot be told to a Go test")
			}
			b.WriteString(glob[i : i+n+1])
			i += n
		case '\\':
			i++
			fallthrough
		default:
			if i < len(glob) {
				b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
			}
		}
	}
	return b.String(), nil
}
