// Package runner says when: it takes a plan through its steps, on both hosts,
// stops at the first that is not OK, and reports what happens as events. It
// never formats anything.
package runner

import (
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// Type is the kind of an Event, as the JSON lines name it.
type Type string

// The types. StepStart, Output and Progress are left out of --json unless asked for.
const (
	RunStart  Type = "run_start"
	NodeStart Type = "node_start"
	Connected Type = "connected"
	StepStart Type = "step_start"
	Output    Type = "output"
	Progress  Type = "progress" // at most one a second
	StepEnd   Type = "step"
	Note      Type = "note" // something the operator should know; not a result
	Lock      Type = "lock" // the node is held: Held is set
	Hold      Type = "hold" // the canaries are OK, and somebody is to say whether Nodes, the rest, follow
	TestStart Type = "test_start"
	TestEnd   Type = "tests" // the checks before the first step, or after the last one
	NodeEnd   Type = "node_end"
	RunEnd    Type = "run_end"
)

// Event is one thing that happened. The terminal, the JSON lines, the log and
// the journal are functions of it. Only the fields that the type needs are set.
// Text in it is not escaped yet.
type Event struct {
	Type Type
	Time time.Time
	Run  string // ULID; empty before a run has one
	Node string

	// RunStart
	Command string // "deploy"
	Nodes   []string
	Forks   int    // how many of them at a time
	Version string // of conc
	Program *bundle.Program

	// NodeStart to NodeEnd
	Plan   *jobs.Plan
	From   int
	To     int
	Target string // user@host:port

	// StepStart, Output, Progress, StepEnd
	Step        jobs.Step
	Data        []byte // Output
	Done, Total int64  // Progress, bytes
	Result      jobs.Result
	Local       bool // the output is of an upload of conc itself, not of a step

	// TestStart, TestEnd
	After bool // the last step; else before the first
	Tests *nodetest.Report

	// Note, and the reason in NodeEnd when no step was run
	Text string
	Hint string

	// Lock, and NodeEnd when the node was BLOCKED by a holder
	Held *bundle.HeldError

	// NodeEnd, RunEnd
	Outcome *Outcome
	Code    int // exit code
	Counts  map[jobs.Status]int
	NotOK   []string // nodes
	Log     string   // path of the log file
}

// Outcome is how a node's run ended.
type Outcome struct {
	Node       string
	Status     jobs.Status
	Code       int // exit code of this node alone
	Stopped    int // the step it stopped at; 0: none, or all done
	Done       int // steps OK
	NotStarted int
	Took       time.Duration
	Err        error             // why, when no step says it
	Note       string            // why it was not started, when its turn never came: Status is "" then
	Open       bool              // the bundle is open on the node, and ours
	Closed     bool              // this run has closed it there: what is left needs no lock
	Left       bool              // the operator left while a step ran, or did not wait for the line: its end is not known here
	Held       *bundle.HeldError // who holds it, when someone else does
	Own        bool              // another run of the same operator's has it
	ByHand     []string          // the lines that a person would type for the step
	SSH        []string          // arguments for the user's own ssh program
	BundleName string            // the node's bundle, relative to the home
	Results    []jobs.Result

	// Of the checks that go with the run; nil: they were not made.
	Before, After *nodetest.Report
}

// Sink is told of every event, in order, from one goroutine at a time.
type Sink func(Event)
