package agent

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"time"

	"example.org/conc/jobs"
)

// Call carries out one of the program's procedures on the node, as root with
// call.Sudo: Elevate comes first, then. When ctx is done the agent is told that
// nobody waits any more, and Call returns; what the node had begun is cancelled.
// call.Out is written to from this goroutine.
func (c *Client) Call(ctx context.Context, call jobs.Call, result any) error {
	params, err := json.Marshal(call.Params)
	if err != nil {
		return err
	}
	p := procedureParams{Name: call.Procedure, Sudo: call.Sudo, Params: params}
	return c.ask(ctx, callProcedure, p, result, call.Out)
}

// callOutput takes what a call writes. A call that was left hears nothing.
func (c *Client) callOutput(f frame) error {
	if len(f.body) <= idLen {
		return badFrame("output of no call")
	}
	id := binary.BigEndian.Uint32(f.body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == 0 || id > c.nextID {
		return badFrame("output of a call that was not made")
	}
	p := c.calls[id]
	if p == nil || p.out == nil {
		return nil
	}
	ok := p.out.pushCall(id, f.body[idLen:])
	for try := 0; !ok && try < patience; try++ {
		c.mu.Unlock()
		time.Sleep(time.Millisecond)
		c.mu.Lock()
		ok = p.out.pushCall(id, f.body[idLen:])
	}
	if !ok {
		p.fell = true
	}
	return nil
}

// procedures are those that are going on, by their calls. The session's mu
// guards it.
type procedures map[uint32]context.CancelFunc

// drop cancels a call that nobody waits for any more.
func (se *session) drop(f frame) error {
	if len(f.body) != idLen {
		return badFrame("no call's number")
	}
	se.mu.Lock()
	defer se.mu.Unlock()
	if cancel := se.doing[binary.BigEndian.Uint32(f.body)]; cancel != nil {
		cancel()
	}
	return nil
}

// procedure carries out one of the program's own procedures for a call. It does
// not outlive the conversation: only a step does.
func (se *session) procedure(id uint32, p procedureParams) (json.RawMessage, error) {
	ctx, cancel := context.WithCancel(se.ctx)
	defer cancel()
	se.mu.Lock()
	if se.lost.Load() {
		cancel()
	}
	if se.doing == nil {
		se.doing = procedures{}
	}
	se.doing[id] = cancel
	se.mu.Unlock()
	defer func() {
		se.mu.Lock()
		defer se.mu.Unlock()
		delete(se.doing, id)
	}()
	var result json.RawMessage
	err := se.carryOut(ctx, jobs.Call{Procedure: p.Name, Sudo: p.Sudo, Params: p.Params, Out: &callOut{ctx, se.out, id}}, &result)
	return result, err
}

// carryOut is jobs.Env.Call on this host.
func (se *session) carryOut(ctx context.Context, call jobs.Call, result any) error {
	if call.Sudo && os.Geteuid() != 0 {
		se.root.mu.Lock()
		c := se.root.client
		se.root.mu.Unlock()
		if c == nil {
			return jobs.Errorf("this needs root, and sudo was not asked for it before")
		}
		call.Sudo = false
		return c.Call(ctx, call, result)
	}
	params, err := json.Marshal(call.Params)
	if err != nil {
		return err
	}
	env := se.env(jobs.Step{}, call.Out)
	env.Progress = func(int64, int64) {} // of no step
	data, err := se.Program.Procedures.Do(ctx, &env, call.Procedure, params)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(data, result)
}

// callOut is what a call writes to: the line, at the line's pace.
type callOut struct {
	ctx context.Context
	q   *queue
	id  uint32
}

func (o *callOut) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		piece := p[:min(len(p), maxOut)]
		for !o.q.pushCall(o.id, piece) {
			select {
			case <-o.ctx.Done():
				return n - len(p), o.ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
		p = p[len(piece):]
	}
	return n, nil
}
