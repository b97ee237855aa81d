package ui

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// Examined is one node's report, and what belongs to it beside.
type Examined struct {
	nodetest.Report
	Asked int    // checks of its suite; Go tests are not among them
	Code  int    // the node's exit code
	Hint  string // what Report.Err wants done about it
}

// Tests writes what came of a node's checks, for people. What a node says is
// made harmless to a terminal, and bounded.
type Tests struct {
	Out     io.Writer
	Width   int // of the terminal; 0: it is none, and nothing is cut to fit
	Color   bool
	Quiet   bool // what is not OK and the end only
	Verbose bool // the output of what is OK, too, and nothing is left out

	Asked int                          // checks that the node is asked for
	Files []string                     // where the results are besides
	One   func(nodetest.Result) string // the command that makes one check again; nil: it is not told
}

// The columns of a result: a status has nine, a time six.
const (
	nameWidth    = 62 // on 80 columns
	nameWidthMax = 102
	besideCheck  = 80 - nameWidth
	wantIndent   = "          "
	labelled     = len(wantIndent) + 6 // where what was wanted and found stands
	besideGot    = 24                  // columns of a text that leaves room for the tries
	maxLines     = 12                  // of one text, unless Verbose
)

// statuses are those that a check can have, in the order in which they are counted.
var statuses = []jobs.Status{jobs.OK, jobs.Failed, jobs.TimedOut, jobs.Errored, nodetest.Skipped}

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
	status := t.paint(r.Status, fmt.Sprintf("%-9s", r.Status))
	name := Line(r.Name)
	if r.Status == nodetest.Skipped {
		if r.Text != "" {
			name += ": " + Line(r.Text)
		}
		lines := t.fold(name, len(wantIndent))
		fmt.Fprintf(&b, "%s %s\n", status, strings.Join(lines, "\n"+wantIndent))
		t.output(&b, r)
		_, _ = io.WriteString(t.Out, b.String())
		return
	}
	fmt.Fprintf(&b, "%s %s %6s\n", status, t.named(name), took(r.Took))
	t.details(&b, r)
	_, _ = io.WriteString(t.Out, b.String())
}

// named makes the column of a name.
func (t *Tests) named(name string) string {
	width := nameWidth
	if t.Width > 0 {
		width = min(max(t.Width-besideCheck, nameMin), nameWidthMax)
	} else if cells(name) > width {
		return name
	}
	return pad(name, width)
}

// details writes what is to be known of a result beside its status.
func (t *Tests) details(b *strings.Builder, r nodetest.Result) {
	tries := ""
	if r.Tries > 1 && r.Bad() {
		tries = fmt.Sprintf("tried %d times in %s", r.Tries, took(r.Took))
	}
	for i := range r.Want {
		t.field(b, "want", r.Want[i])
		got := r.Got[i]
		if i == len(r.Want)-1 && tries != "" && !strings.Contains(got, "\n") && cells(Line(got)) <= besideGot {
			fmt.Fprintf(b, "%s%-4s  %s%s\n", wantIndent, "got", pad(Line(got), besideGot), tries)
			tries = ""
			continue
		}
		t.field(b, "got", got)
	}
	t.output(b, r)
	for _, s := range []string{r.Text, r.Hint, tries} {
		if s != "" {
			t.field(b, "", s)
		}
	}
	if r.Known && r.Bad() {
		t.field(b, "", "known: it was so before")
	}
}

// output writes the last lines of a Go test.
func (t *Tests) output(b *strings.Builder, r nodetest.Result) {
	if !r.Bad() && !t.Verbose {
		return
	}
	for _, l := range r.Output {
		for _, part := range t.fold(Line(l), len(wantIndent)) {
			fmt.Fprintf(b, "%s%s\n", wantIndent, part)
		}
	}
}

// field writes a text, its lines below each other, behind a label.
func (t *Tests) field(b *strings.Builder, label, s string) {
	var lines []string
	for l := range strings.SplitSeq(s, "\n") {
		lines = append(lines, t.fold(Line(l), labelled)...)
	}
	if n := len(lines) - maxLines; n > 0 && !t.Verbose {
		lines = append(lines[:maxLines:maxLines], fmt.Sprintf("[... %s more, with -v]", Count(n, "line")))
	}
	for _, l := range lines {
		fmt.Fprintf(b, "%s%-4s  %s\n", wantIndent, label, l)
		label = ""
	}
}

// fold breaks a line that does not fit beside that many columns: between words,
// and a word that is wider than all there is where it must be.
func (t *Tests) fold(line string, beside int) []string {
	width := max(t.Width-1-beside, nameMin)
	if t.Width <= 0 || cells(line) <= width {
		return []string{line}
	}
	var lines []string
	for cells(line) > width {
		head := measure.Truncate(line, width+1, "") // with the space that follows a word
		if i := strings.LastIndexByte(head, ' '); i > 0 {
			lines, line = append(lines, strings.TrimRight(head[:i], " ")), strings.TrimLeft(line[i:], " ")
			continue
		}
		head = measure.Truncate(line, width, "")
		if head == "" { // not even one character fits
			_, n := utf8.DecodeRuneInString(line)
			head = line[:n]
		}
		lines, line = append(lines, head), line[len(head):]
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// End writes the summary of a node; hint is what an error wants done about it.
func (t *Tests) End(r nodetest.Report, hint string) {
	var b strings.Builder
	if !t.Quiet && len(r.Results) > 0 {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s  %s  %s  %s%s\n", t.paint(r.Status(), string(r.Status())), Line(r.Node), t.counted(r), took(r.Took), arrow(t.Files))
	if r.Err != nil {
		for l := range strings.SplitSeq(r.Err.Error(), "\n") {
			for _, part := range t.fold(Escape(l), 2) {
				fmt.Fprintf(&b, "  %s\n", part)
			}
		}
		// A hint may have a line to be copied: it is not broken.
		for l := range strings.Lines(Escape(hint)) {
			fmt.Fprintf(&b, "  %s\n", strings.TrimRight(l, "\n"))
		}
	}
	bad := slices.IndexFunc(r.Results, func(res nodetest.Result) bool { return res.Bad() && !res.Known })
	if bad >= 0 && t.One != nil && !t.Quiet {
		fmt.Fprintf(&b, "Run one: %s\n", Line(t.One(r.Results[bad])))
	}
	_, _ = io.WriteString(t.Out, b.String())
}

// counted gives "3 OK, 1 FAILED".
func (t *Tests) counted(r nodetest.Report) string {
	counts, known := r.Counts()
	parts := countsOf(counts)
	if known > 0 {
		parts = append(parts, fmt.Sprintf("%d known", known))
	}
	switch missing := t.Asked - len(r.Results); {
	case r.Err != nil && len(r.Results) == 0:
		return "nothing was looked at"
	case r.Err != nil && missing > 0:
		parts = append(parts, fmt.Sprintf("%d without a result", missing))
	}
	return strings.Join(parts, ", ")
}

// countsOf gives "3 OK" and the like, in order.
func countsOf(counts map[jobs.Status]int) []string {
	var parts []string
	for _, s := range append(slices.Clone(statuses), jobs.Blocked, jobs.Stopped) {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	return parts
}

// arrow says where the results are besides.
func arrow(files []string) string {
	if len(files) == 0 {
		return ""
	}
	return "   -> " + Line(strings.Join(files, ", "))
}

func (t *Tests) paint(s jobs.Status, word string) string {
	return (&text{o: Options{Color: t.Color}}).paint(s, word)
}
