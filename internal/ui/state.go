package ui

import (
	"fmt"
	"strings"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// Found is what was found out of a node, to be shown.
type Found struct {
	Node    string
	Target  string            // user@host:port
	Held    *bundle.HeldError // nil: it is free
	State   runner.State
	Changed []string    // in the bundle: what is not as it was delivered
	Next    [][2]string // what to type: a label, a command
	Now     time.Time
	Color   bool
	Width   int // of the terminal, to which the table is cut; 0: not at all
}

// maxFilesShown is how many files that were changed by hand are shown.
const maxFilesShown = 10

// State writes who holds a node, how far that run is, and what to type.
func State(f Found) string {
	t := &text{o: Options{Color: f.Color, Now: func() time.Time { return f.Now }}}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s = %s", Line(f.Node), Line(f.Target))
	h := f.Held
	row := func(label, s string) { line("  %-8s  %s", label, Line(config.Mask(s))) }
	switch {
	case h == nil:
		line("free: nobody holds it")
		if p := f.State.Plan; p != nil {
			row("left", fmt.Sprintf("run %s has closed the bundle there, and is not at its end", bundle.Short(p.Run)))
		}
	case h.Owner == nil:
		row("holder", "unknown: "+h.Dir+" has no record of its owner")
	default:
		row("holder", fmt.Sprintf("%s@%s, run %s, since %s", h.Owner.User, h.Owner.Host, bundle.Short(h.Owner.Run), since(h.Owner.Since, f.Now)))
		if h.Alive {
			row("agent", "at work on the node now")
		} else {
			row("agent", "not running")
		}
		if p := f.State.Plan; p != nil && p.By != h.Owner.User+"@"+h.Owner.Host {
			row("last by", p.By)
		}
		if p := f.State.Plan; p != nil && p.Program.Own() {
			row("program", p.Program.String())
		} else if h.Owner.Program.Own() {
			row("program", h.Owner.Program.String())
		}
		if h.Owner.Message != "" {
			row("note", `"`+h.Owner.Message+`"`)
		}
	}
	label := "by hand"
	for i, file := range f.Changed {
		if i == maxFilesShown {
			row("", fmt.Sprintf("and %d more: %s", len(f.Changed)-i, "--json has them"))
			break
		}
		row(label, file)
		label = ""
	}
	if steps := f.State.Steps; len(steps) > 0 {
		b.WriteString("\n")
		for row := range strings.Lines(t.stateTable(steps, h != nil && h.Alive, f.Now)) {
			if row = strings.TrimRight(row, "\n"); f.Width > 0 {
				row = fit(row, f.Width)
			}
			line("%s", row)
		}
	} else if h != nil && h.Owner != nil {
		row("steps", "not known: the node's record of this run is missing or empty")
	}
	if len(f.Next) > 0 {
		b.WriteString("\n")
	}
	for _, n := range f.Next {
		line("  %-13s  %s", n[0], Line(n[1]))
	}
	return b.String()
}

func (t *text) stateTable(steps []runner.StepState, alive bool, now time.Time) string {
	rows := make([][]string, len(steps))
	for i, s := range steps {
		status, span, note := string(s.Status), "", ""
		switch {
		case s.Mark != nil:
			note = "marked by " + s.Mark.By
			if s.Mark.Note != "" {
				note += `: "` + s.Mark.Note + `"`
			}
		case s.Doubt && alive:
			status, note = "RUNNING", "since "+since(s.Begun, now)
		case s.Doubt:
			status, note = "in doubt", "began "+since(s.Begun, now)+", no end on record"
		case s.Result == nil:
			status = notStarted
		default:
			span = took(s.Result.Took)
			note = s.Result.Note
			if s.Status != jobs.OK {
				note = s.Result.Message
			}
		}
		if s.Tries > 1 {
			note = strings.TrimSpace(note + fmt.Sprintf(" (run %d times)", s.Tries))
		}
		rows[i] = []string{fmt.Sprintf("%d/%d", s.N, len(steps)), s.Name, string(s.Host), status, span, config.Mask(firstLine(note))}
	}
	return Table(rows)
}
