package nodetest

import (
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

// Status is the report's as a whole: ERROR for a node that could not be asked.
func (r Report) Status() jobs.Status {
	if r.Err != nil {
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
