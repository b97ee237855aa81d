package cli

import (
	"context"
	"errors"
	"path/filepath"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// workingPath is the file that a process of this workstation holds as long as it
// is at work on one node's part of a run.
func (p *program) workingPath(run, node string) string {
	return filepath.Join(p.runDir(run), node+".alive")
}

// working says, until release is called or this process ends, that one node's
// part of a run is worked on here; it opens its journal, which nobody else
// writes meanwhile. BLOCKED when another process is at work on it.
func (p *program) working(ctx context.Context, run, node string) (j *runner.Journal, release func(), err error) {
	done, err := bundle.HoldFile(ctx, p.workingPath(run, node))
	if errors.Is(err, bundle.ErrAlive) {
		return nil, nil, p.atWork(run, node)
	}
	if err != nil {
		return nil, nil, err
	}
	j, err = runner.OpenJournal(p.journalPath(run, node))
	if err != nil {
		done()
		return nil, nil, err
	}
	return j, func() {
		_ = j.Close() // every record in it is on disk already
		done()
	}, nil
}

// isWorking is BLOCKED when a process of this workstation is at work on one
// node's part of a run.
func (p *program) isWorking(run, node string) error {
	if bundle.ValidRun(run) && bundle.FileHeld(p.workingPath(run, node)) {
		return p.atWork(run, node)
	}
	return nil
}

func (p *program) atWork(run, node string) error {
	return jobs.Blockedf("%s: a process on this workstation is still at work on run %s", node, bundle.Short(run)).
		WithHint("wait until it has ended, or stop it where it was started")
}
