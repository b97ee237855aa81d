package agent

import (
	"context"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

const callGiveBack = "give-back"

// GiveBack closes the bundle that this run's agent has just opened, and records
// on the node that the run was given up. What is in the bundle goes: it is for a
// run that has done nothing but open it.
func (c *Client) GiveBack(ctx context.Context) error {
	return c.do(ctx, callGiveBack, struct{}{}, nil)
}

func (se *session) giveBack() error {
	se.mu.Lock()
	opened, journal := se.run.opened, se.run.journal
	se.mu.Unlock()
	if se.bundle == "" || !opened {
		return badFrame("a lock that was not taken is to be given back")
	}
	if err := bundle.Close(se.bundle, se.owner.Run); err != nil {
		return jobs.Errorf("%w", err)
	}
	se.held.Store(false)
	if journal == nil {
		return nil
	}
	if err := journal.Record(jobs.Record{Type: jobs.RecordUnlock}); err != nil {
		se.Log.Warn().Err(err).Msg("it could not be recorded that the run was given up")
	}
	return nil
}
