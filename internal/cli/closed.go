package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.org/conc/bundle"
	"example.org/conc/internal/agent"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// rest finds, for a node that nobody holds, the last run from this workstation,
// when that has closed its bundle on the node and was stopped before the end of
// its list. What is left of it needs no lock. Records that cannot be read make
// what was seen unsure.
func (p *program) rest(ctx context.Context, c *agent.Client, node string, seen *look) error {
	runs, err := os.ReadDir(filepath.Join(p.env.StateDir, "runs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		seen.unsure = unreadableHere(node, err)
		return nil
	}
	slices.Reverse(runs) // the newest first: ids are made of the time
	for _, run := range runs {
		if !bundle.ValidRun(run.Name()) {
			continue
		}
		here, err := p.records(run.Name(), node)
		if err != nil {
			seen.unsure = unreadableHere(node, err)
			return nil
		}
		if len(here) == 0 {
			continue // it had nothing to do with this node
		}
		there, _, err := c.Journal(ctx, run.Name())
		var refused *jobs.Error
		if errors.As(err, &refused) {
			seen.unsure = jobs.Errorf("%s: run %s: %w", node, bundle.Short(run.Name()), err)
			return nil
		}
		if err != nil {
			return err
		}
		if len(there) == 0 {
			continue // it did not take the lock
		}
		s := runner.Fold(runner.Merge(there, here))
		if from := restFrom(s); from > 0 && s.First != nil {
			user, host, _ := strings.Cut(s.First.By, "@")
			seen.there, seen.state, seen.restFrom = len(there), s, from
			seen.rest = &bundle.Owner{
				V: 1, Run: run.Name(), User: user, Host: host, Since: s.Since, Node: node, List: s.First.List,
			}
		}
		return nil
	}
	return nil
}

// restFrom is the first step that is left once the node's bundle was closed: the
// close itself, when it is not known to have got to its end; 0: there is none, or
// the bundle was not closed by the run. A close that began counts, however it
// ended: the bundle is gone.
func restFrom(s runner.State) int {
	closed := 0
	for i, spec := range s.Plan.Steps {
		if spec.Host != jobs.Remote {
			continue
		}
		switch st := s.Steps[i]; {
		case spec.OpName() == "close_bundle" && (st.Status == jobs.OK || st.Tries > 0):
			closed = st.N
		case spec.OpName() == "open_bundle" && st.Tries > 0:
			closed = 0
		}
	}
	if s.GivenUp || closed == 0 {
		return 0
	}
	for _, st := range s.Steps[closed-1:] {
		if st.Status != jobs.OK {
			return st.N
		}
	}
	return 0
}
