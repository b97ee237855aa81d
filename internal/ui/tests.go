package ui

import (
	"fmt"
	"io"
	"strings"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// Tests writes what came of a node's checks, for people.
type Tests struct {
	Out     io.Writer
	Color   bool
	Quiet   bool // what is not OK and the end only
	Verbose bool
}

// The columns of a result; a status has nine.
const (
	nameWidth  = 60
	wantIndent = "          "
)

// Begin writes which node it is about, and what it is examined by: "3 checks".
func (t *Tests) Begin(node, target, content string) {
	if !t.Quiet {
		fmt.Fprintf(t.Out, "%s = %s   %s\n\n", Line(node), Line(target), Line(content))
	}
}

// Result writes one result: what was wanted and found, when it is not OK.
func (t *Tests) Result(r nodetest.Result) {
	if t.Quiet && (!r.Bad() || r.Known) {
		return
	}
	var b strings.Builder
	name := Line(r.Name)
	line := func(label, s string) {
		for i, l := range strings.Split(s, "\n") {
			if i > 0 {
				label = ""
			}
			fmt.Fprintf(&b, "%s%-4s  %s\n", wantIndent, label, Line(l))
		}
	}
	fmt.Fprintf(&b, "%s %s %6s\n", t.paint(r.Status, fmt.Sprintf("%-9s", r.Status)), pad(name, nameWidth), took(r.Took))
	for i := range r.Want {
		line("want", r.Want[i])
		line("got", r.Got[i])
	}
	if r.Bad() || t.Verbose {
		for _, l := range r.Output {
			fmt.Fprintf(&b, "%s%s\n", wantIndent, Line(l))
		}
	}
	if r.Text != "" {
		line("", r.Text)
	}
	if r.Hint != "" {
		line("", r.Hint)
	}
	if r.Tries > 1 && r.Bad() {
		line("", fmt.Sprintf("tried %d times in %s", r.Tries, took(r.Took)))
	}
	if r.Known && r.Bad() {
		line("", "known: it was so before")
	}
	_, _ = io.WriteString(t.Out, b.String())
}

// End writes the summary of a node; hint is what an error wants done about it.
func (t *Tests) End(r nodetest.Report, hint string) {
	var b strings.Builder
	if !t.Quiet {
		b.WriteString("\n")
	}
	counts, known := r.Counts()
	var parts []string
	for _, s := range []jobs.Status{jobs.OK, jobs.Failed, jobs.TimedOut, jobs.Errored, nodetest.Skipped} {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	if known > 0 {
		parts = append(parts, fmt.Sprintf("%d known", known))
	}
	fmt.Fprintf(&b, "%s  %s  %s  %s\n", t.paint(r.Status(), string(r.Status())), Line(r.Node), strings.Join(parts, ", "), took(r.Took))
	if r.Err != nil {
		fmt.Fprintf(&b, "  %s\n", Escape(r.Err.Error()))
		if hint != "" {
			fmt.Fprintf(&b, "  %s\n", Escape(hint))
		}
	}
	_, _ = io.WriteString(t.Out, b.String())
}

func (t *Tests) paint(s jobs.Status, word string) string {
	return (&text{o: Options{Color: t.Color}}).paint(s, word)
}
