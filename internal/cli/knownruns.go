package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// journalPath is where this workstation records one node's part of a run.
func (p *program) journalPath(run, node string) string {
	return filepath.Join(p.runDir(run), node+".journal")
}

// records reads what this workstation has recorded of one node's part of a run:
// nothing, when it has no part in it.
func (p *program) records(run, node string) ([]jobs.Record, error) {
	records, torn, err := runner.ReadJournal(p.journalPath(run, node))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if torn {
		p.warn("the last line of " + p.journalPath(run, node) + " was cut short, and is left out")
	}
	return records, err
}

// interrupted finds the one node of the file whose last run from this
// workstation was interrupted.
func (p *program) interrupted(f *config.File) (string, error) {
	path := absolute(f.Path)
	runs, err := os.ReadDir(filepath.Join(p.env.StateDir, "runs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", p.nameTheNode(err)
	}
	slices.Reverse(runs) // the newest first: ids are made of the time
	last := map[string]bool{}
	var open []string
	for _, run := range runs {
		for _, node := range f.NodeNames() {
			if last[node] {
				continue
			}
			records, err := p.records(run.Name(), node)
			if err != nil {
				return "", p.nameTheNode(err)
			}
			s := runner.Fold(records)
			if s.Plan == nil || s.Plan.File != path {
				continue
			}
			last[node] = true
			// How the node's steps ended is in the log alone.
			logged, _, err := p.logged(run.Name(), node)
			if err != nil {
				return "", p.nameTheNode(err)
			}
			if runner.Fold(inOrder(records, logged)).Interrupted() {
				open = append(open, node)
			}
		}
	}
	switch len(open) {
	case 1:
		return open[0], nil
	case 0:
		return "", usageError{err: errors.New("this workstation knows of no interrupted run"), hint: "name the node: " + p.toType("step", "NODE")}
	}
	return "", usageError{err: fmt.Errorf("runs are interrupted on %s", ui.Line(strings.Join(open, ", "))), hint: "name the node: " + p.toType("step", "NODE")}
}

// nameTheNode is the error of records that the only interrupted run cannot be
// told by.
func (p *program) nameTheNode(err error) error {
	return jobs.Errorf("which run is interrupted cannot be told: %w", err).WithHint("name the node: %s", p.toType("step", "NODE"))
}

// inOrder joins records by their times.
func inOrder(a, b []jobs.Record) []jobs.Record {
	all := append(slices.Clone(a), b...)
	slices.SortStableFunc(all, func(a, b jobs.Record) int { return a.Time.Compare(b.Time) })
	return all
}

// absolute is a path that means the same in every directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path // the working directory is gone: nothing relative can be opened anyway
}
