package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/sshconn"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// The exit codes. They are part of conc's interface: the manual has the table.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitBlocked     = 3
	exitUnreachable = 4
	exitConfig      = 5
	exitError       = 6
	exitStopped     = 7
	exitTimedOut    = 124
	exitInterrupted = 130
)

// severity orders the codes of several nodes: the first that is among them is
// the code of the whole.
var severity = []int{exitInterrupted, exitError, exitUnreachable, exitFailed, exitTimedOut, exitBlocked, exitStopped}

// exitCode is the one place where an error becomes an exit code.
func exitCode(err error) int {
	var (
		told     ended
		usage    usageError
		problems config.Problems
		ssh      *sshconn.Error
		start    *agent.StartError
		lost     *agent.LostError
		outcome  *jobs.Error
		held     *bundle.HeldError
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &told):
		return told.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &problems):
		return exitConfig
	case errors.As(err, &ssh) && ssh.Kind != sshconn.Lost:
		return exitUnreachable
	case errors.As(err, &ssh), errors.As(err, &start), errors.As(err, &lost):
		return exitError
	case errors.As(err, &held):
		return exitBlocked
	case errors.As(err, &outcome):
		return statusCode(outcome.Status)
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitError
}

// statusCode gives the exit code of a step's, or a node's, status.
func statusCode(s jobs.Status) int {
	switch s {
	case jobs.OK:
		return exitOK
	case jobs.Failed:
		return exitFailed
	case jobs.Blocked:
		return exitBlocked
	case jobs.Stopped:
		return exitStopped
	case jobs.TimedOut:
		return exitTimedOut
	}
	return exitError
}

// worst gives the exit code for several nodes.
func worst(codes []int) int {
	seen := map[int]bool{}
	for _, c := range codes {
		seen[c] = true
	}
	for _, c := range severity {
		if seen[c] {
			return c
		}
	}
	for _, c := range codes {
		if c != exitOK {
			return c
		}
	}
	return exitOK
}

// ended is the error of a command whose screen has told everything already.
type ended struct{ code int }

func (e ended) Error() string { return fmt.Sprintf("ended with exit code %d", e.code) }

// usageError says that the command line itself is wrong.
type usageError struct {
	err  error
	hint string
}

func (e usageError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return usageError{err: fmt.Errorf(format, args...)}
}

// panicError is a bug of ours, caught.
type panicError struct{ value any }

func (e panicError) Error() string { return fmt.Sprintf("bug in conc: %v", e.value) }

// hintOf finds what an error wants done about it.
func hintOf(err error) string {
	var (
		usage   usageError
		ssh     *sshconn.Error
		start   *agent.StartError
		outcome *jobs.Error
		bug     panicError
	)
	switch {
	case errors.As(err, &usage):
		return usage.hint
	case errors.As(err, &ssh) && ssh.Hint != "":
		return ssh.Hint
	case errors.As(err, &start) && start.Hint != "":
		return start.Hint
	case errors.As(err, &outcome):
		return outcome.Hint
	case errors.As(err, &bug):
		return "please report it; CONC_DEBUG=1 shows where it happened"
	}
	return ""
}

// complain writes an error and its hint. On a terminal the error is broken between
// words; a hint may have a line to be copied, so that its lines stay as they are.
func (p *program) complain(message, hint string) {
	w := p.streams.Err
	lines := strings.Split(ui.Escape(message), "\n")
	if ui.Terminal(w) {
		lines = ui.Wrap(ui.Escape(message), ui.Width(w))
	}
	fmt.Fprintln(w, strings.Join(lines, "\n"))
	if hint == "" {
		return
	}
	for line := range strings.Lines(ui.Escape(hint)) {
		fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, "\n"))
	}
}

// report tells the user of an error, once, and gives the exit code. With
// --json, standard output ends with a run_end whatever happened.
func (p *program) report(args []string, err error) int {
	code := exitCode(err)
	p.flush()
	var (
		told     ended
		problems config.Problems
	)
	switch {
	case err == nil:
		return code
	case errors.As(err, &told):
	case errors.As(err, &problems):
		for _, q := range problems {
			fmt.Fprintln(p.streams.Err, problemLine(q))
		}
		if len(problems) > 1 {
			fmt.Fprintf(p.streams.Err, "%s: %s\n", p.name(), ui.Count(len(problems), "problem"))
		}
	default:
		p.complain(p.name()+": "+err.Error(), hintOf(err))
	}
	if p.flags.json || slices.Contains(args, "--json") {
		p.flags.json = true // an error in the flags may have come first
		p.ui().Fail(code, err.Error(), hintOf(err))
	}
	return code
}

// interruption is the error of a command that Ctrl-C has ended, in the words that
// people read. The exit code is that of context.Canceled.
type interruption string

func (i interruption) Error() string { return string(i) }

func (interruption) Is(target error) bool { return target == context.Canceled }
