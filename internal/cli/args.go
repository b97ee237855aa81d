package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Cobra's own checks of positional arguments bypass the hook for flag errors,
// so these make usage errors by themselves.

// noArgs refuses every argument.
func noArgs(cmd *cobra.Command, args []string) error { return between(0, 0)(cmd, args) }

// exactly wants n arguments.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

// atLeast wants n arguments or more.
func atLeast(n int) cobra.PositionalArgs { return between(n, -1) }

// between wants from low to high arguments; high -1 is without limit.
func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		var err error
		switch {
		case len(args) < low:
			err = fmt.Errorf("%s: an argument is missing", cmd.CommandPath())
		case high >= 0 && len(args) > high:
			err = fmt.Errorf("%s: unexpected argument %q", cmd.CommandPath(), args[high])
		default:
			return nil
		}
		return usageError{err: err, hint: "usage: " + cmd.UseLine()}
	}
}
