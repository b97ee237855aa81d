package ui

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/fatih/color"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// text shows a run to a person: one line a step as it ends. What it writes is
// the same on a terminal and in a file, but for colour and width.
type text struct {
	o        Options
	live     io.Writer  // where live output goes
	width    func() int // of the terminal; math.MaxInt when it is none
	nodes    []string   // of the run
	program  string     // and its version
	partial  map[string][]byte
	forks    int // nodes at a time
	wide     int // columns of their names, at most nodeMax
	outcomes map[string]*runner.Outcome
	gapped   bool                // the last line written is empty, or there is none
	ended    bool                // a node's run has ended
	told     bool                // and in more than one line
	at       map[string]string   // node → "9/11", for the table at the end
	goOn     map[string]proposal // how the nodes are gone on with whose bundle the run has left open
	list     []string            // the flag that names the list of a node's plan, if it is needed
}

func newText(o Options) *text {
	t := &text{o: o, live: o.Err, gapped: true, partial: map[string][]byte{}, at: map[string]string{}, outcomes: map[string]*runner.Outcome{}, goOn: map[string]proposal{}}
	t.width = func() int { return math.MaxInt }
	if Terminal(o.Out) {
		t.width = func() int { return Width(o.Out) }
	}
	return t
}

// The widths of the step lines' columns.
const (
	nameMin, nameMax = 8, 24
	nodeMax          = 16
	hostWidth        = 6
	indent           = "       " // of what belongs to a step
)

func (t *text) show(e runner.Event) {
	switch e.Type {
	case runner.RunStart:
		t.nodes, t.program, t.forks = e.Nodes, strings.TrimSpace(t.o.Name+" "+e.Version), e.Forks
		if e.Program.Own() {
			t.program = e.Program.String()
		}
		for _, n := range t.nodes {
			t.wide = max(t.wide, min(cells(Line(n)), nodeMax))
		}
	case runner.NodeStart:
		t.list = listFlag(e.Plan)
		t.header(e)
	case runner.Output:
		if t.o.Verbose {
			t.output(e)
		}
	case runner.StepEnd:
		t.flush(e)
		t.at[e.Node] = fmt.Sprintf("%d/%d", e.Result.Step, len(e.Plan.Steps))
		if !t.brief() || e.Result.Status != jobs.OK {
			t.step(e)
		}
	case runner.TestEnd:
		t.tests(e)
	case runner.Note, runner.Lock, runner.Hold:
		t.remark(e)
	case runner.NodeEnd:
		t.outcomes[e.Node] = e.Outcome
		if argv := resume(t.o, e); argv != nil && e.Outcome.Open && e.Outcome.Status != jobs.OK {
			t.goOn[e.Node] = proposal{"go on", [][]string{argv}}
		} else if e.Outcome.Own {
			t.goOn[e.Node] = proposal{"go on", [][]string{append(append([]string{t.o.Name}, t.o.Args...), "step", e.Node)}}
		}
		t.nodeEnd(e)
	case runner.RunEnd:
		t.runEnd(e)
	}
}

func (t *text) many() bool { return len(t.nodes) > 1 }

// fleet tells whether the lines of several nodes would come mixed: each then has
// one when it has ended, and more only when it is not OK.
func (t *text) fleet() bool { return t.many() && t.forks > 1 && !t.o.Verbose }

// brief tells whether steps that are OK are left out.
func (t *text) brief() bool { return t.o.Quiet || t.fleet() }

// header says what is about to be done.
func (t *text) header(e runner.Event) {
	if t.brief() {
		return
	}
	if t.many() {
		if t.ended {
			t.gap()
		}
		// A line of its own would be torn from its steps when nodes run at once.
		t.printf("%s= %s, list %s, %s\n", t.prefix(e.Node), Line(e.Target), Line(e.Plan.List), stepsOf(e))
		return
	}
	parts := []string{
		t.program, "run " + bundle.Short(e.Run), Line(e.Node) + " = " + Line(e.Target),
		"list " + Line(e.Plan.List), stepsOf(e),
	}
	t.printf("%s\n\n", strings.Join(flow(parts, min(t.width(), 80)), "\n"))
}

// stepsOf gives "11 steps", or which of them are asked for.
func stepsOf(e runner.Event) string {
	from, to := asked(e)
	switch {
	case from == 1 && to == len(e.Plan.Steps):
		return Count(to, "step")
	case from == to:
		return fmt.Sprintf("step %d of %d", from, len(e.Plan.Steps))
	}
	return fmt.Sprintf("steps %d to %d of %d", from, to, len(e.Plan.Steps))
}

// flow joins parts with two spaces, and goes on in a further line where they
// would be too wide.
func flow(parts []string, width int) []string {
	lines := []string{parts[0]}
	for _, p := range parts[1:] {
		last := &lines[len(lines)-1]
		if cells(*last)+2+cells(p) > width {
			lines = append(lines, "  "+p)
			continue
		}
		*last += "  " + p
	}
	return lines
}

// prefix names the node at a line's start, when there are several.
func (t *text) prefix(node string) string {
	if !t.many() {
		return ""
	}
	return pad(Line(node), t.wide) + "  "
}

// columns makes a step line up to its status.
func (t *text) columns(e runner.Event) string {
	of := len(e.Plan.Steps)
	digits := len(fmt.Sprint(of))
	w := nameMin
	for _, s := range e.Plan.Steps {
		w = max(w, cells(Line(s.Name)))
	}
	return fmt.Sprintf("%s%*d/%d  %s  %s  ", t.prefix(e.Node), digits, e.Step.N, of,
		pad(Line(e.Step.Name), min(w, nameMax)), pad(string(e.Step.Host), hostWidth))
}

// step writes a step's line, and for one that is not OK what it said.
func (t *text) step(e runner.Event) {
	r := e.Result
	line := t.columns(e)
	used := cells(line) + 9 + 6 + 2
	line += t.paint(r.Status, fmt.Sprintf("%-9s", r.Status)) + fmt.Sprintf("%6s", took(r.Took))
	note, below := remarkOf(e)
	switch room := min(t.width(), 80) - used; {
	case r.Status == jobs.OK && t.width() < math.MaxInt:
		note = fit(note, max(room, 1))
	case r.Status != jobs.OK && cells(note) > room:
		note, below = "", note
	}
	if note != "" {
		line += "  " + note
	}
	t.printf("%s\n", line)
	if below != "" {
		t.below(below)
	}
	if r.Status == jobs.OK {
		return
	}
	t.tail(e)
	// A hint may have a line to be copied: it is not broken.
	for l := range strings.Lines(Escape(r.Hint)) {
		t.printf("%s%s\n", indent, strings.TrimRight(l, "\n"))
	}
}

// remarkOf gives what is said behind a step's time, and what is said below it
// in any case.
func remarkOf(e runner.Event) (note, below string) {
	r := e.Result
	var parts []string
	switch {
	case e.Held != nil && e.Held.Owner != nil:
		parts = append(parts, "held by "+e.Held.Owner.User+"@"+e.Held.Owner.Host)
	case r.Status == jobs.OK:
		parts = append(parts, r.Note)
	default:
		parts = append(parts, strings.TrimRight(r.Message, "\n"))
	}
	if r.Bytes > logOutputMax {
		parts = append(parts, "output truncated")
	}
	if r.Tries > 1 {
		parts = append(parts, fmt.Sprintf("%d tries", r.Tries))
	}
	note = Escape(config.Mask(strings.Join(nonEmpty(parts), ", ")))
	if strings.Contains(note, "\n") {
		return "", note
	}
	return note, ""
}

func nonEmpty(parts []string) []string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}

// tail writes the last lines of a step's output. With -v they were seen.
func (t *text) tail(e runner.Event) {
	r := e.Result
	if len(r.Tail) == 0 || t.o.Verbose {
		return
	}
	for _, l := range r.Tail {
		t.printf("%s%s| %s\n", t.prefix(e.Node), indent, Line(strings.TrimRight(l, "\r\n")))
	}
	if r.Lines > len(r.Tail) {
		kept := "all"
		if r.Bytes > logOutputMax {
			kept = fmt.Sprintf("the first %d MiB", logOutputMax>>20)
		}
		t.printf("%s%s(last %d of %d lines; %s: %s)\n", t.prefix(e.Node), indent, len(r.Tail), r.Lines, kept, Line(t.fullOutput(e, r)))
	}
}

// fullOutput says where a step's output is kept.
func (t *text) fullOutput(e runner.Event, r jobs.Result) string {
	if e.Plan.Steps[r.Step-1].Host == jobs.Remote {
		return fmt.Sprintf("~/.conc/runs/*%s/out-%02d.log", bundle.Short(e.Run), r.Step)
	}
	return "the log of this run"
}

// below writes text under a step's line, wrapped.
func (t *text) below(s string) {
	for _, l := range wrap(Escape(s), t.width()-len(indent)) {
		t.printf("%s%s\n", indent, l)
	}
}

// remark writes a note, which is no result.
func (t *text) remark(e runner.Event) {
	if t.o.Quiet && e.Hint == "" {
		return
	}
	s := e.Text
	if s == "" && e.Held != nil {
		s = e.Held.Error()
	}
	_, _ = fmt.Fprintf(t.o.Err, "%s%s\n", t.prefix(e.Node), Escape(s))
	if e.Hint != "" {
		_, _ = fmt.Fprintf(t.o.Err, "%s  %s\n", t.prefix(e.Node), Escape(e.Hint))
	}
}

// maxPartial is how much of a line is kept until its end comes.
const maxPartial = 1000

// output writes the whole lines of a step's live output.
func (t *text) output(e runner.Event) {
	data := append(t.partial[e.Node], e.Data...)
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 && len(data) > maxPartial {
			i = maxPartial
		}
		if i < 0 {
			break
		}
		t.outputLine(e, data[:i])
		if data[i] == '\n' {
			i++
		}
		data = data[i:]
	}
	t.partial[e.Node] = bytes.Clone(data)
}

// flush writes what a step left without an end of line.
func (t *text) flush(e runner.Event) {
	if rest := t.partial[e.Node]; len(rest) > 0 {
		t.outputLine(e, rest)
	}
	delete(t.partial, e.Node)
}

func (t *text) outputLine(e runner.Event, line []byte) {
	_, _ = fmt.Fprintf(t.live, "%s%s| %s\n", t.prefix(e.Node), indent, Line(strings.TrimRight(string(line), "\r")))
}

func (t *text) printf(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	t.gapped = strings.HasSuffix(s, "\n\n") || s == "\n"
	// A reader that went away must not end a deploy.
	_, _ = io.WriteString(t.o.Out, s)
}

// gap makes sure that an empty line is above what follows.
func (t *text) gap() {
	if !t.gapped {
		t.printf("\n")
	}
}

// paint colours a status, or what stands for one. The word is always there.
func (t *text) paint(s jobs.Status, word string) string {
	attrs := []color.Attribute{color.FgRed, color.Bold}
	switch s {
	case jobs.OK:
		attrs = []color.Attribute{color.FgGreen}
	case jobs.Blocked, jobs.Stopped:
		attrs = []color.Attribute{color.FgYellow, color.Bold}
	case "":
		attrs = []color.Attribute{color.Faint}
	}
	c := color.New(attrs...)
	if t.o.Color {
		c.EnableColor()
	} else {
		c.DisableColor()
	}
	return c.Sprint(word)
}
