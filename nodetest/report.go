package nodetest

import (
	"context"
	"errors"
	"time"

	"example.org/conc/jobs"
)

// Report is what came of one node's checks and tests.
type Report struct {
	Node    string        `json:"node"`
	Target  string        `json:"target"` // user@host:port
	Suite   string        `json:"suite,omitempty"`
	Begun   time.Time     `json:"begun"`
	Took    time.Duration `json:"took"` // nanoseconds
	Results []Result      `json:"results"`

	// Of a node that could not be asked, or not to the end.
	Err error `json:"-"`
}

// Status is the report's as a whole. Of a node that could not be asked it is
// what the error says, STOPPED when the operator ended it, and ERROR otherwise.
func (r Report) Status() jobs.Status {
	var e *jobs.Error
	switch {
	case r.Err == nil:
	case errors.As(r.Err, &e) && e.Status != jobs.OK && e.Status != "":
		return e.Status
	case errors.Is(r.Err, context.Canceled):
		return jobs.Stopped
	default:
		return jobs.Errored
	}
	return Worst(r.Results)
}

// Counts tells how many results have each status; what was known before is not
// among those that are bad.
func (r Report) Counts() (counts map[jobs.Status]int, known int) {
	counts = map[jobs.Status]int{}
	for _, res := range r.Results {
		if res.Known && res.Bad() {
			known++
			continue
		}
		counts[res.Status]++
	}
	return counts, known
}
