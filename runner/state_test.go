package runner

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/conc/jobs"
)

// history is the true course of a run, from which each side has its records.
type history struct {
	steps       []jobs.Spec
	all         []jobs.Record // in the order in which things happened
	node        []jobs.Record
	workstation []jobs.Record
	clock       time.Time
}

func drawHistory(t *rapid.T) *history {
	h := &history{clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for i := range rapid.IntRange(1, 6).Draw(t, "steps") {
		host := rapid.SampledFrom([]jobs.Host{jobs.Local, jobs.Remote}).Draw(t, "host")
		h.steps = append(h.steps, jobs.Spec{Name: "step" + strconv.Itoa(i+1), Host: host})
	}
	parts := rapid.IntRange(1, 4).Draw(t, "parts")
	for i := range parts {
		h.part(t, i == 0)
	}
	return h
}

// part is a deploy or a step: it sets out, says what is taken as done, and takes
// steps until one is not OK. From some moment on, nothing of what the
// workstation records gets to the node, and no remote step is run.
func (h *history) part(t *rapid.T, first bool) {
	from, command := 1, "deploy"
	if !first {
		from, command = rapid.IntRange(1, len(h.steps)).Draw(t, "from"), "step"
	}
	plan := jobs.PlanRecord{Run: "r", Command: command, From: from, By: "alice@desk7", Steps: h.steps}
	set := jobs.Record{Type: jobs.RecordPlan, Plan: &plan}
	h.workstation = append(h.workstation, h.stamp(set))
	if !first && rapid.IntRange(0, 4).Draw(t, "unreachable") == 0 {
		return
	}
	there := h.stamp(set)
	h.node, h.all = append(h.node, there), append(h.all, there)
	lineHolds := rapid.IntRange(0, 12).Draw(t, "records until the line goes")
	send := func(r jobs.Record) {
		r = h.stamp(r)
		h.all, h.workstation = append(h.all, r), append(h.workstation, r)
		if lineHolds--; lineHolds >= 0 {
			h.node = append(h.node, r)
		}
	}
	for n := 1; n < from; n++ {
		if modelOf(h.all, len(h.steps))[n-1].status != jobs.OK {
			send(jobs.Record{Type: jobs.RecordMark, Step: n, Mark: &jobs.Mark{By: "alice@desk7"}})
		}
	}
	for n := from; n <= len(h.steps); n++ {
		begin := jobs.Record{Type: jobs.RecordBegin, Step: n}
		status := rapid.SampledFrom([]jobs.Status{jobs.OK, jobs.OK, jobs.OK, jobs.Failed, jobs.Errored, ""}).Draw(t, "status")
		end := jobs.Record{Type: jobs.RecordEnd, Step: n, Result: &jobs.Result{Step: n, Status: status}}
		record := send
		if h.steps[n-1].Host == jobs.Remote {
			if lineHolds <= 0 {
				return
			}
			record = func(r jobs.Record) { r = h.stamp(r); h.all, h.node = append(h.all, r), append(h.node, r) }
		}
		record(begin)
		if status != "" { // else it died in the step
			record(end)
		}
		if status != jobs.OK {
			break
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "marked from elsewhere") == 0 {
		n := rapid.IntRange(1, len(h.steps)).Draw(t, "marked")
		r := h.stamp(jobs.Record{Type: jobs.RecordMark, Step: n, Mark: &jobs.Mark{By: "bob@desk8"}})
		h.all, h.node = append(h.all, r), append(h.node, r)
	}
}

func (h *history) stamp(r jobs.Record) jobs.Record {
	h.clock = h.clock.Add(time.Millisecond)
	r.Time = h.clock
	return r
}

// modelStep is a step as the model has it.
type modelStep struct {
	status jobs.Status
	doubt  bool
	tries  int
}

// modelOf looks, for each step, at the last thing that was said of it.
func modelOf(all []jobs.Record, steps int) []modelStep {
	model := make([]modelStep, steps)
	for i := range model {
		for _, r := range all {
			if r.Step == i+1 && r.Type == jobs.RecordBegin {
				model[i].tries++
			}
		}
		for j := len(all) - 1; j >= 0; j-- {
			r := all[j]
			if r.Step != i+1 {
				continue
			}
			switch r.Type {
			case jobs.RecordBegin:
				model[i].doubt = true
			case jobs.RecordEnd:
				model[i].status = r.Result.Status
			case jobs.RecordMark:
				model[i].status = jobs.OK
			}
			break
		}
	}
	return model
}

func wantState(t *rapid.T, s State, model []modelStep) {
	next, doubt, interrupted := 0, 0, false
	for i, m := range model {
		if got := (modelStep{s.Steps[i].Status, s.Steps[i].Doubt, s.Steps[i].Tries}); got != m {
			t.Fatalf("step %d: got %+v, want %+v", i+1, got, m)
		}
		if next == 0 && m.status != jobs.OK {
			next = i + 1
		}
		if doubt == 0 && m.doubt {
			doubt = i + 1
		}
		if m.tries > 0 && (i > 0 || m.doubt || m.status == jobs.OK) {
			interrupted = true
		}
	}
	if s.Next() != next || s.InDoubt() != doubt || s.Interrupted() != (interrupted && next > 0) {
		t.Fatalf("got next %d, in doubt %d, interrupted %v; want %d, %d, %v", s.Next(), s.InDoubt(), s.Interrupted(), next, doubt, interrupted && next > 0)
	}
}

func TestStateIsWhatWasSaidLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		s := Fold(h.all)
		wantState(t, s, modelOf(h.all, len(h.steps)))
		cut := rapid.IntRange(0, len(h.all)).Draw(t, "cut")
		wantState(t, Fold(h.all[:cut]).With(h.all[cut:]...), modelOf(h.all, len(h.steps)))
		if unlocked := s.With(jobs.Record{Type: jobs.RecordUnlock}); unlocked.Interrupted() {
			t.Fatal("a run that was given up is gone on with")
		}
		for n := 1; n <= len(h.steps); n++ {
			for _, name := range []string{strconv.Itoa(n), fmt.Sprint("step", n)} {
				if got, err := s.Find(name); got != n || err != nil {
					t.Fatalf("Find(%s): got %d, %v", name, got, err)
				}
			}
		}
		for _, name := range []string{"0", strconv.Itoa(len(h.steps) + 1), "step0", ""} {
			if got, err := s.Find(name); err == nil {
				t.Fatalf("Find(%s): got %d, want an error", name, got)
			}
		}
	})
}

// However much of the workstation's records got lost on the way to the node:
// both together tell what happened.
func TestMergeFindsWhatWasLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		merged := Merge(h.node, h.workstation)
		if len(merged) != len(h.all) {
			t.Fatalf("got %d records, want %d", len(merged), len(h.all))
		}
		wantState(t, Fold(merged), modelOf(h.all, len(h.steps)))
		again := Merge(merged, h.workstation)
		wantState(t, Fold(again), modelOf(h.all, len(h.steps)))
		if len(again) != len(merged) {
			t.Fatalf("merged once more: got %d records, want %d", len(again), len(merged))
		}
	})
}

// What a local step came to, and was not heard of on the node, does not stand
// against what was done about it afterwards.
func TestLostRecordDoesNotUndoWhatCameAfter(t *testing.T) {
	h := &history{clock: time.Unix(0, 0), steps: []jobs.Spec{{Name: "put", Host: jobs.Local}}}
	set := jobs.Record{Type: jobs.RecordPlan, Plan: &jobs.PlanRecord{Command: "deploy", Steps: h.steps}}
	begin := h.stamp(jobs.Record{Type: jobs.RecordBegin, Step: 1})
	end := h.stamp(jobs.Record{Type: jobs.RecordEnd, Step: 1, Result: &jobs.Result{Status: jobs.Errored}})
	mark := h.stamp(jobs.Record{Type: jobs.RecordMark, Step: 1, Mark: &jobs.Mark{By: "bob@desk8"}})
	if s := Fold(Merge([]jobs.Record{set, begin, mark}, []jobs.Record{set, begin, end})); s.Next() != 0 {
		t.Fatalf("got next step %d, want none", s.Next())
	}
}
