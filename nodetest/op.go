package nodetest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// SuiteOp makes the checks of a suite as a step of a list of jobs. In a list in
// Go it is written with its Name only; the checks are those of deploy.ini.
type SuiteOp struct {
	Name string // "": the node's nodetest key names it

	suite  Suite
	checks Catalogue
}

// opName is how a line of deploy.ini names the op.
const opName = "nodetest"

// Op is the op that makes the checks of a suite, for a catalogue of ops.
func (c Catalogue) Op() jobs.Entry {
	return jobs.Entry{
		Name:    opName,
		Args:    "[SUITE]",
		Summary: "make the checks of a suite, and go on only if they are OK",
		Help: `The suite is a section [nodetest:SUITE] of deploy.ini; without one it is that of
the node's nodetest key. A remote step makes the checks on the node. A local one
makes them on the workstation: for what is to be seen from outside, a port that is
reachable or a URL as the world has it. Their values are the node's in either case.

FAILED when a check FAILED; ERROR when one could not be made, which counts for more;
TIMED OUT when one was over its limit. A check that is SKIPPED is no fault. The
step's output has what was wanted and what was found.

A check with sudo is made as root, and the others are not: the modifier sudo of the
step makes all of them as root. The step's timeout is for the suite as a whole, and
with retry the suite is made again as long as a check FAILED.`,
		Example: "remote timeout=2m retry=5 nodetest web",
		Expand:  c.expand,
		Brief: func(args []string) string {
			if len(args) == 0 {
				return ""
			}
			return fmt.Sprintf("%s (%s)", shellescape.Quote(args[0]), count(len(args)-1, "check"))
		},
		Parse: func(args []string) (jobs.Op, error) {
			if len(args) == 0 {
				return nil, errors.New("it needs the suite's name")
			}
			op := SuiteOp{Name: args[0], suite: Suite{Name: args[0]}, checks: c}
			for i, line := range args[1:] {
				spec, err := c.parseLine(line)
				if err != nil {
					return nil, err
				}
				spec.N = i + 1
				op.suite.Checks = append(op.suite.Checks, spec)
			}
			return op, nil
		},
	}
}

// expand gives the suite's name, and each of its checks as one word.
func (c Catalogue) expand(f *config.File, node *config.Node, args []string) ([]string, error) {
	name := ""
	switch {
	case len(args) > 1:
		return nil, fmt.Errorf("it takes the name of a suite, and no more: %q", config.Mask(args[1]))
	case len(args) == 1 && args[0] == "":
		return nil, errors.New("an empty argument")
	case len(args) == 1:
		name = args[0]
	}
	suite, err := c.Plan(f, node, name)
	if err != nil {
		var problems config.Problems
		if errors.As(err, &problems) && len(problems) == 1 && problems[0].Origin.Section == askedFor {
			return nil, errors.New(strings.TrimSuffix(problems[0].Reason+"; "+problems[0].Hint, "; ")) // the line's own fault
		}
		return nil, err
	}
	words := []string{suite.Name}
	for _, spec := range suite.Checks {
		words = append(words, spec.line())
	}
	return words, nil
}

// Words are those of a line of deploy.ini.
func (o SuiteOp) Words() []string {
	if o.Name == "" {
		return []string{opName}
	}
	return []string{opName, o.Name}
}

// Repeatable: the checks change nothing.
func (SuiteOp) Repeatable() {}

// Inert: they make no files either.
func (SuiteOp) Inert() {}

// Reveals says that what a check looks for is revealed when it is made.
func (SuiteOp) Reveals() {}

// PartAsRoot tells whether a check is to be made as root.
func (o SuiteOp) PartAsRoot() bool { return o.suite.NeedsSudo() }

// ByHand is conc itself, on the workstation.
func (o SuiteOp) ByHand(n *config.Node) []string {
	return []string{"conc nodetest " + shellescape.QuoteCommand([]string{n.Name(), "--suite", o.Name}) + "   # from the workstation"}
}

// Do makes the checks. Those that are OK are written as they come, those that
// are not at the end: it is the end of a step's output that is shown.
func (o SuiteOp) Do(ctx context.Context, env *jobs.Env) error {
	if o.checks == nil {
		return jobs.Errorf("the suite was not planned") // a list in Go that was not planned either
	}
	var all []Result
	o.checks.Run(ctx, env, o.suite.Checks, Options{}, func(r Result) {
		all = append(all, r)
		if !r.Bad() {
			_, _ = fmt.Fprint(env.Out, r.text())
		}
	})
	unsure := false
	for _, r := range all {
		if r.Bad() {
			_, _ = fmt.Fprint(env.Out, r.text())
		}
		unsure = unsure || r.Alive
	}
	status := Worst(all)
	if status == jobs.OK {
		env.Note("%s", tally(all))
		return nil
	}
	said := summary(all)
	if ctx.Err() != nil && !unsure {
		return fmt.Errorf("%s: %w", said, ctx.Err())
	}
	err := &jobs.Error{Status: status, Err: errors.New(said)}
	if env.Host == jobs.Remote {
		err = err.WithHint("look again: conc nodetest %s", shellescape.QuoteCommand(append([]string{env.Node.Name(), "--suite", o.Name}, OnlyFlags(all)...)))
	}
	return err
}
