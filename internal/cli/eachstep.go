package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// canAsk refuses to ask before each step where there is nobody to ask.
func (p *program) canAsk(each bool) error {
	if each && p.terminal() == nil {
		return usageError{err: errors.New("--step asks before each step, and there is no terminal to ask on"), hint: "to halt after a step, use --to"}
	}
	return nil
}

// errQuit is the answer that stops a run before a step.
var errQuit = errors.New("the answer was q")

// beforeEach gives the question that is asked before each step of a node; nil
// when none is.
func (w *wave) beforeEach(t task) func(context.Context, jobs.Step) error {
	if !w.options.each {
		return nil
	}
	return func(ctx context.Context, s jobs.Step) error {
		question := fmt.Sprintf("NEXT  %s  %d/%d %s  %s  %s\n      Enter or y runs it, b shows it by hand, q stops here: ",
			t.node.Name(), s.N, len(t.plan.Steps), s.Name, s.Host, config.Mask(command(s)))
		for {
			answer, err := w.line(ctx, question)
			if err != nil {
				return err
			}
			switch strings.ToLower(answer) {
			case "", "y", "yes":
				return nil
			case "q", "quit":
				return errQuit
			case "b":
				w.showByHand(t, s)
			}
		}
	}
}

// showByHand writes what a person would type for a step, below a question.
func (w *wave) showByHand(t task, s jobs.Step) {
	defer w.pose("")()
	lines := byHand(t.node, s, w.localBundle(t))
	if len(lines) == 0 {
		lines = []string{"# no shell lines: " + command(s)}
	}
	where := "on " + t.node.Name()
	if s.Host == jobs.Local {
		where = "here"
	}
	w.put("      " + ui.Line(where) + ":\n")
	for _, l := range lines {
		w.put("        " + ui.Escape(config.Mask(l)) + "\n")
	}
}
