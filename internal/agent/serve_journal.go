package agent

import (
	"errors"
	"io/fs"
	"path/filepath"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// adopt takes the run on whose bundle is open: from here on its agent is this
// one. Of two that try at the same moment one is BLOCKED, and so is whoever
// decided by a journal of seen records that has grown since.
func (se *session) adopt(p adoptParams) error {
	if se.plan == nil || se.run.opened {
		return badFrame("an adoption without a plan, or too late")
	}
	se.run.before = func() error {
		now, err := se.journal(se.owner.Run)
		switch {
		case err != nil:
			return err
		case p.Closed:
		case bundle.Check(se.bundle, se.owner.Run) != nil:
			return jobs.Blockedf("no interrupted run on this node: %s is not run %s's", se.bundle, bundle.Short(se.owner.Run))
		}
		if len(now.Records) != p.Seen {
			return jobs.Blockedf("run %s was gone on with by somebody else in this moment", bundle.Short(se.owner.Run)).
				WithHint("look where it is now: %s", se.askStatus())
		}
		if p.Closed {
			return se.takeRest()
		}
		se.held.Store(true)
		return nil
	}
	return se.open()
}

// journal reads the records of a run.
func (se *session) journal(run string) (journalResult, error) {
	var res journalResult
	if !bundle.ValidRun(run) {
		return res, badFrame("not a run's id: %.40q", run)
	}
	if se.Journals == nil {
		return res, nil
	}
	var err error
	res.Records, res.Torn, err = se.Journals.Read(filepath.Join(bundle.RunDir(se.Home, run), "journal"))
	if errors.Is(err, fs.ErrNotExist) {
		return journalResult{}, nil
	}
	if err != nil {
		return res, jobs.Errorf("the node's journal cannot be read: %w", err)
	}
	return res, nil
}

// mark adds a person's word to the journal of the run that holds the node, or
// of one that has closed its bundle and has something left to do.
func (se *session) mark(p markParams) error {
	if p.Record.Type != jobs.RecordMark || se.Journals == nil {
		return badFrame("a mark of type %.20q", p.Record.Type)
	}
	if p.Closed {
		known, err := se.journal(p.Run)
		if err != nil {
			return err
		}
		if n := len(known.Records); n == 0 || known.Records[n-1].Type == jobs.RecordUnlock {
			return jobs.Blockedf("nothing is left of run %s", bundle.Short(p.Run))
		}
		return se.append(p.Run, p.Record)
	}
	h, err := se.holder()
	switch {
	case err != nil:
		return err
	case h == nil, h.Owner == nil, h.Owner.Run != p.Run:
		return jobs.Blockedf("the node is no longer held by run %s", bundle.Short(p.Run))
	}
	return se.append(p.Run, p.Record)
}

// append records something of a run that no agent is at work on.
func (se *session) append(run string, r jobs.Record) (err error) {
	release, err := bundle.HoldAlive(se.ctx, se.Home, run)
	if errors.Is(err, bundle.ErrAlive) {
		return jobs.Blockedf("run %s is at work on the node now", bundle.Short(run)).
			WithHint("wait until its step has ended: %s", se.askStatus())
	}
	if err != nil {
		return err
	}
	defer release()
	j, err := se.Journals.Open(filepath.Join(bundle.RunDir(se.Home, run), "journal"))
	if err != nil {
		return jobs.Errorf("the node's journal cannot be written: %w", err)
	}
	return errors.Join(j.Record(r), j.Close())
}
