package nodetest

import (
	"time"
	"unicode/utf8"

	"example.org/conc/jobs"
)

// Skipped is the status of a check that has nothing to look at on its host. The
// others are those of jobs: OK, FAILED, ERROR and TIMED OUT.
const Skipped jobs.Status = "SKIPPED"

// Result is how one check, or one Go test, ended. What a host says in it is not
// escaped; secrets are masked.
type Result struct {
	N      int           `json:"n"` // from 1, in the suite
	Name   string        `json:"name"`
	Check  string        `json:"check,omitempty"` // the check's kind, "go test" for a Go test
	Status jobs.Status   `json:"status"`
	Want   []string      `json:"want,omitempty"` // of what was not as wanted
	Got    []string      `json:"got,omitempty"`  // as many
	Text   string        `json:"text,omitempty"` // why it is SKIPPED, ERROR or TIMED OUT
	Hint   string        `json:"hint,omitempty"`
	Output []string      `json:"output,omitempty"` // the last lines of a Go test
	Took   time.Duration `json:"took"`             // nanoseconds, with all its tries
	Tries  int           `json:"tries,omitempty"`  // when there was more than one
	Known  bool          `json:"known,omitempty"`  // it was so before, too: see deploy --test

	Alive bool `json:"alive,omitempty"` // it did not heed its end, and may be running still
}

// Bad tells whether a result is neither OK nor SKIPPED.
func (r Result) Bad() bool { return r.Status != jobs.OK && r.Status != Skipped }

// Worst gives the status of results as a whole: the worst that one of them has.
// ERROR is before FAILED, and that before TIMED OUT. What was known before does
// not count.
func Worst(results []Result) jobs.Status {
	worst := jobs.OK
	for _, r := range results {
		switch {
		case r.Known || !r.Bad():
		case r.Status == jobs.Errored, worst == jobs.OK, worst == jobs.TimedOut && r.Status == jobs.Failed:
			worst = r.Status
		}
	}
	return worst
}

// The bounds of what one result holds.
const (
	maxFindings = 50
	maxText     = 2 << 10
)

// bounded cuts a text that nobody would read to its end.
func bounded(s string) string {
	if len(s) <= maxText {
		return s
	}
	s = s[:maxText]
	for !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) && len(s) > maxText-utf8.UTFMax {
		s = s[:len(s)-1]
	}
	return s + " [...]"
}

// sober makes sure of a result that came over the line: a node can say anything.
func (r Result) sober() Result {
	switch r.Status {
	case jobs.OK, jobs.Failed, jobs.Errored, jobs.TimedOut, Skipped:
	default:
		r.Status, r.Text = jobs.Errored, "a result without a status"
	}
	r.Want, r.Got = r.Want[:min(len(r.Want), maxFindings)], r.Got[:min(len(r.Got), maxFindings)]
	if len(r.Want) != len(r.Got) {
		r.Want, r.Got = nil, nil
	}
	for i := range r.Want {
		r.Want[i], r.Got[i] = bounded(r.Want[i]), bounded(r.Got[i])
	}
	r.Output = r.Output[max(0, len(r.Output)-maxFindings):]
	for i := range r.Output {
		r.Output[i] = bounded(r.Output[i])
	}
	r.Text, r.Hint, r.Took, r.Tries = bounded(r.Text), bounded(r.Hint), max(r.Took, 0), max(r.Tries, 0)
	return r
}
