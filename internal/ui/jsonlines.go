package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// jsonLines writes events as JSON, one a line, for programs. This is schema 1
// ("v":1); within it, fields and types are only added. Every line has v, type,
// ts (RFC 3339, UTC) and, once there is one, run (the short id).
//
//	run_start   id (whole), cmd, nodes, conc, program {name, release, revision, modified}
//	node_start  node, target, list, digest, from, to, steps
//	connected   node
//	note        node, message, hint
//	lock        node, holder {dir, user, host, run, since, list, message, step, alive,
//	            program}
//	step        node, step, of, name, where, op, status, ms; exit, signal, tries,
//	            message, hint, note, tail, lines, bytes where there is something
//	tests       node, when ("before" or "after" the steps), suite, status (of what was
//	            not so before), ms, known (how many were), counts {status: checks},
//	            checks [{n, name, check, status, ms, known, want, got, message, hint}]
//	node_end    node, status, code, step (where it stopped), done, not_started,
//	            steps [{step, name, where, status}] with every step that was asked
//	            for ("not started" is a status here), open (our bundle is open
//	            there), ms, message, hint, holder, resume (the argv that goes on
//	            with the run), next (argv lists of all that can be done)
//	hold        nodes (those that wait for somebody's word, after the canaries), message, hint
//	run_end     status, code, counts {status: nodes}, not_ok (the nodes), ms, log;
//	            message, hint when the run could not begin
//
// run_end is the last line, always. With -v there are step_start, output (at
// most 1000 bytes of text) and progress (done, total; at most one a second and
// node) as well. Durations are milliseconds.
type jsonLines struct {
	o        Options
	out      io.Writer
	live     io.Writer // for what may be left out
	began    time.Time
	progress map[string]time.Time // of the last one told, by node
}

// notStarted is what a step's status is called while it has none.
const notStarted = "not started"

type record struct {
	V    int    `json:"v"`
	Type string `json:"type"`
	TS   string `json:"ts"`
	Run  string `json:"run,omitempty"`
	Node string `json:"node,omitempty"`

	ID      string          `json:"id,omitempty"`
	Cmd     string          `json:"cmd,omitempty"`
	Nodes   []string        `json:"nodes,omitempty"`
	Conc    string          `json:"conc,omitempty"`
	Program *bundle.Program `json:"program,omitempty"`

	Target string `json:"target,omitempty"`
	List   string `json:"list,omitempty"`
	Digest string `json:"digest,omitempty"`
	From   int    `json:"from,omitempty"`
	To     int    `json:"to,omitempty"`

	Step    int      `json:"step,omitempty"`
	Of      int      `json:"of,omitempty"`
	Name    string   `json:"name,omitempty"`
	Where   string   `json:"where,omitempty"`
	Op      string   `json:"op,omitempty"`
	Status  string   `json:"status,omitempty"`
	Code    *int     `json:"code,omitempty"`
	MS      *int64   `json:"ms,omitempty"`
	Exit    int      `json:"exit,omitempty"`
	Signal  int      `json:"signal,omitempty"`
	Tries   int      `json:"tries,omitempty"`
	Message string   `json:"message,omitempty"`
	Hint    string   `json:"hint,omitempty"`
	Note    string   `json:"note,omitempty"`
	Tail    []string `json:"tail,omitempty"`
	Lines   int      `json:"lines,omitempty"`
	Bytes   int64    `json:"bytes,omitempty"`
	Text    string   `json:"text,omitempty"`
	Done    *int64   `json:"done,omitempty"`
	Total   int64    `json:"total,omitempty"`

	NotStarted *int           `json:"not_started,omitempty"`
	Steps      any            `json:"steps,omitempty"`
	Open       *bool          `json:"open,omitempty"`
	Resume     []string       `json:"resume,omitempty"`
	Next       [][]string     `json:"next,omitempty"`
	Holder     *holder        `json:"holder,omitempty"`
	Counts     map[string]int `json:"counts,omitempty"`
	NotOK      []string       `json:"not_ok,omitempty"`
	Log        string         `json:"log,omitempty"`
}

type holder struct {
	Dir     string          `json:"dir"`
	User    string          `json:"user,omitempty"`
	Host    string          `json:"host,omitempty"`
	Run     string          `json:"run,omitempty"`
	Since   string          `json:"since,omitempty"`
	List    string          `json:"list,omitempty"`
	Message string          `json:"message,omitempty"`
	Step    string          `json:"step,omitempty"`
	Alive   bool            `json:"alive"`
	Program *bundle.Program `json:"program,omitempty"`
}

type stepStatus struct {
	Step   int    `json:"step"`
	Name   string `json:"name"`
	Where  string `json:"where"`
	Status string `json:"status"`
}

func (j *jsonLines) show(e runner.Event) {
	switch e.Type {
	case runner.TestStart:
		return
	case runner.TestEnd:
		j.tests(e)
		return
	}
	r := record{Type: string(e.Type), Node: e.Node, Run: bundle.Short(e.Run)}
	if e.Step.N > 0 {
		r.Step, r.Name, r.Where = e.Step.N, e.Step.Name, string(e.Step.Host)
		if e.Plan != nil {
			r.Of = len(e.Plan.Steps)
		}
	}
	switch e.Type {
	case runner.RunStart:
		j.began = e.Time
		r.ID, r.Cmd, r.Nodes, r.Conc, r.Program = e.Run, e.Command, e.Nodes, e.Version, e.Program
	case runner.NodeStart:
		r.Target, r.From, r.To = e.Target, e.From, e.To
		r.List, r.Digest, r.Steps = e.Plan.List, e.Plan.Digest, e.To-e.From+1
	case runner.Connected:
	case runner.Output, runner.Progress, runner.StepStart:
		if !j.o.Verbose || !j.extra(e, &r) {
			return
		}
	case runner.StepEnd:
		j.step(e, &r)
	case runner.Note, runner.Lock:
		r.Message, r.Hint, r.Holder = e.Text, e.Hint, holderOf(e.Held)
	case runner.NodeEnd:
		j.nodeEnd(e, &r)
	case runner.Hold:
		r.Nodes, r.Message, r.Hint = e.Nodes, e.Text, e.Hint
	case runner.RunEnd:
		r.NotOK = e.NotOK
		r.Status, r.Code, r.Log = statusOfCode(e.Code), &e.Code, e.Log
		r.Message, r.Hint = e.Text, e.Hint
		r.MS = millis(e.Time.Sub(j.began))
		r.Counts = map[string]int{}
		for _, s := range []jobs.Status{jobs.OK, jobs.Blocked, jobs.Failed, jobs.Stopped, jobs.Errored, jobs.TimedOut, ""} {
			r.Counts[statusName(s)] = e.Counts[s]
		}
	}
	j.write(e.Time, r)
}

// extra fills in what is only told with -v, and tells whether it is to be.
func (j *jsonLines) extra(e runner.Event, r *record) bool {
	switch e.Type {
	case runner.Output:
		r.Text = string(e.Data[:min(len(e.Data), 1000)])
		r.Bytes = int64(len(e.Data))
	case runner.Progress:
		if e.Time.Sub(j.progress[e.Node]) < time.Second {
			return false
		}
		j.progress[e.Node] = e.Time
		r.Done, r.Total = &e.Done, e.Total
		if e.Local {
			r.Message = "sending conc"
		}
	}
	return true
}

func (j *jsonLines) step(e runner.Event, r *record) {
	res := e.Result
	r.Op, r.Status, r.MS = e.Step.OpName, string(res.Status), millis(res.Took)
	r.Exit, r.Signal = res.Exit, res.Signal
	if res.Tries > 1 {
		r.Tries = res.Tries
	}
	r.Message, r.Hint, r.Note = res.Message, res.Hint, res.Note
	r.Lines, r.Bytes = res.Lines, res.Bytes
	if res.Status != jobs.OK {
		r.Tail = res.Tail
	}
	r.Holder = holderOf(e.Held)
}

func (j *jsonLines) nodeEnd(e runner.Event, r *record) {
	o := e.Outcome
	r.Status, r.Code, r.Step = statusName(o.Status), &o.Code, o.Stopped
	done := int64(o.Done)
	r.Done, r.NotStarted, r.Open, r.MS = &done, &o.NotStarted, &o.Open, millis(o.Took)
	r.Message, r.Hint = e.Text, e.Hint
	if o.Err != nil {
		r.Message = o.Err.Error()
		if r.Hint == "" {
			r.Hint = j.o.Hint(o.Err)
		}
	}
	r.Holder = holderOf(o.Held)
	r.Steps = allSteps(e)
	r.Resume = resume(j.o, e)
	for _, p := range nextCommands(j.o, e) {
		r.Next = append(r.Next, p.argv...)
	}
}

// allSteps gives the status of every step that was asked for.
func allSteps(e runner.Event) []stepStatus {
	if e.Plan == nil {
		return nil
	}
	from, to := asked(e)
	ended := map[int]jobs.Status{}
	for _, r := range e.Outcome.Results {
		ended[r.Step] = r.Status
	}
	all := make([]stepStatus, 0, to-from+1)
	for _, s := range e.Plan.Steps[from-1 : to] {
		all = append(all, stepStatus{Step: s.N, Name: s.Name, Where: string(s.Host), Status: statusName(ended[s.N])})
	}
	return all
}

// asked gives the range of steps that an event's run is about.
func asked(e runner.Event) (from, to int) {
	if e.From < 1 || e.To < e.From || e.To > len(e.Plan.Steps) {
		return 1, len(e.Plan.Steps)
	}
	return e.From, e.To
}

// fail writes the end of a run that could not begin.
func (j *jsonLines) fail(now time.Time, code int, message, hint string) {
	ms := int64(0)
	if !j.began.IsZero() {
		ms = now.Sub(j.began).Milliseconds()
	}
	j.write(now, record{Type: string(runner.RunEnd), Status: statusOfCode(code), Code: &code, Message: message, Hint: hint, MS: &ms})
}

func (j *jsonLines) write(ts time.Time, r record) {
	w := j.out
	if r.Type == string(runner.Output) || r.Type == string(runner.Progress) {
		w = j.live
	}
	_, _ = w.Write(encode(ts, r))
}

// leftOut is the note that stands for live output which was left out.
func (j *jsonLines) leftOut(lost int64) (io.Writer, []byte) {
	return j.o.Out, encode(j.o.Now(), record{Type: string(runner.Note), Message: leftOut(lost)})
}

// lineTime is how a line writes when it was written.
const lineTime = "2006-01-02T15:04:05.000Z"

func encode(ts time.Time, r record) []byte {
	r.V = 1
	r.TS = ts.UTC().Format(lineTime)
	line, err := JSON(r)
	if err != nil { // no field of a record can cause one
		line = fmt.Appendf(nil, "{\"v\":1,\"type\":\"note\",\"message\":%q}\n", err)
	}
	return line
}

// JSON encodes v as one line. What a terminal would act on stands in it as
// \u escapes, so that it can be looked at as it is.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	line := b.Bytes()
	if !bytes.ContainsFunc(line[:len(line)-1], harmful) {
		return line, nil
	}
	var safe bytes.Buffer
	for _, r := range string(line[:len(line)-1]) {
		switch {
		case !harmful(r): // in JSON, these are only within strings
			safe.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&safe, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			fmt.Fprintf(&safe, `\u%04x`, r)
		}
	}
	safe.WriteByte('\n')
	return safe.Bytes(), nil
}

func holderOf(h *bundle.HeldError) *holder {
	if h == nil {
		return nil
	}
	r := &holder{Dir: h.Dir, Step: h.Step, Alive: h.Alive}
	if o := h.Owner; o != nil {
		r.User, r.Host, r.Run, r.List, r.Message = o.User, o.Host, bundle.Short(o.Run), o.List, o.Message
		r.Program = o.Program
		r.Since = o.Since.UTC().Format(time.RFC3339)
	}
	return r
}

func millis(d time.Duration) *int64 {
	ms := d.Milliseconds()
	return &ms
}

// statusName is a status as people and programs read it.
func statusName(s jobs.Status) string {
	if s == "" {
		return notStarted
	}
	return string(s)
}

// statusOfCode gives the status that an exit code stands for.
func statusOfCode(code int) string {
	switch code {
	case 0:
		return string(jobs.OK)
	case 1:
		return string(jobs.Failed)
	case 3:
		return string(jobs.Blocked)
	case 7, 130:
		return string(jobs.Stopped)
	case 124:
		return string(jobs.TimedOut)
	}
	return string(jobs.Errored)
}
