package jobs

import (
	"context"
	"errors"
	"strings"
	"time"

	"example.org/conc/config"
)

// Hold stops and asks the operator whether to go on.
type Hold struct {
	Message string
}

func holdEntry() Entry {
	return Entry{
		Name:    "hold",
		Args:    "MESSAGE",
		Summary: "stop here until the operator says go on",
		Help: `The message is shown to the operator, who goes on or ends the run here. It is an
op of the workstation; the node is left as the steps before it made it, with its
bundle open, and may be worked on by hand meanwhile. It waits without limit
unless the job has a timeout.

OK when the operator goes on. STOPPED when not, or when nobody can be asked
because there is no terminal; conc step goes on from the next step later.`,
		Example: `local hold "look at the error page before we go on"`,
		Parse: func(args []string) (Op, error) {
			if len(args) != 1 {
				return nil, errors.New("it takes one argument, the message: put it in quotes")
			}
			return Hold{Message: args[0]}, nil
		},
	}
}

// Validate wants a message.
func (h Hold) Validate() error {
	if strings.TrimSpace(h.Message) == "" {
		return errors.New("it needs a message for the operator")
	}
	return nil
}

// Do asks.
func (h Hold) Do(ctx context.Context, env *Env) error {
	if env.Ask == nil {
		return Stoppedf("%s (%w)", h.Message, ErrNoAnswer)
	}
	answer := make(chan error, 1) // a terminal that takes nothing keeps the question waiting
	go func() { answer <- env.Ask(ctx, h.Message) }()
	over := ctx.Done()
	var limit <-chan time.Time
	for {
		select {
		case err := <-answer:
			if err == nil || ctx.Err() != nil {
				return err
			}
			return Stoppedf("%s (%w)", h.Message, err)
		case <-over: // the question is taken back before that is told
			over, limit = nil, time.After(takeBack)
		case <-limit:
			return ctx.Err()
		}
	}
}

// takeBack is how long a question may take to end that is over.
const takeBack = 200 * time.Millisecond

// Place is the workstation: the operator is there.
func (h Hold) Place() Host { return Local }

// ByHand is a comment: there is nothing to type.
func (h Hold) ByHand(*config.Node) []string {
	return []string{"# hold: " + strings.Join(strings.Fields(h.Message), " ")}
}

// Limit is the longest there is: people take their time.
func (h Hold) Limit() time.Duration { return 1000 * time.Hour }

// Inert marks that no file comes of it.
func (h Hold) Inert() {}
