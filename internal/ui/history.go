package ui

import (
	"slices"
	"strings"
	"time"

	"example.org/conc/runner"
)

// Steps writes the table of a run's steps, as State has it, of a run that is
// not at work.
func Steps(steps []runner.StepState, now time.Time) string {
	return (&text{}).stateTable(steps, false, now)
}

// Noted is a Table whose last column is a note. Where it would be wider than
// width, each note has a line of its own, below its row, and rows are cut; 0 is
// no limit.
func Noted(rows [][]string, width int) string {
	table := Table(rows)
	fits := func(line string) bool { return cells(strings.TrimRight(line, "\n")) <= width }
	if width == 0 || !slices.ContainsFunc(slices.Collect(strings.Lines(table)), func(l string) bool { return !fits(l) }) {
		return table
	}
	var b strings.Builder
	short := make([][]string, len(rows))
	for i, row := range rows {
		short[i] = row[:len(row)-1]
	}
	i := 0
	for line := range strings.Lines(Table(short)) {
		b.WriteString(fit(strings.TrimRight(line, "\n"), width) + "\n")
		if note := rows[i][len(rows[i])-1]; i > 0 && note != "" {
			for _, l := range wrap(Line(note), width-len(noteIndent)) {
				b.WriteString(noteIndent + l + "\n")
			}
		}
		i++
	}
	return b.String()
}

const noteIndent = "    "

// Ago writes how long before now a moment was: "38 min ago".
func Ago(t, now time.Time) string { return ago(t, now) }

// When writes a moment with its age: "14:02 (38 min ago)".
func When(t, now time.Time) string { return since(t, now) }

// Took writes how long something took, in at most five columns.
func Took(d time.Duration) string { return took(d) }
