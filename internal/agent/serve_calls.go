package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// call answers a CALL, beside whatever else is going on.
func (se *session) call(f frame) error {
	var c callBody
	if err := f.unpack(&c); err != nil {
		return err
	}
	if c.Method == callElevate || c.Method == callHide {
		clear(f.body)
	}
	if se.node == nil {
		return badFrame("a call before the configuration")
	}
	se.work.Go(func() {
		result, err := se.answer(c)
		r := replyBody{ID: c.ID}
		if err == nil {
			r.Result, err = json.Marshal(result)
		}
		if err != nil {
			r.Error = callError(err)
		}
		parts, err := packParts(kindReply, r)
		if err != nil {
			parts, _ = packParts(kindReply, replyBody{ID: c.ID, Error: callError(err)})
		}
		se.out.push(parts...)
	})
	return nil
}

func callError(err error) *errBody {
	e := &errBody{Status: jobs.StatusOf(err), Message: bounded(err.Error())}
	var j *jobs.Error
	if errors.As(err, &j) {
		e.Hint = bounded(j.Hint)
	}
	for _, cannot := range []error{syscall.EROFS, syscall.EIO} {
		if errors.Is(err, cannot) {
			e.Status = jobs.Errored
		}
	}
	return e
}

func (se *session) answer(c callBody) (any, error) {
	switch c.Method {
	case callHeld:
		return se.holder()
	case callAdopt:
		var p adoptParams
		if err := json.Unmarshal(c.Params, &p); err != nil {
			return nil, err
		}
		return nil, se.adopt(p)
	case callJournal:
		var p journalParams
		if err := json.Unmarshal(c.Params, &p); err != nil {
			return nil, err
		}
		return se.journal(p.Run)
	case callMark:
		var p markParams
		if err := json.Unmarshal(c.Params, &p); err != nil {
			return nil, err
		}
		return nil, se.mark(p)
	case callUnlock:
		var p unlockParams
		if err := json.Unmarshal(c.Params, &p); err != nil {
			return nil, err
		}
		return se.unlock(p.Run)
	case callGiveBack:
		return nil, se.giveBack()
	case callElevate:
		var p elevateParams
		err := json.Unmarshal(c.Params, &p)
		clear(c.Params)
		if err != nil {
			return nil, badFrame("a password that cannot be read")
		}
		return se.elevate(p.Password)
	case callHide:
		var p hideParams
		err := json.Unmarshal(c.Params, &p)
		clear(c.Params)
		if err != nil {
			return nil, badFrame("texts to hide that cannot be read")
		}
		return nil, se.take(p)
	case callAsk:
		var q bundle.Query
		if err := json.Unmarshal(c.Params, &q); err != nil {
			return nil, err
		}
		return se.ask(q)
	case callSettle:
		var s bundle.Settlement
		if err := json.Unmarshal(c.Params, &s); err != nil {
			return nil, err
		}
		return nil, se.settle(s)
	case callProcedure:
		var p procedureParams
		if err := json.Unmarshal(c.Params, &p); err != nil {
			return nil, err
		}
		return se.procedure(c.ID, p)
	case callChanged:
		var p changedParams
		if err := json.Unmarshal(c.Params, &p); err != nil {
			return nil, err
		}
		return se.changed(p.Run)
	}
	return se.answerRejoin(c)
}

// mayDeliver keeps a delivery out of a bundle that is not ours, or no longer.
func (se *session) mayDeliver(root string) error {
	if se.bundle == "" {
		return nil
	}
	rel, err := filepath.Rel(se.bundle, root)
	inside := err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
	if !inside && !se.held.Load() {
		return nil
	}
	err = bundle.Check(se.bundle, se.owner.Run)
	if _, missing := os.Lstat(se.bundle); err != nil && !se.held.Load() && errors.Is(missing, fs.ErrNotExist) {
		return jobs.Blockedf("no bundle is open on the node to deliver into").WithHint("a step with open_bundle comes first")
	}
	return err
}

// unlock moves the bundle of run, in full or in its short form, aside. "unknown"
// is the run of a bundle that nobody's record is in.
func (se *session) unlock(run string) (string, error) {
	h, err := se.holder()
	switch {
	case err != nil:
		return "", err
	case h == nil:
		return "", jobs.Blockedf("%s is not there: nobody holds the node", se.bundle)
	case h.Owner == nil && run == UnknownRun:
		return se.aside("")
	case h.Owner == nil:
		return "", jobs.Blockedf("%w; it is not run %q", h, run).WithHint("its id is %q", UnknownRun)
	case !strings.EqualFold(run, h.Owner.Run) && !strings.EqualFold(run, bundle.Short(h.Owner.Run)):
		return "", jobs.Blockedf("%w; it is not run %q", h, run)
	case h.Alive:
		return "", jobs.Blockedf("%w; its agent is running on the node now, at step %s", h, h.Step).
			WithHint("wait until its step has ended, or stop it where it was started")
	}
	return se.aside(h.Owner.Run)
}

// UnknownRun is how Unlock is told of a bundle whose owner is unknown.
const UnknownRun = "unknown"

func (se *session) aside(run string) (string, error) {
	to, err := bundle.SetAside(se.bundle, run)
	switch {
	case to != "" && err != nil:
		se.Log.Warn().Err(err).Msg("that the bundle was moved aside may not outlive a power loss")
	case err != nil:
		return "", jobs.Errorf("%w", err)
	}
	if run != "" && se.Journals != nil {
		if err := se.append(run, jobs.Record{Type: jobs.RecordUnlock}); err != nil {
			se.Log.Warn().Err(err).Msg("it could not be recorded that the run was given up")
		}
	}
	return to, nil
}

// hello tells of this node. verify reads the program's file, where otherwise
// its name is believed: it was checked when it arrived.
func (se *session) hello(verify bool) Hello {
	h := Hello{
		Version: se.Program.Version, Home: se.Home, PID: os.Getpid(), UID: os.Getuid(),
	}
	h.OS, h.Arch, h.User, h.Hostname, h.BootID, h.Free = describeSystem(se.Home)
	exe, err := os.Executable()
	if err != nil {
		return h
	}
	name := strings.TrimPrefix(filepath.Base(exe), "conc-")
	if verify || !isHash(name) {
		if name, err = hashes.of(exe); err == nil && verify {
			if err = settleFile(exe); err != nil {
				name = ""
			}
		}
		if err != nil {
			se.Log.Warn().Err(err).Msg("the agent cannot read its own file")
		}
		sweepBin(filepath.Dir(exe), filepath.Base(exe))
	}
	h.Hash = name
	touch(exe)
	return h
}
