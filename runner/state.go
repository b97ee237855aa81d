package runner

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"example.org/conc/jobs"
)

// StepState is what the journals say of one step.
type StepState struct {
	N      int
	Name   string
	Host   jobs.Host
	Status jobs.Status // "": it was not started, or is in doubt
	Doubt  bool        // it began, and no end is recorded
	Mark   *jobs.Mark  // a person said that it is done; Status is OK then
	Result *jobs.Result
	Begun  time.Time // the last time
	Ended  time.Time
	Tries  int // how often it began
}

// State is what the journals say of a run.
type State struct {
	Plan    *jobs.PlanRecord // the last one; nil: nothing is recorded
	First   *jobs.PlanRecord // the one that the run began with
	Steps   []StepState      // of that plan, by number
	Since   time.Time
	Last    time.Time // of the last record
	Changed []string  // by hand, the last time somebody looked
	GivenUp bool      // its bundle was moved aside

	Tests *jobs.Tests // the last ones after its last step; nil: there were none
}

// Fold reads a journal from its first record to its last.
func Fold(records []jobs.Record) State { return State{}.With(records...) }

// With gives the state after further records.
func (s State) With(records ...jobs.Record) State {
	s.Steps = slices.Clone(s.Steps)
	for _, r := range records {
		if s.Since.IsZero() {
			s.Since = r.Time
		}
		s.Last = r.Time
		switch r.Type {
		case jobs.RecordPlan:
			s.follow(r.Plan)
			continue
		case jobs.RecordHand:
			s.Changed = r.Changed
			continue
		case jobs.RecordTests:
			s.Tests = r.Tests
			continue
		case jobs.RecordUnlock:
			s.GivenUp = true
			continue
		}
		if r.Step < 1 || r.Step > len(s.Steps) {
			continue // of a plan that is no longer followed
		}
		step := &s.Steps[r.Step-1]
		switch r.Type {
		case jobs.RecordBegin:
			step.Status, step.Doubt, step.Mark, step.Result = "", true, nil, nil
			step.Begun, step.Tries = r.Time, step.Tries+1
		case jobs.RecordEnd:
			if r.Result != nil {
				step.Status, step.Doubt, step.Result, step.Ended = r.Result.Status, false, r.Result, r.Time
			}
		case jobs.RecordMark:
			step.Status, step.Doubt, step.Mark, step.Ended = jobs.OK, false, r.Mark, r.Time
		}
	}
	return s
}

// follow takes a plan up. What is known of the steps stays, as far as the new
// plan has a step of that number: that a changed plan is followed is somebody's
// decision, and was recorded as such.
func (s *State) follow(p *jobs.PlanRecord) {
	if p == nil {
		return
	}
	if s.First == nil {
		s.First = p
	}
	s.Plan, s.Tests = p, nil
	steps := make([]StepState, len(p.Steps))
	copy(steps, s.Steps)
	for i, spec := range p.Steps {
		steps[i].N, steps[i].Name, steps[i].Host = i+1, spec.Name, spec.Host
	}
	s.Steps = steps
}

// Find gives the number of the step that s names, by number or by name.
func (s State) Find(step string) (int, error) {
	for _, x := range s.Steps {
		if x.Name == step || strconv.Itoa(x.N) == step {
			return x.N, nil
		}
	}
	return 0, fmt.Errorf("the run has no step %q; it has %d", step, len(s.Steps))
}

// Next is the step that a resume begins with: the first that is not OK. 0: all
// of them are.
func (s State) Next() int {
	for _, step := range s.Steps {
		if step.Status != jobs.OK {
			return step.N
		}
	}
	return 0
}

// Interrupted tells whether there is something to go on with: a step was done,
// and not all of them were.
func (s State) Interrupted() bool {
	return !s.GivenUp && s.Next() != 0 && slices.ContainsFunc(s.Steps, func(x StepState) bool { return x.Tries > 0 && (x.N > 1 || x.Status == jobs.OK || x.Doubt) })
}

// InDoubt is the step that began and has no end on record; 0: there is none.
func (s State) InDoubt() int {
	for _, step := range s.Steps {
		if step.Doubt {
			return step.N
		}
	}
	return 0
}

// Merge joins what the node has recorded of a run with what this workstation
// has: the records of its local steps travel to the node without being waited
// for, so the last of them may have been lost on the way when the line went.
// Such a record comes where it was made: after those before it, and before what
// any later part of the run has recorded.
func Merge(node, workstation []jobs.Record) []jobs.Record {
	if len(node) == 0 {
		return slices.Clone(workstation)
	}
	// The longest sequence of records that both have: the plan of a part of the
	// run that did not reach the node may look like that of another.
	common := make([][]int, len(workstation)+1)
	common[len(workstation)] = make([]int, len(node)+1)
	for i := len(workstation) - 1; i >= 0; i-- {
		common[i] = make([]int, len(node)+1)
		for j := len(node) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); sameRecord(node[j], workstation[i]) {
				common[i][j] = max(common[i][j], common[i+1][j+1]+1)
			}
		}
	}
	lost := map[int][]jobs.Record{} // by the node's record that they come after
	at := 0
	for i, j := 0, 0; i < len(workstation); {
		switch {
		case j < len(node) && sameRecord(node[j], workstation[i]) && common[i][j] == common[i+1][j+1]+1:
			at = j
			i, j = i+1, j+1
		case common[i][j] > 0 && common[i][j] == common[i][j+1]:
			j++
		default:
			if workstation[i].Type != jobs.RecordPlan {
				lost[at] = append(lost[at], workstation[i])
			}
			i++
		}
	}
	all := make([]jobs.Record, 0, len(node)+len(workstation))
	for i, r := range node {
		all = append(append(all, r), lost[i]...)
	}
	return all
}

// sameRecord tells whether the node's record n is the workstation's record w. A
// plan is recorded by each of them, at its own time.
func sameRecord(n, w jobs.Record) bool {
	if n.Type != w.Type || n.Type == jobs.RecordPlan && (n.Plan == nil || w.Plan == nil) {
		return false
	}
	if n.Type == jobs.RecordPlan {
		return n.Plan.Command == w.Plan.Command && n.Plan.From == w.Plan.From && n.Plan.To == w.Plan.To &&
			n.Plan.By == w.Plan.By && n.Plan.File == w.Plan.File && n.Plan.Digest == w.Plan.Digest
	}
	return n.Step == w.Step && n.Time.Equal(w.Time)
}
