package ui

import (
	"time"

	"example.org/conc/runner"
)

// Steps writes the table of a run's steps, as State has it, of a run that is
// not at work.
func Steps(steps []runner.StepState, now time.Time) string {
	return (&text{}).stateTable(steps, false, now)
}

// Ago writes how long before now a moment was: "38 min ago".
func Ago(t, now time.Time) string { return ago(t, now) }

// When writes a moment with its age: "14:02 (38 min ago)".
func When(t, now time.Time) string { return since(t, now) }

// Took writes how long something took, in at most five columns.
func Took(d time.Duration) string { return took(d) }
