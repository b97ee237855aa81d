package ui

import (
	"io"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// TestLines writes an examination of nodes as JSON, one object a line, in the
// schema of the lines of a deploy ("v":1). Several nodes' lines may alternate.
//
//	run_start     id (whole), cmd "nodetest", nodes, conc
//	check         node, suite, n, name, check, status, ms; want and got (as many of
//	              each, of what was not as wanted), message, hint, output (lines of a
//	              Go test), tries, known where there is something
//	nodetest_end  node, target, suite, status, code, ms, checks (that were asked for),
//	              counts {status: checks}, known; message and hint of a node that
//	              could not be asked, or not to the end
//	run_end       status, code, ms, counts {status: nodes}
//
// Every node has its nodetest_end; run_end is the last line.
type TestLines struct {
	Out io.Writer
	Run string
	Now func() time.Time
}

type checkRecord struct {
	V      int    `json:"v"`
	Type   string `json:"type"`
	TS     string `json:"ts"`
	Run    string `json:"run,omitempty"`
	Node   string `json:"node"`
	Target string `json:"target,omitempty"`
	Suite  string `json:"suite,omitempty"`

	N      int      `json:"n,omitempty"`
	Name   string   `json:"name,omitempty"`
	Check  string   `json:"check,omitempty"`
	Status string   `json:"status"`
	Code   *int     `json:"code,omitempty"`
	MS     int64    `json:"ms"`
	Want   []string `json:"want,omitempty"`
	Got    []string `json:"got,omitempty"`

	Message string   `json:"message,omitempty"`
	Hint    string   `json:"hint,omitempty"`
	Output  []string `json:"output,omitempty"`
	Tries   int      `json:"tries,omitempty"`

	Known  any            `json:"known,omitempty"` // of a check true, of a node how many
	Checks *int           `json:"checks,omitempty"`
	Counts map[string]int `json:"counts,omitempty"`
}

// Start writes run_start.
func (l TestLines) Start(nodes []string, version string) {
	l.write(encode(l.Now(), record{Type: "run_start", Run: bundle.Short(l.Run), ID: l.Run, Cmd: "nodetest", Nodes: nodes, Conc: version}))
}

// Result writes check.
func (l TestLines) Result(node, suite string, r nodetest.Result) {
	c := checkRecord{
		Type: "check", Node: node, Suite: suite, N: r.N, Name: r.Name, Check: r.Check, Status: string(r.Status),
		MS: r.Took.Milliseconds(), Want: r.Want, Got: r.Got, Message: r.Text, Hint: r.Hint, Output: r.Output, Tries: r.Tries,
	}
	if r.Known {
		c.Known = true
	}
	l.record(c)
}

// Node writes nodetest_end.
func (l TestLines) Node(e Examined) {
	counts, known := e.Counts()
	r := checkRecord{
		Type: "nodetest_end", Node: e.Node, Target: e.Target, Suite: e.Suite, Status: string(e.Status()), Code: &e.Code,
		MS: e.Took.Milliseconds(), Checks: &e.Asked, Counts: map[string]int{},
	}
	for _, s := range statuses {
		r.Counts[string(s)] = counts[s]
	}
	if known > 0 {
		r.Known = known
	}
	if e.Err != nil {
		r.Message, r.Hint = e.Err.Error(), e.Hint
	}
	l.record(r)
}

// End writes run_end.
func (l TestLines) End(all []Examined, code int) {
	r := record{Type: "run_end", Run: bundle.Short(l.Run), Status: statusOfCode(code), Code: &code, MS: millis(span(all)), Counts: map[string]int{}}
	for _, s := range []jobs.Status{jobs.OK, jobs.Failed, jobs.TimedOut, jobs.Errored, jobs.Stopped} {
		r.Counts[string(s)] = 0
	}
	for _, e := range all {
		r.Counts[string(e.Status())]++
	}
	l.write(encode(l.Now(), r))
}

// All writes every line of an examination that is over.
func (l TestLines) All(all []Examined, code int, version string) {
	nodes := make([]string, len(all))
	for i, e := range all {
		nodes[i] = e.Node
	}
	l.Start(nodes, version)
	for _, e := range all {
		for _, r := range e.Results {
			l.Result(e.Node, e.Suite, r)
		}
		l.Node(e)
	}
	l.End(all, code)
}

func (l TestLines) record(r checkRecord) {
	r.V, r.Run = 1, bundle.Short(l.Run)
	r.TS = l.Now().UTC().Format(lineTime)
	line, err := JSON(r)
	if err != nil { // no field of a record can cause one
		return
	}
	l.write(line)
}

func (l TestLines) write(line []byte) { _, _ = l.Out.Write(line) }
