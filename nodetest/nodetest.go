// Package nodetest looks whether a node is as it should be: by checks, which
// are lines of a [nodetest:NAME] section of deploy.ini, and by Go tests that
// are run on the node.
//
// "If it executes a module on a node it can run a test on a node", as the
// Change on Command article has it. The checks run inside conc's agent, so the
// node needs nothing installed for them. They only look, and change nothing.
package nodetest

import (
	"context"
	"errors"
	"fmt"

	"example.org/conc/jobs"
)

// Check is one thing to look at, with what is wanted of it.
type Check interface {
	// Look looks and changes nothing. It gives a Finding for each thing that was
	// wanted, in order. An error says that it could not look: one made by Skipf,
	// that there is nothing to look at on this host. It returns soon after ctx is
	// done.
	Look(ctx context.Context, env *jobs.Env) ([]Finding, error)
}

// Finding is one thing that was wanted, and what was found.
type Finding struct {
	OK   bool
	Want string // "mode 0644"
	Got  string // "mode 0600"
}

// found is a Finding about a property: `mode: want "0644", got "0600"`.
func found(ok bool, property, want, got string) Finding {
	return Finding{OK: ok, Want: property + " " + want, Got: property + " " + got}
}

// skip is why there is nothing to look at.
type skip struct{ reason string }

func (s *skip) Error() string { return s.reason }

// Skipf is an error for a check that makes no sense on this host: a service
// where there is no systemd, say. The check is SKIPPED, with this reason.
func Skipf(format string, args ...any) error { return &skip{fmt.Sprintf(format, args...)} }

func isSkip(err error) bool {
	var s *skip
	return errors.As(err, &s)
}
