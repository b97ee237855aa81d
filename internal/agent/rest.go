package agent

import (
	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// takeRest takes on what is left of a run that has closed its bundle: nothing
// holds the node for it. What its close has left when it was cut short goes;
// what cannot be removed here is told of when it is closed once more.
func (se *session) takeRest() error {
	if bundle.Check(se.bundle, se.owner.Run) == nil {
		return jobs.Blockedf("the bundle of run %s is open", bundle.Short(se.owner.Run)).
			WithHint("look where it is now: %s", se.askStatus())
	}
	if err := bundle.SweepClosed(se.bundle, se.owner.Run); err != nil {
		se.Log.Warn().Err(err).Msg("what is left of a bundle that was closed cannot be removed")
	}
	se.run.closed = true
	return nil
}

// closedBefore judges a close_bundle of a run that has closed its bundle before:
// when nothing of that is left, it is what was asked for. What is opened anew is
// to be closed in earnest.
func (se *session) closedBefore(s jobs.Step, r jobs.Result) jobs.Result {
	se.run.closed = se.run.closed && (!isOpen(s) || r.Status != jobs.OK)
	if !se.run.closed || !isClose(s) || r.Status != jobs.Errored || !bundle.Closed(se.bundle, se.owner.Run) {
		return r
	}
	return jobs.Result{Step: r.Step, Status: jobs.OK, Took: r.Took, Note: "it was closed before"}
}
