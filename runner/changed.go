package runner

import (
	"context"
	"slices"
	"strings"

	"example.org/conc/jobs"
)

// changedTeller is a Remote that can tell which files in the bundle are not as
// they were delivered.
type changedTeller interface {
	Changed(ctx context.Context) ([]string, error)
}

// changed tells, and records, what was done to the delivered files since, where
// a run is gone on with. Not to know it keeps nobody from going on.
func (r *Runner) changed(ctx context.Context) error {
	node, ok := r.remote.(changedTeller)
	if !ok || !slices.Contains(r.Opened, jobs.Remote) {
		return nil
	}
	files, err := node.Changed(ctx)
	switch {
	case err != nil:
		r.emit(Event{Type: Note, Text: "changes to the delivered files: " + err.Error()})
		return nil
	case len(files) == 0:
		return nil
	}
	r.emit(Event{Type: Note, Text: "not as delivered, in the bundle: " + strings.Join(files, ", ")})
	return r.record(jobs.Record{Type: jobs.RecordHand, Changed: files})
}
