package jobs

import (
	"context"
	"io"

	"github.com/rs/zerolog"

	"example.org/conc/bundle"
	"example.org/conc/config"
)

// Env is what an op is given. Its fields are set by conc; an op does not
// change them.
type Env struct {
	Node *config.Node // the node's attributes, on both hosts
	Host Host         // the host that the op is on
	Step int          // the step's number, from 1

	Home   string       // the home directory on this host, absolute
	Dir    string       // where relative paths start: Home on the node, deploy.ini's folder on the workstation
	Bundle string       // the bundle's path on this host, absolute
	Owner  bundle.Owner // who runs this, for the lock

	Log      zerolog.Logger
	Out      io.Writer                         // live output: bytes of any kind, bounded and escaped by conc
	Progress func(done, total int64)           // in bytes; never nil; total 0 when not known
	Far      bundle.Far                        // the node, for a local op of a run that has one; else nil
	Secret   func(name string) (string, error) // looks a secret up by its name; never nil
	Ask      func(question string) error       // for hold: nil to go on, ErrNoAnswer when nobody can be asked
}

// Attr gives a node's attribute with its secrets revealed, for an op's own use.
func (e *Env) Attr(key string) (string, error) {
	return config.Reveal(e.Node.Get(key), e.Secret)
}

// Cmd is a command to run.
type Cmd struct {
	Args   []string  // argv; no shell is involved
	Dir    string    // "" is Env.Dir
	Env    []string  // KEY=value, beside those that the process has
	Stdin  io.Reader // nil is empty
	Stdout io.Writer // nil is Env.Out
}

// Run runs a command in a process group of its own and waits for it. Standard
// error goes to Env.Out. A non-zero exit is FAILED with Error.Exit, death by a
// signal FAILED with Error.Signal. When ctx is done the group is sent TERM, 10 s
// later KILL, and looked for: an error that says it lives on is ERROR. A
// background process that keeps the pipes open does not hold Run up.
func (e *Env) Run(ctx context.Context, c Cmd) error { panic("contract") }
