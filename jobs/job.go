// Package jobs says what a deploy does: jobs in order, each an operation on one
// of two hosts, and the operations that come with conc.
//
// The shape is that of the Change on Command article: a list of Job, each with
// a host and an op, whose outcome is one of six statuses.
package jobs

import (
	"context"
	"time"

	"example.org/conc/config"
)

// Host is the end that a job runs on.
type Host string

// The two hosts of a deploy.
const (
	Local  Host = "local"  // the operator's workstation
	Remote Host = "remote" // the node
)

// Op is an operation. Do performs it and returns nil when it did what it is
// for (OK). Any other error is FAILED, unless it is or wraps an *Error that
// carries another status. Do is the same code on both hosts and must return
// soon after ctx is done.
type Op interface {
	Do(ctx context.Context, env *Env) error
}

// OpFunc is an op made of a function.
type OpFunc func(ctx context.Context, env *Env) error

// Do calls f.
func (f OpFunc) Do(ctx context.Context, env *Env) error { return f(ctx, env) }

// Validator is an op that can judge its arguments before any connection.
type Validator interface{ Validate() error }

// Checker is an op that can judge, before any connection, whether it fits a
// node: whether an attribute that it stands on is there, say.
type Checker interface{ Check(n *config.Node) error }

// ByHander is an op that can tell the exact shell lines that a person would
// type instead of it, on the host that it runs on, from the home directory.
// Secrets stand as their tokens: see config.Mask.
type ByHander interface {
	ByHand(n *config.Node) []string
}

// Verifier is an op that can look, without changing anything, whether its
// effect is there: nil when it is.
type Verifier interface {
	Verify(ctx context.Context, env *Env) error
}

// Repeatable is an op that may be run again after it failed or was cut short.
// Only such ops take the modifier retry.
type Repeatable interface{ Repeatable() }

// Preparer is a local op that can look at what it needs (source files, say)
// without changing anything. The runner asks before the lock is taken, unless
// an earlier local step could still make what is missing.
type Preparer interface {
	Prepare(ctx context.Context, env *Env) error
}

// Inert is an op that makes no files that a later step of its host could need:
// opening and closing a bundle, waiting, holding, delivering.
type Inert interface{ Inert() }

// Placed is an op that works on one host only; the planner holds it to that.
type Placed interface{ Place() Host }

// Limiter is an op whose time limit, when its job names none, is not the node's
// timeout.job.
type Limiter interface{ Limit() time.Duration }

// SecretUser is an op that looks up secrets which are not in its words: those
// in the attributes that a template names, say. Secrets lists their names, so
// that they can be asked for before the first step.
type SecretUser interface {
	Secrets(n *config.Node) []string
}

// Revealer is an op that reveals the secrets in its words itself, when it needs
// them: it is given them as tokens.
type Revealer interface{ Reveals() }

// PartRoot is an op that does a part of its work as root, by Env.Call, without
// being a step with sudo. Where it says so, sudo is proved before the first step.
type PartRoot interface{ PartAsRoot() bool }

// Worded is an op for a list in Go that is planned like a line of deploy.ini:
// Words are its op and arguments, as such a line has them.
type Worded interface{ Words() []string }

// Job is one line of a list.
type Job struct {
	Name    string
	Host    Host
	Sudo    bool
	Timeout time.Duration // 0: the node's timeout.job
	Retry   int           // further tries after the first one that FAILED
	Op      Op
}

// List is an ordered list of jobs.
type List []Job
