package ui

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// nodeEnd says how a node's run ended, and what to type next.
func (t *text) nodeEnd(e runner.Event) {
	o := e.Outcome
	t.ended = true
	if o.Status == "" {
		if !t.many() {
			t.printf("%s  %s\n", notStarted, Line(e.Node))
		}
		return // the table at the end has it
	}
	if !t.o.Quiet {
		t.rest(e)
	}
	switch {
	case o.Status == jobs.OK && t.fleet() && !o.Open && !t.told, o.Status == jobs.OK && t.o.Quiet:
	default:
		t.gap()
	}
	t.told = o.Status != jobs.OK || o.Open
	if o.Status == jobs.OK {
		t.printf("%s  %s  %s  %s\n", t.paint(o.Status, "OK"), Line(e.Node), t.doneOf(e)+tested(o), took(o.Took))
		if o.Open {
			t.printf("The bundle stays open on %s, so no one else can start a deploy.\n", Line(e.Node))
		}
		if o.Open || closedThere(e) {
			t.advice(e)
		}
		if suite := lookAfter(t.o, e); suite != nil && !t.many() {
			t.printf("Next: %s\n", shellescape.QuoteCommand(suite))
		}
		return
	}
	t.printf("%s  %s  %s\n", t.paint(o.Status, string(o.Status)), Line(e.Node), t.headline(e))
	if o.Held != nil {
		if t.heldHere(e) {
			t.row("bundle", t.tilde(o.Held.Dir)+", on this workstation")
		}
		t.holder(o.Held)
	} else {
		t.reason(e)
	}
	switch {
	case o.Open:
		t.printf("The bundle stays open on %s, so no one else can start a deploy.\n", Line(e.Node))
	case localOpen(e):
		t.printf("The bundle on this workstation stays open: no deploy of %s can start here.\n", Line(e.Node))
	}
	t.advice(e)
}

// localOpen tells whether the run has left its bundle on this workstation.
func localOpen(e runner.Event) bool {
	open := false
	for _, r := range e.Outcome.Results {
		s := e.Plan.Steps[r.Step-1]
		if s.Host != jobs.Local || r.Status != jobs.OK {
			continue
		}
		switch s.Op.(type) {
		case jobs.OpenBundle:
			open = true
		case jobs.CloseBundle:
			open = false
		}
	}
	return open
}

// rest lists the steps that were asked for and not started.
func (t *text) rest(e runner.Event) {
	o := e.Outcome
	if o.NotStarted == 0 || e.Plan == nil {
		return
	}
	from, to := asked(e)
	first := to - o.NotStarted + 1
	if len(o.Results) == 0 || o.Held != nil {
		if first >= from && o.Held != nil {
			t.printf("%s%s\n", t.prefix(e.Node), t.paint("", fmt.Sprintf("%s after it: %s", Count(o.NotStarted, "step"), notStarted)))
		}
		return
	}
	for _, s := range e.Plan.Steps[max(first, from)-1 : to] {
		e.Step = s
		t.printf("%s%s\n", t.columns(e), t.paint("", notStarted))
	}
}

// doneOf gives "11 of 11 steps".
func (t *text) doneOf(e runner.Event) string {
	from, to := asked(e)
	s := fmt.Sprintf("%d of %s", e.Outcome.Done, Count(len(e.Plan.Steps), "step"))
	if from > 1 || to < len(e.Plan.Steps) {
		if from == to {
			return s + fmt.Sprintf(" (%d was asked for)", from)
		}
		s += fmt.Sprintf(" (%d to %d were asked for)", from, to)
	}
	return s
}

// tested gives ", 6 checks, 1 known", of a run that was OK.
func tested(o *runner.Outcome) string {
	if o.After == nil {
		return ""
	}
	return ", " + o.After.Summary()
}

// headline says where a run ended that is not OK.
func (t *text) headline(e runner.Event) string {
	o := e.Outcome
	switch {
	case o.Held != nil && o.Done == 0:
		return "is being reconfigured by another run. Nothing was changed."
	case o.Held != nil:
		return fmt.Sprintf("stopped at step %d of %d: the bundle is held.", o.Stopped, len(e.Plan.Steps))
	case len(o.Results) == 0:
		return "no step was started. Nothing was changed."
	case o.Stopped == 0 && o.Before != nil && o.NotStarted == 0:
		return t.doneOf(e) + "; the checks after them are not OK."
	case o.Stopped == 0:
		return fmt.Sprintf("%d done, %d not started.", o.Done, o.NotStarted)
	}
	at := "stopped at"
	if !slices.ContainsFunc(o.Results, func(r jobs.Result) bool { return r.Step == o.Stopped }) {
		at = "stopped before"
	}
	return fmt.Sprintf("%s step %d of %d; %d done, %d not started.", at, o.Stopped, len(e.Plan.Steps), o.Done, o.NotStarted)
}

// reason says why, when no step's line has said it.
func (t *text) reason(e runner.Event) {
	message, hint := e.Text, e.Hint
	if err := e.Outcome.Err; err != nil {
		message = err.Error()
		if hint == "" {
			hint = t.o.Hint(err)
		}
	}
	for _, l := range wrap(Escape(config.Mask(message)), t.width()-2) {
		t.printf("  %s\n", l)
	}
	// A hint may have a line to be copied: it is not broken.
	for l := range strings.Lines(Escape(config.Mask(hint))) {
		t.printf("  %s\n", strings.TrimRight(l, "\n"))
	}
}

// holder says who has the node.
func (t *text) holder(h *bundle.HeldError) {
	now := t.o.Now()
	if h.Owner == nil {
		t.row("holder", "unknown: "+h.Dir+" has no record of its owner")
		return
	}
	o := h.Owner
	t.row("holder", fmt.Sprintf("%s@%s, run %s, since %s", o.User, o.Host, bundle.Short(o.Run), since(o.Since, now)))
	step := h.Step
	switch {
	case h.Alive && step != "":
		step += "; it is running now"
	case h.Alive:
		step = "it is running now"
	}
	if step != "" {
		t.row("at step", step)
	}
	if o.Message != "" {
		t.row("note", `"`+o.Message+`"`)
	}
}

func (t *text) row(label, s string) { t.printf("  %-13s  %s\n", label, Line(config.Mask(s))) }

// rows writes lines that are the same thing.
func (t *text) rows(label string, lines ...string) {
	for _, l := range lines {
		t.row(label, l)
		label = ""
	}
}

// maxByHand is how many of an op's shell lines are shown when it ended badly.
const maxByHand = 6

// advice says what to type next.
func (t *text) advice(e runner.Event) {
	o := e.Outcome
	next := nextCommands(t.o, e)
	look := o.Held != nil || o.Open
	if !look && len(next) == 0 && !t.ran(e) {
		return
	}
	t.gap()
	if look && len(o.SSH) > 0 && !t.heldHere(e) {
		t.rows("look around", "ssh "+shellescape.QuoteCommand(o.SSH), "cd ~/"+shellescape.Quote(o.BundleName))
	}
	if t.ran(e) {
		where := "ran there"
		if e.Plan.Steps[o.Stopped-1].Host == jobs.Local {
			where = "ran here"
		}
		lines := o.ByHand
		if len(lines) > maxByHand {
			lines = append(slices.Clone(lines[:maxByHand]), fmt.Sprintf("(and %d lines more)", len(o.ByHand)-maxByHand))
		}
		t.rows(where, lines...)
	}
	for _, n := range next {
		t.rows(n.label, n.lines()...)
	}
}

// ran tells whether the step at which the run ended has lines to be shown. Of
// one that is BLOCKED nothing ran, and what blocks it may make them dangerous.
func (t *text) ran(e runner.Event) bool {
	o := e.Outcome
	return o.Stopped > 0 && len(o.ByHand) > 0 && o.Held == nil && o.Status != jobs.Stopped && o.Status != jobs.Blocked
}

// heldHere tells whether the bundle that is held is the one on this workstation.
func (t *text) heldHere(e runner.Event) bool {
	o := e.Outcome
	return o.Held != nil && o.Stopped > 0 && e.Plan.Steps[o.Stopped-1].Host == jobs.Local
}

// listFlag names the list, where it is not the node's own.
func listFlag(plan *jobs.Plan) []string {
	if plan == nil || plan.List == plan.Node.Get("jobs") {
		return nil
	}
	return []string{"--jobs", plan.List}
}

// runEnd sums several nodes up, and says where the log is.
func (t *text) runEnd(e runner.Event) {
	if t.many() {
		t.table()
	}
	if e.Text != "" {
		t.printf("%s\n", Escape(e.Text))
	}
	if e.Log != "" && (!t.o.Quiet || e.Code != 0) {
		_, _ = fmt.Fprintf(t.o.Err, "log: %s\n", Line(t.tilde(e.Log)))
	}
}

// besideName is the room for a status, a step and a time beside a node's name.
const besideName = 30

// table shows how each of several nodes ended.
func (t *text) table() {
	rows := [][]string{{"NODE", "STATUS", "STEP", "TIME", "NOTE"}}
	others, held := 0, false // that are not OK, and not left open by this run
	counts := map[jobs.Status]int{}
	for _, name := range t.nodes {
		o := t.outcomes[name]
		if o == nil {
			o = &runner.Outcome{Node: name}
		}
		counts[o.Status]++
		if o.Status != jobs.OK && !o.Open && !o.Own {
			others++
			held = held || o.Held != nil
		}
		// However long the name, the status is seen.
		row := []string{fit(Line(name), max(t.width()-besideName, nameMin)), statusName(o.Status), t.at[name], "", t.noteOf(o)}
		if o.Status != "" {
			row[3] = took(o.Took)
		} else {
			row[2] = ""
		}
		rows = append(rows, row)
	}
	t.gap()
	for line := range strings.Lines(Table(rows)) {
		t.printf("%s\n", fit(strings.TrimRight(line, "\n"), t.width()))
	}
	var parts []string
	for _, s := range []jobs.Status{jobs.OK, jobs.Failed, jobs.TimedOut, jobs.Errored, jobs.Blocked, jobs.Stopped, ""} {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], statusName(s)))
		}
	}
	t.printf("\n%s", strings.Join(parts, ", "))
	t.again(others, held)
}

// maxGoOn is how many nodes are named with how each is gone on with.
const maxGoOn = 5

// again ends the line below the table with what is to be typed next.
func (t *text) again(others int, held bool) {
	argv := func(command string) string {
		words := append([]string{t.o.Name}, append(slices.Clone(t.o.Args), command, "@failed")...)
		return Line(shellescape.QuoteCommand(append(words, t.list...)))
	}
	free := ""
	if held {
		free = ", once each is free"
	}
	switch {
	case len(t.goOn) == 0 && others == 0:
		t.printf("\n")
		return
	case len(t.goOn) == 0:
		t.printf("   again%s: %s\n", free, argv("deploy"))
		return
	case len(t.goOn) > maxGoOn:
		t.printf("\ngo on: %s\n", argv("step")+" --again")
	default:
		t.printf("\n")
		for _, name := range t.nodes {
			if p, ok := t.goOn[name]; ok {
				t.printf("go on: %s\n", Line(p.lines()[0]))
			}
		}
	}
	if others > 0 {
		t.printf("then%s: %s\n", free, argv("deploy"))
	}
}

// noteOf says why a node is not OK, in a few words.
func (t *text) noteOf(o *runner.Outcome) string {
	switch {
	case o.Status == jobs.OK:
		return ""
	case o.Held != nil && o.Held.Owner != nil:
		return "held by " + o.Held.Owner.User + "@" + o.Held.Owner.Host + ", " + ago(o.Held.Owner.Since, t.o.Now())
	case o.Note != "":
		return o.Note
	case o.Err != nil:
		note := firstLine(o.Err.Error())
		if _, rest, ok := strings.Cut(note, "): "); ok && strings.HasPrefix(note, o.Node+" (") {
			note = rest // the row has the node's name
		}
		return config.Mask(note)
	case len(o.Results) > 0:
		return config.Mask(firstLine(o.Results[len(o.Results)-1].Message))
	}
	return ""
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// tilde shortens a path below the user's home.
func (t *text) tilde(path string) string {
	if t.o.Home != "" {
		if rel, err := filepath.Rel(t.o.Home, path); err == nil && filepath.IsLocal(rel) {
			return "~/" + rel
		}
	}
	return path
}
