package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// pastRun is what is on record of one node's part of a run.
type pastRun struct {
	run, node string
	state     runner.State
	setOuts   []jobs.Record // how it began, and each time it was gone on with
	ended     jobs.Status   // as the log of this workstation has it; "": not at all
	log       string        // of this workstation; "": none
	asked     bool          // the node's own records are in it
}

// take folds the records. A plan that both sides have counts once.
func (r *pastRun) take(records []jobs.Record) {
	r.state = runner.Fold(records)
	for _, rec := range records {
		if rec.Type == jobs.RecordPlan && rec.Plan != nil {
			r.setOuts = append(r.setOuts, rec)
		}
	}
}

func (r *pastRun) done() int {
	n := 0
	for _, s := range r.state.Steps {
		if s.Status == jobs.OK {
			n++
		}
	}
	return n
}

func (r *pastRun) took() time.Duration { return max(0, r.state.Last.Sub(r.state.Since)) }

// status says in a word how the run ended, or that it has not.
func (r *pastRun) status() string {
	n := r.state.Next()
	switch tests := r.state.Tests; {
	case n == 0 && tests != nil:
		return string(tests.Status)
	case n == 0:
		return string(jobs.OK)
	case r.state.GivenUp:
		return "given up"
	case r.ended != "":
		return string(r.ended)
	case r.state.Steps[n-1].Status != "":
		return string(r.state.Steps[n-1].Status)
	}
	return "not ended"
}

// note says who else had a hand in the run.
func (r *pastRun) note() string {
	var parts []string
	if n := len(r.setOuts); n > 1 {
		parts = append(parts, "gone on with by "+r.setOuts[n-1].Plan.By)
	}
	if n := r.marked(); n > 0 {
		parts = append(parts, ui.Count(n, "step")+" marked by hand")
	}
	return strings.Join(parts, "; ")
}

func (r *pastRun) marked() int {
	n := 0
	for _, s := range r.state.Steps {
		if s.Mark != nil {
			n++
		}
	}
	return n
}

// showPast shows a run's steps, for each node that it took.
func (p *program) showPast(all []pastRun) error {
	if p.flags.json {
		return p.pastJSON(all, true)
	}
	now := p.env.Now()
	var b strings.Builder
	for i, r := range all {
		if i > 0 {
			b.WriteByte('\n')
		}
		row := func(label, format string, args ...any) {
			fmt.Fprintf(&b, "  %-8s  %s\n", label, ui.Line(config.Mask(fmt.Sprintf(format, args...))))
		}
		fmt.Fprintf(&b, "run %s  %s\n", ui.Line(bundle.Short(r.run)), ui.Line(r.node))
		row("list", "%s", strings.TrimSpace(r.state.Plan.List+"  "+r.state.Plan.Release))
		row("file", "%s", r.state.Plan.File)
		for j, s := range r.setOuts {
			with := ""
			if s.Plan.Program.Own() {
				with = ", with " + s.Plan.Program.String()
			}
			if j == 0 {
				row("begun", "%s by %s%s", ui.When(s.Time, now), s.Plan.By, with)
				continue
			}
			other := with
			if was := r.setOuts[j-1].Plan.Release; was != s.Plan.Release {
				other += fmt.Sprintf("; the version was %s, and is %s", cmp.Or(was, "none"), cmp.Or(s.Plan.Release, "none"))
			}
			row("gone on", "%s by %s, from step %d%s", ui.When(s.Time, now), s.Plan.By, max(1, s.Plan.From), other)
		}
		row("status", "%s, %d of %s, %s", r.status(), r.done(), ui.Count(len(r.state.Steps), "step"), ui.Took(r.took()))
		if tests := r.state.Tests; tests != nil {
			row("checks", "%s", testsLine(tests))
		}
		if len(r.state.Changed) > 0 {
			row("by hand", "%s", strings.Join(r.state.Changed, ", "))
		}
		if r.log != "" {
			row("log", "%s", r.log)
		}
		if !r.asked {
			row("record", "this workstation's; others may have marked steps, or gone on: %s",
				quote(append(append([]string{p.name()}, p.flags.again()...), "history", r.node, bundle.Short(r.run))...))
		}
		b.WriteString("\n" + ui.Steps(r.state.Steps, now))
	}
	_, err := fmt.Fprint(p.streams.Out, b.String())
	return err
}

// testsLine says what came of the checks after the last step.
func testsLine(t *jobs.Tests) string {
	s := fmt.Sprintf("%s: %s", t.Suite, t.Summary)
	if t.Known > 0 && t.Status != jobs.OK {
		s += fmt.Sprintf("; %d more known from before", t.Known)
	}
	return s
}

// showOutput writes a step's output: the node's own copy of it, where the node
// is at hand and the step ran there, or that of this workstation's log.
func (p *program) showOutput(there *nodeRecords, all []pastRun, step string) error {
	for _, r := range all {
		n, err := r.state.Find(step)
		if err != nil {
			return usageError{err: err}
		}
		s := r.state.Steps[n-1]
		text, kept := "", false
		if there != nil && s.Host == jobs.Remote {
			text, kept, err = there.output(r.run, n)
		}
		if err == nil && !kept {
			text, err = p.loggedOutput(r.run, r.node, n)
		}
		if err != nil {
			return err
		}
		if s.Result != nil && int64(len(text)) < s.Result.Bytes {
			p.warn(fmt.Sprintf("this is not all: step %d wrote %d bytes. A node keeps those of its own steps: %s",
				n, s.Result.Bytes, p.toType("history", r.node, bundle.Short(r.run), "--step", fmt.Sprint(n))))
		}
		if err := p.writeOutput(r, s, text, len(all) > 1); err != nil {
			return err
		}
	}
	return nil
}

// outputJSON is a step's output for programs.
type outputJSON struct {
	V      int         `json:"v"`
	Type   string      `json:"type"`
	Run    string      `json:"run"`
	Node   string      `json:"node"`
	Step   int         `json:"step"`
	Name   string      `json:"name"`
	Status jobs.Status `json:"status"`
	Output string      `json:"output"`
}

func (p *program) writeOutput(r pastRun, s runner.StepState, text string, many bool) error {
	if p.flags.json {
		return p.printJSON(outputJSON{V: 1, Type: "output", Run: bundle.Short(r.run), Node: r.node, Step: s.N, Name: s.Name, Status: s.Status, Output: text})
	}
	if many {
		fmt.Fprintf(p.streams.Out, "== %s\n", ui.Line(r.node))
	}
	if text == "" {
		p.warn(fmt.Sprintf("%s: there is no output of step %d %s on record", r.node, s.N, s.Name))
		return nil
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, err := fmt.Fprint(p.streams.Out, ui.Escape(text))
	return err
}

// pastRunJSON is a past run for programs.
type pastRunJSON struct {
	V       int           `json:"v"`
	Type    string        `json:"type"`
	Run     string        `json:"run"`
	ID      string        `json:"id"`
	Node    string        `json:"node"`
	List    string        `json:"list"`
	Release string        `json:"release,omitempty"` // the last
	Status  string        `json:"status"`            // a step's status, "given up" or "not ended"
	Done    int           `json:"done"`
	Of      int           `json:"of"`
	MS      int64         `json:"ms"`
	Began   []setOutJSON  `json:"began"` // the first, and each time it was gone on with
	Marked  int           `json:"marked,omitempty"`
	Log     string        `json:"log,omitempty"`
	Source  string        `json:"source"`          // "node": its own records are in it; "workstation": only what is known here
	Tests   *jobs.Tests   `json:"tests,omitempty"` // after the last step
	Steps   []statusStepJ `json:"steps,omitempty"` // when the run is named
}

type setOutJSON struct {
	TS      time.Time       `json:"ts"`
	By      string          `json:"by"`
	From    int             `json:"from"`
	Release string          `json:"release,omitempty"`
	Program *bundle.Program `json:"program,omitempty"`
}

func (p *program) pastJSON(all []pastRun, steps bool) error {
	var err error
	for _, r := range all {
		j := pastRunJSON{
			V: 1, Type: "past_run", Run: bundle.Short(r.run), ID: r.run, Node: r.node, List: r.state.Plan.List, Release: r.state.Plan.Release,
			Status: r.status(), Done: r.done(), Of: len(r.state.Steps), MS: r.took().Milliseconds(), Marked: r.marked(), Log: r.log, Tests: r.state.Tests,
		}
		if j.Source = "workstation"; r.asked {
			j.Source = "node"
		}
		for _, s := range r.setOuts {
			j.Began = append(j.Began, setOutJSON{TS: s.Time.UTC(), By: s.Plan.By, From: max(1, s.Plan.From), Release: s.Plan.Release, Program: s.Plan.Program})
		}
		if steps {
			j.Steps = stepRecords(r.state.Steps)
		}
		err = errors.Join(err, p.printJSON(j))
	}
	return err
}

// stepRecords gives steps for programs.
func stepRecords(steps []runner.StepState) []statusStepJ {
	all := make([]statusStepJ, len(steps))
	for i, s := range steps {
		all[i] = statusStepJ{Step: s.N, Name: s.Name, Where: s.Host, Status: s.Status, Doubt: s.Doubt}
		if s.Mark != nil {
			all[i].By = s.Mark.By
		}
	}
	return all
}
