package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// keepRuns is how many runs a node remembers.
const keepRuns = 20

// runState is what a session holds of its run in ~/.conc/runs/<run>.
type runState struct {
	opened  bool
	fresh   bool         // the directory was made by this session
	worked  bool         // something was done that is worth remembering
	closed  bool         // its bundle was closed before; what is left of the run is done
	before  func() error // what must hold once this agent is the run's only one
	journal Recorder
	pending []jobs.Record // of local steps, from before the run was known here
	state   *os.File      // nil: nothing was noted yet
	noted   int           // the longest state so far, in bytes
	release func()        // of the liveness lock
}

// open makes the run known on this node, once: its directory, its liveness, its
// journal.
func (se *session) open() error {
	if se.run.opened {
		return nil
	}
	home := filepath.Join(se.Home, ".conc")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return jobs.Errorf("the node's own records cannot be kept: %w", err)
	}
	// It may have been made by hand, with other rights.
	_ = os.Chmod(home, 0o700)
	dir := bundle.RunDir(se.Home, se.owner.Run)
	_, err := os.Lstat(dir)
	fresh := os.IsNotExist(err)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return jobs.Errorf("the node's own records cannot be kept: %w", err)
	}
	release, err := bundle.HoldAlive(se.ctx, se.Home, se.owner.Run)
	if errors.Is(err, bundle.ErrAlive) {
		return jobs.Blockedf("an agent of this run is still at work on the node").
			WithHint("wait until its step has ended: %s", se.askStatus())
	}
	if err != nil {
		return jobs.Errorf("the node's own records cannot be kept: %w", err)
	}
	if se.run.before != nil {
		if err := se.run.before(); err != nil {
			release()
			return err
		}
	}
	journal, err := se.openJournal(dir)
	if err != nil {
		release()
		return jobs.Errorf("the node's journal cannot be written: %w", err)
	}
	se.mu.Lock()
	defer se.mu.Unlock()
	se.run.journal, se.run.pending = journal, nil
	se.run.opened, se.run.fresh, se.run.release = true, fresh, release
	se.prune()
	return nil
}

// openJournal opens the run's journal, and records what set out and what was
// done before on the workstation.
func (se *session) openJournal(dir string) (Recorder, error) {
	if se.Journals == nil {
		return nil, nil
	}
	j, err := se.Journals.Open(filepath.Join(dir, "journal"))
	if err != nil {
		return nil, err
	}
	var first []jobs.Record
	if se.setOut != nil {
		first = append(first, jobs.Record{Type: jobs.RecordPlan, Plan: se.setOut})
	}
	se.mu.Lock()
	first = append(first, se.run.pending...)
	se.mu.Unlock()
	if len(first) == 0 {
		return j, nil
	}
	if err := j.Record(first...); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// maxPending bounds what is kept of local steps until the first remote one.
const maxPending = 2 * maxSteps

// record takes what the workstation tells of its own steps. It is not answered:
// the workstation has a journal of its own, and does not wait.
func (se *session) record(r jobs.Record) error {
	switch r.Type {
	case jobs.RecordBegin, jobs.RecordEnd, jobs.RecordMark, jobs.RecordHand, jobs.RecordTests:
	default:
		return badFrame("a record of type %.20q", r.Type)
	}
	se.mu.Lock()
	j := se.run.journal
	if !se.run.opened {
		if len(se.run.pending) >= maxPending {
			se.mu.Unlock()
			return badFrame("more than %d records", maxPending)
		}
		se.run.pending = append(se.run.pending, r)
	}
	se.mu.Unlock()
	if j == nil {
		return nil
	}
	if err := j.Record(r); err != nil {
		se.Log.Warn().Err(err).Msg("a local step could not be recorded")
	}
	return nil
}

// release is called when the session is over. A run that only found the bundle
// held leaves nothing behind.
func (se *session) release() {
	if !se.run.opened {
		return
	}
	if se.run.journal != nil {
		if err := se.run.journal.Close(); err != nil {
			se.Log.Warn().Err(err).Msg("closing the journal")
		}
	}
	if se.run.state != nil {
		_ = se.run.state.Close()
	}
	if se.run.fresh && !se.run.worked {
		_ = os.RemoveAll(bundle.RunDir(se.Home, se.owner.Run))
	}
	se.run.release()
	se.run = runState{}
}

// prune forgets the oldest runs. One that is alive, or whose bundle is open, is
// kept however old it is.
func (se *session) prune() {
	dir := filepath.Dir(bundle.RunDir(se.Home, se.owner.Run))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var runs []string // a ULID sorts by its time
	for _, e := range entries {
		if e.IsDir() && bundle.ValidRun(e.Name()) {
			runs = append(runs, e.Name())
		}
	}
	sort.Strings(runs)
	for _, run := range runs[:max(0, len(runs)-keepRuns)] {
		st, ok := readState(se.Home, run)
		if run == se.owner.Run || bundle.Alive(se.Home, run) || ok && st.Bundle != "" && bundle.Check(st.Bundle, run) == nil {
			continue
		}
		_ = os.RemoveAll(filepath.Join(dir, run))
	}
}

// state is where a run is, beside its journal: for those who find its bundle
// open. It is advice; the journal is the record.
type state struct {
	V      int         `json:"v"` // 1
	Bundle string      `json:"bundle,omitempty"`
	Step   int         `json:"step"`
	Of     int         `json:"of"`
	Name   string      `json:"name"`
	Status jobs.Status `json:"status,omitempty"` // "" while it runs
	Since  time.Time   `json:"since"`
}

func statePath(home, run string) string { return filepath.Join(bundle.RunDir(home, run), "state.json") }

// note writes the state at the begin of a step, r nil, and at its end.
func (se *session) note(s jobs.Step, r *jobs.Result) {
	st := state{V: 1, Bundle: se.bundle, Step: s.N, Of: len(se.plan.Steps), Name: s.Name, Since: time.Now()}
	if r != nil {
		st.Status = r.Status
	}
	data, err := json.Marshal(st)
	if err == nil && se.run.state == nil {
		se.run.state, err = os.OpenFile(statePath(se.Home, se.owner.Run), os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err == nil { // what a session before has written stays until there is something new
			if fi, e := se.run.state.Stat(); e == nil {
				se.run.noted = int(min(fi.Size(), 64<<10))
			}
		}
	}
	if err == nil {
		// One write over the state before, the rest of which is blanked.
		se.run.noted = max(se.run.noted, len(data))
		_, err = se.run.state.WriteAt(fmt.Appendf(nil, "%-*s", se.run.noted, data), 0)
	}
	if err != nil {
		se.Log.Warn().Err(err).Msg("the run's state is not kept")
	}
}

func readState(home, run string) (state, bool) {
	var st state
	if !bundle.ValidRun(run) {
		return st, false
	}
	path := statePath(home, run)
	if fi, err := os.Lstat(path); err != nil || !fi.Mode().IsRegular() {
		return st, false
	}
	f, err := os.Open(path)
	if err != nil {
		return st, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64<<10))
	return st, err == nil && json.Unmarshal(data, &st) == nil && st.Step > 0
}

// text gives "9/11 install SQLAlchemy (FAILED 31 min ago)".
func (st state) text(alive bool) string {
	s := fmt.Sprintf("%d/%d %s ", st.Step, st.Of, st.Name)
	d := age(time.Since(st.Since))
	switch {
	case st.Status != "":
		return s + fmt.Sprintf("(%s %s ago)", st.Status, d)
	case alive:
		return s + fmt.Sprintf("(running for %s)", d)
	}
	return s + fmt.Sprintf("(begun %s ago, its end is not known)", d)
}

// age gives a duration as people say it.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(max(d, 0).Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// describe adds what this node knows of the holder's run.
func (se *session) describe(h *bundle.HeldError) {
	if h.Owner == nil {
		return
	}
	h.Alive = bundle.Alive(se.Home, h.Owner.Run)
	if st, ok := readState(se.Home, h.Owner.Run); ok {
		h.Step = st.text(h.Alive)
	}
}

// holder tells who holds the node: nil when nobody does.
func (se *session) holder() (*bundle.HeldError, error) {
	if se.bundle == "" {
		return nil, jobs.Errorf("the node has no bundle in deploy.ini")
	}
	o, err := bundle.ReadOwner(se.bundle)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h := &bundle.HeldError{Dir: se.bundle, Owner: o}
	se.describe(h)
	return h, nil
}
