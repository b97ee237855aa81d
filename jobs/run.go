package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"example.org/conc/config"
)

// Run runs a program. Its exit status decides, never its output.
type Run struct {
	Args []string // argv; no shell is involved
}

func runEntry() Entry {
	return Entry{
		Name:    "run",
		Args:    "PROGRAM [ARGUMENT...]",
		Summary: "run a program, without a shell",
		Help: `The program is started with exactly these arguments: no shell sees them, so a
value of deploy.ini needs no further quoting. A name without a slash is looked
for in PATH; a relative path starts at the home on the node, and at the folder of
deploy.ini on the workstation. Standard input is empty.

Its exit status decides: 0 is OK, whatever it printed; anything else, or death by
a signal, is FAILED. A program that cannot be started is ERROR.

It sees CONC_NODE, CONC_RUN, CONC_STEP and CONC_BUNDLE in its environment. PATH on
the node is what ssh gives a command: what ~/.profile adds is not in it.`,
		Example: "remote timeout=10m run venv/bin/shop-migrate --to %(version)s",
		Parse:   func(args []string) (Op, error) { return Run{Args: args}, nil },
	}
}

// Validate wants a program.
func (r Run) Validate() error {
	if len(r.Args) == 0 || r.Args[0] == "" {
		return errors.New("it needs a program to run")
	}
	return noNUL(r.Args...)
}

// Do runs it.
func (r Run) Do(ctx context.Context, env *Env) error {
	return env.Run(ctx, Cmd{Args: r.Args})
}

// ByHand is the command itself. Its program is a path as Env.Path reads it, so
// a ~/ in front stays one.
func (r Run) ByHand(n *config.Node) []string {
	line := quote(r.Args[1:]...)
	if line != "" {
		line = " " + line
	}
	if p := r.Args[0]; strings.HasPrefix(p, "~/") || strings.HasPrefix(p, bundlePrefix) {
		return []string{typed(n, p) + line}
	}
	return []string{quote(r.Args[0]) + line}
}

// Shell has /bin/sh run a line.
type Shell struct {
	Line string
}

func shellEntry() Entry {
	return Entry{
		Name:    "shell",
		Args:    "'LINE'",
		Summary: "have /bin/sh run a line",
		Help: `The line is one argument, quoted in deploy.ini. It is given to /bin/sh -c in the
home on the node, and in the folder of deploy.ini on the workstation. It is the
only op in which a shell reads values of deploy.ini, so quote them in the line.
For a program with arguments, run is the safer choice.

The exit status of the line decides, as for run.`,
		Example: `remote shell 'cd shop && ./rebuild-index | tail -n 3'`,
		Parse: func(args []string) (Op, error) {
			if len(args) != 1 {
				return nil, fmt.Errorf("it takes one argument, not %d: put the whole line in quotes", len(args))
			}
			return Shell{Line: args[0]}, nil
		},
	}
}

// Validate wants a line.
func (s Shell) Validate() error {
	if strings.TrimSpace(s.Line) == "" {
		return errors.New("it needs a line to run")
	}
	return noNUL(s.Line)
}

// Do runs it.
func (s Shell) Do(ctx context.Context, env *Env) error {
	return env.Run(ctx, Cmd{Args: []string{"/bin/sh", "-c", s.Line}})
}

// ByHand is the line in a shell of its own, so that a cd or an exit in it stays
// in it.
func (s Shell) ByHand(*config.Node) []string { return []string{quote("/bin/sh", "-c", s.Line)} }

// quote gives a command as a person would type it. Tokens of secrets stay whole.
func quote(words ...string) string { return shellescape.QuoteCommand(words) }

// noNUL refuses what no program can be given. The NULs of a secret's token are
// not meant.
func noNUL(words ...string) error {
	for _, w := range words {
		if strings.ContainsRune(config.Mask(w), 0) {
			return errors.New("an argument has a NUL byte in it")
		}
	}
	return nil
}
