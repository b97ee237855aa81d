package ui

import (
	"fmt"
	"io"
	"strings"
	"time"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// Fleet writes the table of several nodes; again is the command that examines
// those again that are not OK.
func (t *Tests) Fleet(all []Examined, again string) {
	rows := [][]string{{"NODE", "STATUS", "OK", "TIME", "NOTE"}}
	counts := map[jobs.Status]int{}
	for _, e := range all {
		s := e.Status()
		counts[s]++
		name := Line(e.Node)
		if t.Width > 0 {
			name = fit(name, max(t.Width-besideName, nameMin))
		}
		rows = append(rows, []string{name, string(s), okOf(e), took(e.Took), noteOf(e)})
	}
	var b strings.Builder
	for line := range strings.Lines(Table(rows)) {
		line = strings.TrimRight(line, "\n")
		if t.Width > 0 {
			line = fit(line, t.Width-1)
		}
		b.WriteString(line + "\n")
	}
	fmt.Fprintf(&b, "\n%s%s\n", strings.Join(countsOf(counts), ", "), arrow(t.Files))
	if counts[jobs.OK] < len(all) && again != "" {
		fmt.Fprintf(&b, "again: %s\n", Line(again))
	}
	_, _ = io.WriteString(t.Out, b.String())
}

// okOf gives "5/6": how many checks are OK, of those that had something to look at.
func okOf(e Examined) string {
	if len(e.Results) == 0 {
		return "-"
	}
	ok, of := 0, max(len(e.Results), e.Asked)
	for _, r := range e.Results {
		switch r.Status {
		case jobs.OK:
			ok++
		case nodetest.Skipped:
			of--
		}
	}
	return fmt.Sprintf("%d/%d", ok, of)
}

// noteOf says why a node is not OK, in a few words.
func noteOf(e Examined) string {
	if e.Err != nil {
		note := firstLine(e.Err.Error())
		if _, rest, ok := strings.Cut(note, "): "); ok && strings.HasPrefix(note, e.Node+" (") {
			note = rest // the row has the node's name
		}
		return strings.TrimPrefix(note, e.Node+": ")
	}
	var bad []string
	for _, r := range e.Results {
		if r.Bad() && !r.Known {
			bad = append(bad, r.Name)
		}
	}
	return strings.Join(bad, ", ")
}

// Changes writes what is not as it was at the examination before, each with the
// time now, and one line for the examination as a whole. Quiet leaves that out.
func (t *Tests) Changes(now time.Time, before, after []Examined) {
	var b strings.Builder
	at := now.Format(time.DateTime) // it may go on for days
	was := map[string]Examined{}
	for _, e := range before {
		was[e.Node] = e
	}
	for _, e := range after {
		t.changesOf(&b, at, was[e.Node], e)
	}
	switch {
	case t.Quiet:
	case len(after) == 1:
		e := after[0]
		fmt.Fprintf(&b, "%s  %s  %s  %s  %s%s\n", at, t.paint(e.Status(), string(e.Status())), Line(e.Node), t.counted(e.Report), took(e.Took), arrow(t.Files))
	default:
		counts := map[jobs.Status]int{}
		for _, e := range after {
			counts[e.Status()]++
		}
		fmt.Fprintf(&b, "%s  %s: %s  %s%s\n", at, Count(len(after), "node"), strings.Join(countsOf(counts), ", "), took(span(after)), arrow(t.Files))
	}
	_, _ = io.WriteString(t.Out, b.String())
}

// changesOf writes what changed of one node.
func (t *Tests) changesOf(b *strings.Builder, at string, before, after Examined) {
	change := func(name string, from, to jobs.Status) {
		if from == "" {
			from = notStarted
		}
		fmt.Fprintf(b, "%s  %s  %s  %s -> %s\n", at, Line(after.Node), Line(name), from, t.paint(to, string(to)))
	}
	if (before.Err == nil) != (after.Err == nil) {
		if after.Err != nil {
			change("could not be asked", before.Status(), after.Status())
			t.field(b, "", after.Err.Error())
		} else {
			change("can be asked again", before.Status(), after.Status())
		}
	}
	was := map[string]jobs.Status{}
	for _, r := range before.Results {
		was[r.Name] = r.Status
	}
	for _, r := range after.Results {
		from, seen := was[r.Name]
		if from == r.Status || !seen && before.Err != nil && !r.Bad() {
			continue // what comes back OK with its node is no news
		}
		change(r.Name, from, r.Status)
		t.details(b, r)
	}
}

// span is the time from the first node's beginning to the last one's end.
func span(all []Examined) time.Duration {
	if len(all) == 0 {
		return 0
	}
	first, last := all[0].Begun, all[0].Begun
	for _, e := range all {
		if e.Begun.Before(first) {
			first = e.Begun
		}
		if end := e.Begun.Add(e.Took); end.After(last) {
			last = end
		}
	}
	return last.Sub(first)
}
