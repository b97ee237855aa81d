package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

func TestJSONLinesOfAFailedRun(t *testing.T) {
	var out, errs bytes.Buffer
	s, screen := newScript(Options{Out: &out, Err: &errs, JSON: true})
	s.begin()
	s.ok(1)
	s.out.Open = true
	s.step(2, jobs.Result{Status: jobs.Failed, Took: time.Second, Message: "exit 1", Exit: 1, Tail: []string{"\x1b[2J<a>\u009b"}, Lines: 1, Bytes: 9})
	s.end(1)
	screen.Fail(6, "a second end", "")
	screen.Close()

	const ts1, ts2 = `"ts":"2026-11-21T14:40:00.100Z"`, `"ts":"2026-11-21T14:40:01.100Z"`
	want := []string{
		`{"v":1,"type":"run_start","ts":"2026-11-21T14:40:00.000Z","run":"W9QZ3XJ4","id":"` + run + `","cmd":"deploy","nodes":["web1"],"conc":"0.1.0"}`,
		`{"v":1,"type":"node_start","ts":"2026-11-21T14:40:00.000Z","run":"W9QZ3XJ4","node":"web1","target":"deploy@10.0.0.11:22","list":"release","digest":"abc","from":1,"to":5,"steps":5}`,
		`{"v":1,"type":"connected","ts":"2026-11-21T14:40:00.000Z","run":"W9QZ3XJ4","node":"web1"}`,
		`{"v":1,"type":"step",` + ts1 + `,"run":"W9QZ3XJ4","node":"web1","step":1,"of":5,"name":"open","where":"remote","op":"op","status":"OK","ms":100}`,
		`{"v":1,"type":"step",` + ts2 + `,"run":"W9QZ3XJ4","node":"web1","step":2,"of":5,"name":"stage","where":"local","op":"op","status":"FAILED","ms":1000,"exit":1,"message":"exit 1","tail":["\u001b[2J<a>\u009b"],"lines":1,"bytes":9}`,
		`{"v":1,"type":"node_end",` + ts2 + `,"run":"W9QZ3XJ4","node":"web1","step":2,"status":"FAILED","code":1,"ms":1100,"done":1,"not_started":3,"steps":[` +
			`{"step":1,"name":"open","where":"remote","status":"OK"},{"step":2,"name":"stage","where":"local","status":"FAILED"},` +
			`{"step":3,"name":"deliver the archives","where":"local","status":"not started"},{"step":4,"name":"install","where":"remote","status":"not started"},` +
			`{"step":5,"name":"close","where":"remote","status":"not started"}],"open":true,"resume":["conc","step","web1","--from","2"],` +
			`"next":[["conc","step","web1","--from","2"],["conc","mark","web1","2","OK"],["conc","step","web1","--from","3"],["conc","unlock","web1","--id","W9QZ3XJ4"]]}`,
		`{"v":1,"type":"run_end",` + ts2 + `,"run":"W9QZ3XJ4","status":"FAILED","code":1,"ms":1100,"counts":{"BLOCKED":0,"ERROR":0,"FAILED":1,"OK":0,"STOPPED":0,"TIMED OUT":0,"not started":0},"log":"/home/ann/.local/state/conc/log.jsonl"}`,
		``,
	}
	if diff := cmp.Diff(want, strings.Split(out.String(), "\n")); diff != "" {
		t.Errorf("- want + got:\n%s", diff)
	}
	if errs.Len() > 0 {
		t.Errorf("standard error: got %q, want nothing", errs.String())
	}
}

func TestJSONOfAHeldNodeNamesTheHolder(t *testing.T) {
	var out bytes.Buffer
	s, _ := newScript(Options{Out: &out, Err: &out, JSON: true})
	s.begin()
	s.out.Held = &bundle.HeldError{Dir: "/home/deploy/b", Owner: &bundle.Owner{Run: run, User: "alice", Host: "desk7", Since: start}}
	s.step(1, jobs.Result{Status: jobs.Blocked, Message: "held"})
	s.end(3)
	for line := range strings.Lines(out.String()) {
		var got struct {
			Type   string
			Holder *holder
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if want := got.Type == "step" || got.Type == "node_end"; (got.Holder != nil) != want {
			t.Errorf("%s: holder: got %v, want it there: %v", got.Type, got.Holder, want)
		}
		if got.Holder != nil && (got.Holder.User != "alice" || got.Holder.Run != "W9QZ3XJ4") {
			t.Errorf("%s: got %+v, want alice and W9QZ3XJ4", got.Type, *got.Holder)
		}
	}
}

func TestJSONOutputAndProgressAreForVerbose(t *testing.T) {
	for _, verbose := range []bool{false, true} {
		var out bytes.Buffer
		s, _ := newScript(Options{Out: &out, Err: &out, JSON: true, Verbose: verbose})
		s.begin()
		s.event(runner.Event{Type: runner.StepStart, Step: s.plan.Steps[2]})
		s.event(runner.Event{Type: runner.Output, Step: s.plan.Steps[2], Data: bytes.Repeat([]byte("x"), 5000)})
		for range 25 { // 2.5 s
			s.event(runner.Event{Type: runner.Progress, Step: s.plan.Steps[2], Done: 1, Total: 2})
			s.tick(100 * time.Millisecond)
		}
		want := map[string]int{"progress": 0, "output": 0, "step_start": 0}
		if verbose {
			want = map[string]int{"progress": 3, "output": 1, "step_start": 1}
		}
		for typ, n := range want {
			if got := strings.Count(out.String(), `"type":"`+typ+`"`); got != n {
				t.Errorf("verbose %v: %s: got %d lines, want %d", verbose, typ, got, n)
			}
		}
		if got := strings.Count(out.String(), "x"); got > 1010 {
			t.Errorf("output: got %d bytes of it, want at most 1000", got)
		}
	}
}

func TestFailIsTheLastLine(t *testing.T) {
	var out bytes.Buffer
	_, screen := newScript(Options{Out: &out, Err: &out, JSON: true})
	screen.Fail(5, errors.New("deploy.ini:3: no").Error(), "fix it")
	want := `{"v":1,"type":"run_end","ts":"2026-11-21T14:40:00.000Z","status":"ERROR","code":5,"ms":0,"message":"deploy.ini:3: no","hint":"fix it"}` + "\n"
	if got := out.String(); got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

func TestJSONIsSafeOnATerminal(t *testing.T) {
	hostile := "a\x1b\x7f\u009b\u202e\ufeff\U000e0041\xffz"
	line, err := JSON(hostile)
	if err != nil {
		t.Fatal(err)
	}
	if Escape(string(line)) != string(line) {
		t.Errorf("got %q, which a terminal would act on", line)
	}
	var back string
	if err := json.Unmarshal(line, &back); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	if want := strings.ToValidUTF8(hostile, "\ufffd"); back != want {
		t.Errorf("got %q, want %q", back, want)
	}
}
