package jobs

import (
	"time"

	"example.org/conc/config"
)

// Entry is one op of a catalogue: how a line of deploy.ini names it and how its
// arguments become an Op. `conc ops` and the manual print it.
type Entry struct {
	Name    string
	Args    string // usage: "SOURCE... [to=DIR]"
	Summary string // one line, lower case, no full stop
	Help    string // paragraphs: what it does on each host, what is BLOCKED, FAILED, ERROR
	Example string // one line for deploy.ini, from HOST on
	// Parse makes the op of its arguments, which are substituted (a secret is
	// still a token). It is pure. It checks number and form of the arguments.
	Parse func(args []string) (Op, error)
}

// Catalogue is the ops that a program knows, read top to bottom.
type Catalogue []Entry

// Lookup finds an op by its name.
func (c Catalogue) Lookup(name string) (Entry, bool) { panic("contract") }

// Spec is one planned line in a form that can travel: the agent builds the same
// step of it.
type Spec struct {
	Name    string        `json:"name"`
	Host    Host          `json:"host"`
	Sudo    bool          `json:"sudo,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"` // nanoseconds, resolved, never 0
	Retry   int           `json:"retry,omitempty"`
	Words   []string      `json:"words"` // op and arguments, substituted; secrets are tokens
}

// Step is one numbered step of a plan.
type Step struct {
	N int // from 1
	Job
	OpName string        // catalogue name; for an op of a Go list, its type's name
	Words  []string      // as in Spec; nil for an op of a Go list
	Origin config.Origin // where the line was written
	cat    Catalogue
}

// Plan is a node's list of steps, made without network or clock. Both ends
// hold the same one, so that a step's number is all that has to travel.
type Plan struct {
	Node   *config.Node
	List   string
	Steps  []Step
	Digest string // hex sha256 of everything that decides what the steps do
}

// Planner makes plans.
type Planner struct {
	Catalogue Catalogue
	Lists     map[string]List // of a Go program; a [jobs:NAME] of the same name is an error
}

// Plan makes node's plan of the list called list ("" is the node's jobs key).
// Modifiers are read, words substituted, ops made and validated. The error is
// config.Problems.
func (p Planner) Plan(f *config.File, node *config.Node, list string) (*Plan, error) {
	panic("contract")
}

// Specs gives the plan in the form that travels; nil Words mean an op of a Go list.
func (p *Plan) Specs() []Spec { panic("contract") }

// Rebuild is the agent's side of Plan: the same steps, of the node's values and
// the specs that came over the line. The error says what does not match.
func (p Planner) Rebuild(node *config.Node, list string, specs []Spec) (*Plan, error) {
	panic("contract")
}

// UsesSecrets lists the names of the secrets that the steps of host h in from..to
// stand on, without repeats.
func (p *Plan) UsesSecrets(h Host, from, to int) []string { panic("contract") }

// Find gives the number of the step that s names, by number or by name.
func (p *Plan) Find(s string) (int, error) { panic("contract") }
