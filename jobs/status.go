package jobs

import (
	"context"
	"errors"
	"fmt"

	"example.org/conc/bundle"
)

// Status is how a step ended.
type Status string

// The six statuses. The names are the article's; what each means is in the
// manual's table, with the exit codes.
const (
	OK       Status = "OK"        // the step did what it is for
	Blocked  Status = "BLOCKED"   // nothing was changed: a person is needed first
	Failed   Status = "FAILED"    // the op ran and said no
	Stopped  Status = "STOPPED"   // the operator said so
	Errored  Status = "ERROR"     // conc could not run the op, or cannot vouch for its outcome
	TimedOut Status = "TIMED OUT" // over its limit, and confirmed dead
)

// Error is an outcome that is not OK.
type Error struct {
	Status Status
	Err    error
	Hint   string // what to do about it: one line; only the command line prints it
	Exit   int    // a command's exit status, when it had one (over 0)
	Signal int    // the signal that killed a command, when one did
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithHint returns e with a hint set.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Blockedf is an error for an op that changed nothing because a person is
// needed first.
func Blockedf(format string, args ...any) *Error {
	return &Error{Status: Blocked, Err: fmt.Errorf(format, args...)}
}

// Failedf is an error for an op that ran and said no.
func Failedf(format string, args ...any) *Error {
	return &Error{Status: Failed, Err: fmt.Errorf(format, args...)}
}

// Errorf is an error for an op that could not be run, or whose outcome is not
// known.
func Errorf(format string, args ...any) *Error {
	return &Error{Status: Errored, Err: fmt.Errorf(format, args...)}
}

// Stoppedf is an error for an op that ends the run because the operator wants
// it to.
func Stoppedf(format string, args ...any) *Error {
	return &Error{Status: Stopped, Err: fmt.Errorf(format, args...)}
}

// StatusOf gives the status that err stands for: OK for nil; ERROR for a full
// disk and for a lost lock, whatever the op made of it; BLOCKED for a held
// bundle; STOPPED for a cancelled context; FAILED for an error that says
// nothing else.
func StatusOf(err error) Status {
	var (
		e    *Error
		held *bundle.HeldError
	)
	switch {
	case err == nil:
		return OK
	case noSpace(err), errors.Is(err, bundle.ErrLost):
		return Errored
	case errors.As(err, &e) && e.Status != "" && e.Status != OK:
		return e.Status
	case errors.As(err, &held):
		return Blocked
	case errors.Is(err, context.Canceled):
		return Stopped
	}
	return Failed
}
