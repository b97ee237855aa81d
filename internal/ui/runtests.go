package ui

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
	"example.org/conc/runner"
)

// tests writes what came of the checks that go with a run: how many, and of
// those after it, what is not as it was before.
func (t *text) tests(e runner.Event) {
	r := e.Tests
	worse := e.After && (r.Err != nil || nodetest.Worst(r.Results) != jobs.OK)
	if t.o.Quiet && !worse || t.fleet() && r.Err == nil && !slices.ContainsFunc(r.Results, nodetest.Result.Bad) {
		return
	}
	prefix := t.prefix(e.Node)
	if e.After && !t.many() {
		t.gap()
	}
	t.printf("%schecks of %s, %s: %s  %s\n", prefix, Line(r.Suite), when(e), Line(counted(*r)), took(r.Took))
	var b bytes.Buffer
	one := Tests{Out: &b, Color: t.o.Color}
	for _, res := range r.Results {
		if t.o.Verbose || e.After && res.Bad() && !res.Known {
			one.Result(res)
		}
	}
	for l := range strings.Lines(b.String()) {
		t.printf("%s%s", prefix, l)
	}
	if known := knownNames(*r, e.After); known != "" {
		t.printf("%s%s\n", prefix, Line(known))
	}
	if !e.After && !t.many() && r.Err == nil {
		t.gap()
	}
}

func when(e runner.Event) string {
	if e.After {
		return "after"
	}
	return "before"
}

// counted gives "4 OK, 2 FAILED".
func counted(r nodetest.Report) string {
	counts, known := r.Counts()
	parts := countsOf(counts)
	if known > 0 {
		parts = append(parts, fmt.Sprintf("%d known", known))
	}
	if r.Err != nil {
		parts = append(parts, "not made to the end")
	}
	if len(parts) == 0 {
		return Count(0, "check")
	}
	return strings.Join(parts, ", ")
}

// knownMax is how many checks are named that are known not to be OK.
const knownMax = 8

func knownNames(r nodetest.Report, after bool) string {
	var names []string
	for _, res := range r.Results {
		if res.Bad() && (res.Known || !after) {
			names = append(names, res.Name)
		}
	}
	if n := len(names) - knownMax; n > 0 {
		names = append(names[:knownMax], fmt.Sprintf("and %d more", n))
	}
	switch {
	case names == nil:
		return ""
	case after:
		return "  known from before: " + strings.Join(names, ", ")
	}
	return "  known from here on: " + strings.Join(names, ", ")
}

// testsRecord is a line of JSON about the checks that go with a run.
type testsRecord struct {
	V       int            `json:"v"`
	Type    string         `json:"type"`
	TS      string         `json:"ts"`
	Run     string         `json:"run"`
	Node    string         `json:"node"`
	When    string         `json:"when"`
	Suite   string         `json:"suite"`
	Status  jobs.Status    `json:"status"`
	MS      int64          `json:"ms"`
	Known   int            `json:"known"`
	Counts  map[string]int `json:"counts"`
	Message string         `json:"message,omitempty"`
	Hint    string         `json:"hint,omitempty"`
	Checks  []testedCheck  `json:"checks"`
}

type testedCheck struct {
	N       int         `json:"n"`
	Name    string      `json:"name"`
	Check   string      `json:"check"`
	Status  jobs.Status `json:"status"`
	Known   bool        `json:"known,omitempty"`
	MS      int64       `json:"ms"`
	Want    []string    `json:"want,omitempty"`
	Got     []string    `json:"got,omitempty"`
	Message string      `json:"message,omitempty"`
	Hint    string      `json:"hint,omitempty"`
}

func (j *jsonLines) tests(e runner.Event) {
	r := testsRecord{
		V: 1, Type: string(e.Type), TS: e.Time.UTC().Format(lineTime), Run: bundle.Short(e.Run), Node: e.Node,
		When: when(e), Suite: e.Tests.Suite, Status: e.Tests.Status(), MS: e.Tests.Took.Milliseconds(), Counts: map[string]int{}, Checks: []testedCheck{},
	}
	counts, known := e.Tests.Counts()
	for s, n := range counts {
		r.Counts[string(s)] = n
	}
	r.Known = known
	if e.Tests.Err != nil {
		r.Message, r.Hint = e.Tests.Err.Error(), j.o.Hint(e.Tests.Err)
	}
	for _, c := range e.Tests.Results {
		r.Checks = append(r.Checks, testedCheck{c.N, c.Name, c.Check, c.Status, c.Known, c.Took.Milliseconds(), c.Want, c.Got, c.Text, c.Hint})
	}
	if line, err := JSON(r); err == nil { // no field of it can cause an error
		_, _ = j.out.Write(line)
	}
}

// logTests adds to a line of the log what came of checks.
func logTests(line *zerolog.Event, e runner.Event) *zerolog.Event {
	r := e.Tests
	return line.Str("when", when(e)).Str("suite", r.Suite).Str("status", string(r.Status())).Dur("took", r.Took.Round(time.Microsecond)).
		AnErr("error", r.Err).Interface("results", r.Results)
}
