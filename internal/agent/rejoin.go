package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// The calls of a run whose line was gone.
const (
	callRejoin = "rejoin"
	callMissed = "missed"
)

type rejoinParams struct {
	Base   int  `json:"base"`             // records of the node's journal that were there before the run set out
	Closed bool `json:"closed,omitempty"` // as in adoptParams
}

type rejoinResult struct {
	Busy    string        `json:"busy,omitempty"` // what the agent from before is still at; "": the run is this one's
	Records []jobs.Record `json:"records,omitempty"`
}

type missedParams struct {
	Step  int   `json:"step"`
	Bytes int64 `json:"bytes"`
}

// maxMissed bounds what is sent of a step's output after the fact.
const maxMissed = 64 << 10

// answerRejoin answers the calls of a run whose line was gone.
func (se *session) answerRejoin(c callBody) (any, error) {
	switch c.Method {
	case callRejoin:
		var p rejoinParams
		if err := json.Unmarshal(c.Params, &p); err != nil {
			return nil, err
		}
		return se.rejoin(p)
	case callMissed:
		var p missedParams
		if err := json.Unmarshal(c.Params, &p); err != nil {
			return nil, err
		}
		return se.missed(p)
	}
	return nil, jobs.Errorf("the agent knows no %q", c.Method)
}

// rejoin makes this agent the one of a run whose line was gone, as soon as the
// one from before has ended. The bundle need not be open: whether it has to be,
// and is, each step looks for itself.
func (se *session) rejoin(p rejoinParams) (rejoinResult, error) {
	var res rejoinResult
	base := p.Base
	if se.plan == nil || se.run.opened || base < 0 {
		return res, badFrame("a run that is rejoined without a plan, or too late")
	}
	se.run.before = func() error {
		now, err := se.journal(se.owner.Run)
		if err != nil {
			return err
		}
		if err := se.stillTheirs(now.Records, base); err != nil {
			return err
		}
		res.Records = now.Records[min(base, len(now.Records)):]
		if len(res.Records) > 0 {
			se.setOut = nil // it is on record
		}
		se.run.closed = p.Closed
		se.held.Store(se.opened(res.Records) || bundle.Check(se.bundle, se.owner.Run) == nil)
		return nil
	}
	if bundle.Alive(se.Home, se.owner.Run) {
		now, err := se.journal(se.owner.Run)
		if err == nil {
			err = se.stillTheirs(now.Records, base)
		}
		return rejoinResult{Busy: se.busy()}, err
	}
	err := se.open()
	if err != nil && bundle.Alive(se.Home, se.owner.Run) {
		return rejoinResult{Busy: se.busy()}, nil
	}
	return res, err
}

// busy tells what the run's agent is at.
func (se *session) busy() string {
	if st, ok := readState(se.Home, se.owner.Run); ok && st.Status == "" {
		return fmt.Sprintf("step %d %s", st.Step, st.Name)
	}
	return "its last step"
}

// stillTheirs makes sure that nobody else went on with the run, or gave it up.
func (se *session) stillTheirs(records []jobs.Record, base int) error {
	for i, r := range records {
		switch {
		case i < base:
		case r.Type == jobs.RecordPlan && i > base && r.Plan != nil:
			return jobs.Errorf("run %s was gone on with by %s meanwhile", bundle.Short(se.owner.Run), r.Plan.By).
				WithHint("look where it is now: %s", se.askStatus())
		case r.Type == jobs.RecordUnlock:
			return jobs.Errorf("run %s was given up meanwhile: its bundle was moved aside", bundle.Short(se.owner.Run)).
				WithHint("see who holds the node: %s", se.askStatus())
		}
	}
	return nil
}

// opened tells whether the bundle was opened and not closed since, as recorded.
func (se *session) opened(records []jobs.Record) bool {
	open := false
	for _, r := range records {
		if r.Type != jobs.RecordEnd || r.Result == nil || r.Result.Status != jobs.OK || r.Step < 1 || r.Step > len(se.plan.Steps) {
			continue
		}
		if s := se.plan.Steps[r.Step-1]; isOpen(s) || isClose(s) {
			open = isOpen(s)
		}
	}
	return open
}

// missed gives the last bytes of a step's output.
func (se *session) missed(p missedParams) ([]byte, error) {
	if se.plan == nil || p.Step < 1 || p.Step > len(se.plan.Steps) || p.Bytes < 0 || p.Bytes > maxMissed {
		return nil, badFrame("%d bytes of the output of step %d", p.Bytes, p.Step)
	}
	f, err := os.Open(filepath.Join(bundle.RunDir(se.Home, se.owner.Run), fmt.Sprintf("out-%02d.log", p.Step)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	_, err = f.Seek(max(0, size-p.Bytes), io.SeekStart)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, p.Bytes))
}

// Rejoin takes on the run that the agent was configured with, after the line to
// the agent from before was gone, and gives what the node has recorded since
// the run set out: all but the first base records. While that agent lives, the
// answer is what it is busy with, and nothing is taken on: ask again. It is
// refused, as *jobs.Error, once somebody else has gone on with the run, or has
// given it up. closed tells that the run had closed its bundle when it set out.
func (c *Client) Rejoin(ctx context.Context, base int, closed bool) (records []jobs.Record, busy string, err error) {
	var res rejoinResult
	if err := c.do(ctx, callRejoin, rejoinParams{base, closed}, &res); err != nil {
		return nil, "", err
	}
	if res.Busy != "" {
		return nil, clean(res.Busy, maxQuoted), nil
	}
	for i, r := range res.Records {
		if r.Result == nil {
			continue
		}
		// The same is made sure of as for a result that comes by itself.
		sober, err := unpackEnd(packEnd(*r.Result))
		if err != nil {
			return nil, "", err
		}
		res.Records[i].Result = &sober
	}
	return res.Records, "", nil
}

// Missed gives the last n bytes of a step's output, 64 KiB at most, as the node
// has kept them.
func (c *Client) Missed(ctx context.Context, step int, n int64) ([]byte, error) {
	n = min(n, maxMissed)
	var data []byte
	err := c.do(ctx, callMissed, missedParams{step, n}, &data)
	return data[:min(int64(len(data)), n)], err
}
