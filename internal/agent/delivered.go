package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

const (
	callChanged = "changed"
	// maxChanged is how many files are told of.
	maxChanged = 100
	// maxDelivered is how many files a run's list of what was delivered has.
	maxDelivered = 10000
)

// delivered is what was delivered into a run's bundle, by path within it. It is
// kept beside the run's journal, for whoever goes on with the run.
type delivered struct {
	V     int                      `json:"v"` // 1
	Files map[string]deliveredFile `json:"files"`
}

// deliveredFile is what a file was like in its place. Its content is looked at
// only when its size is the same and its time is not.
type deliveredFile struct {
	Size   int64     `json:"size"`
	SHA256 string    `json:"sha256"`
	Time   time.Time `json:"mtime"`
}

func (se *session) deliveredPath(run string) string {
	return filepath.Join(bundle.RunDir(se.Home, run), "delivered.json")
}

// readDelivered gives an empty list when there is none.
func (se *session) readDelivered(run string) (delivered, error) {
	d := delivered{V: 1, Files: map[string]deliveredFile{}}
	f, err := os.Open(se.deliveredPath(run))
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if err := json.NewDecoder(io.LimitReader(f, 16<<20)).Decode(&d); err != nil {
		return d, err
	}
	if d.V != 1 || d.Files == nil {
		return d, errors.New("it is of another version")
	}
	return d, nil
}

// ask tells what a delivery lacks.
func (se *session) ask(q bundle.Query) (bundle.Answer, error) {
	if q.Refine {
		q.Manifest = se.store.Manifest(q.ID)
	}
	if err := se.mayDeliver(q.Manifest.Root); err != nil {
		return bundle.Answer{}, err
	}
	var a bundle.Answer
	err := se.stores(func() (err error) {
		a, err = se.store.Ask(se.ctx, q)
		return err
	})
	if err == nil && a.Done {
		se.arrived(a.ID)
	}
	return a, err
}

// settle takes what was sent in, and puts it in its place.
func (se *session) settle(s bundle.Settlement) error {
	if err := se.mayDeliver(se.store.Manifest(s.ID).Root); err != nil {
		return err
	}
	err := se.stores(func() error { return se.store.Settle(se.ctx, s) })
	if err == nil && s.Last {
		se.arrived(s.ID)
	}
	return err
}

// stores has the store do something, which in a rehearsal a fault may befall.
func (se *session) stores(do func() error) error {
	r := se.Program.Planner.Rehearsal
	if r == nil {
		return do()
	}
	se.rehearsing.Lock() // a fault is one of the whole process
	defer se.rehearsing.Unlock()
	return r.Store(do)
}

// arrived notes what is in the bundle now. A note that cannot be kept is no
// reason to fail the delivery.
func (se *session) arrived(id int) {
	if err := se.noteDelivered(se.store.Manifest(id)); err != nil {
		se.Log.Warn().Err(err).Msg("what was delivered is not noted")
	}
}

// noteDelivered is called once a time: a run's deliveries are steps of it.
func (se *session) noteDelivered(m bundle.Manifest) error {
	rel, err := filepath.Rel(se.bundle, m.Root)
	if se.bundle == "" || err != nil || rel == ".." || strings.HasPrefix(rel, "../") || !se.held.Load() {
		return nil //nolint:nilerr // it is not in the bundle
	}
	d, err := se.readDelivered(se.owner.Run)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		name := path.Join(filepath.ToSlash(rel), f.Path)
		fi, err := os.Lstat(filepath.Join(se.bundle, name))
		if _, known := d.Files[name]; err != nil || !known && len(d.Files) >= maxDelivered {
			continue
		}
		d.Files[name] = deliveredFile{Size: f.Size, SHA256: f.SHA256, Time: fi.ModTime()}
	}
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	place := se.deliveredPath(se.owner.Run)
	temp := place + ".new"
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, place)
}

type changedParams struct {
	Run string `json:"run,omitempty"` // "": the one that the agent was configured with
}

// changed lists the delivered files that are not as they were delivered, as
// "app.conf (changed)" or "app.conf (gone)": 100 at most, and a word on the rest.
func (se *session) changed(run string) ([]string, error) {
	if run == "" {
		run = se.owner.Run
	}
	if !bundle.ValidRun(run) {
		return nil, badFrame("not a run's id: %.40q", run)
	}
	if err := bundle.Check(se.bundle, run); err != nil {
		return nil, jobs.Errorf("%w", err)
	}
	d, err := se.readDelivered(run)
	if err != nil {
		return nil, jobs.Errorf("what was delivered is not known: %w", err)
	}
	found := []string{}
	more := 0
	for _, name := range slices.Sorted(maps.Keys(d.Files)) {
		how := d.Files[name].now(filepath.Join(se.bundle, name))
		switch {
		case how == "":
		case len(found) == maxChanged:
			more++
		default:
			found = append(found, name+" ("+how+")")
		}
	}
	if more > 0 {
		found = append(found, fmt.Sprintf("and %d more", more))
	}
	return found, nil
}

// now says what has become of a file: "" when it is as it was.
func (f deliveredFile) now(path string) string {
	fi, err := os.Lstat(path)
	switch {
	case err != nil:
		return "gone"
	case !fi.Mode().IsRegular(), fi.Size() != f.Size:
		return "changed"
	case fi.ModTime().Equal(f.Time):
		return ""
	}
	if sum, err := hashFile(path); err != nil || sum != f.SHA256 {
		return "changed"
	}
	return ""
}

// Changed is ChangedIn for the run that was adopted.
func (c *Client) Changed(ctx context.Context) ([]string, error) { return c.ChangedIn(ctx, "") }

// ChangedIn lists the delivered files in the bundle that are not as they were
// delivered: "app.conf (changed)", "fix (gone)". It is *jobs.Error unless the
// bundle is run's; no run is the one that was adopted.
func (c *Client) ChangedIn(ctx context.Context, run string) ([]string, error) {
	var names []string
	err := c.do(ctx, callChanged, changedParams{run}, &names)
	names = names[:min(len(names), maxChanged+1)]
	for i, n := range names {
		names[i] = clean(n, maxText)
	}
	return names, err
}
