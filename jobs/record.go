package jobs

import (
	"time"

	"example.org/conc/bundle"
)

// RecordType is what a Record tells of.
type RecordType string

// The record types of a journal.
const (
	RecordPlan   RecordType = "plan"   // a run, or a part of one, sets out: Plan
	RecordBegin  RecordType = "begin"  // a step is about to run
	RecordEnd    RecordType = "end"    // it has ended: Result
	RecordMark   RecordType = "mark"   // a person says that a step is done: Mark
	RecordHand   RecordType = "hand"   // files that were changed by hand: Changed
	RecordTests  RecordType = "tests"  // what came of the checks after the last step: Tests
	RecordUnlock RecordType = "unlock" // the run was given up: its bundle was moved aside
)

// Record is one line of a run's journal. It never holds a secret.
type Record struct {
	Type    RecordType  `json:"type"`
	Time    time.Time   `json:"ts"`
	Step    int         `json:"step,omitempty"`
	Name    string      `json:"name,omitempty"`
	Plan    *PlanRecord `json:"plan,omitempty"`
	Result  *Result     `json:"result,omitempty"`
	Mark    *Mark       `json:"mark,omitempty"`
	Changed []string    `json:"changed,omitempty"`
	Tests   *Tests      `json:"tests,omitempty"`
}

// Tests is what came of the checks that were made after the last step of a run.
type Tests struct {
	Suite   string `json:"suite"`
	Status  Status `json:"status"`          // of what was not so before the first step
	Summary string `json:"summary"`         // "2 of 6 checks FAILED: healthy, listening"
	Known   int    `json:"known,omitempty"` // checks that are not OK, and were not before
}

// PlanRecord is the plan that a run, or a part of one, follows.
type PlanRecord struct {
	Run     string `json:"run"`
	Node    string `json:"node"`
	List    string `json:"list"`
	Digest  string `json:"digest"`
	Release string `json:"release,omitempty"` // the node's version, as its owner record has it
	Command string `json:"command"`           // "deploy" or "step"

	Program *bundle.Program `json:"program,omitempty"` // that does this part of the run
	From    int             `json:"from"`
	To      int             `json:"to"`
	By      string          `json:"by"`   // user@host
	File    string          `json:"file"` // deploy.ini's path on that host
	Steps   []Spec          `json:"steps"`
}

// Mark is a person's word for a step.
type Mark struct {
	By   string `json:"by"` // user@host
	Note string `json:"note,omitempty"`
}
