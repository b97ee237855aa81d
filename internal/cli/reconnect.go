package cli

import (
	"context"
	"errors"
	"time"

	"example.org/conc/internal/sshconn"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// reconnect makes one try to reach a node again of reach, by which it was
// reached at first. No further try helps against a key that is not on record,
// or where the account is not let in.
func (w *wave) reconnect(t task, reach func(ctx context.Context, again bool) (*link, error)) func(context.Context) (runner.Again, error) {
	base, rest := 0, false
	if t.resume != nil {
		base, rest = t.resume.there, t.resume.rest != nil
	}
	return func(ctx context.Context) (runner.Again, error) {
		l, err := reach(ctx, true)
		var ssh *sshconn.Error
		if errors.As(err, &ssh) && ssh.Kind != sshconn.Unreachable && ssh.Kind != sshconn.Lost {
			return nil, jobs.Errorf("%w", err)
		}
		if err != nil {
			return nil, err
		}
		return &rejoined{l, base, rest}, nil
	}
}

// sameBoot says when a node was rebooted since it was reached before: nothing that
// a step had left running there is there any more.
func (w *wave) sameBoot(t task, before *string, now string) {
	if *before != "" && now != "" && now != *before {
		w.emit(runner.Event{
			Type: runner.Note, Time: time.Now(), Run: t.run, Node: t.node.Name(),
			Text: t.node.Name() + " was rebooted meanwhile",
		})
	}
	*before = now
}

// rejoined is a link of a run whose line was gone.
type rejoined struct {
	*link
	base int  // records in the node's journal before the run set out
	rest bool // the run had closed its bundle by then
}

// Rejoin takes the run on, once its agent from before has ended.
func (l *rejoined) Rejoin(ctx context.Context) ([]jobs.Record, string, error) {
	return l.Client.Rejoin(ctx, l.base, l.rest)
}
