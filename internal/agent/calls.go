package agent

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"path"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// do makes a call and waits for its reply.
func (c *Client) do(ctx context.Context, method string, params, result any) error {
	return c.ask(ctx, method, params, result, nil)
}

// pendingCall is a call whose reply has not come.
type pendingCall struct {
	answer chan replyBody // takes one without waiting
	out    *queue         // of what it writes; nil: it has no output
	fell   bool           // some of it is lost, because it was not taken in time
}

// ask is do for a call that may write something before it replies.
func (c *Client) ask(ctx context.Context, method string, params, result any, out io.Writer) error {
	data, err := json.Marshal(params)
	if err != nil {
		return err
	}
	p := &pendingCall{answer: make(chan replyBody, 1)}
	var wrote <-chan struct{}
	if out != nil {
		p.out = newQueue()
		wrote = p.out.wake
	}
	c.mu.Lock()
	c.nextID++
	id := c.nextID
	c.calls[id] = p
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
	}()
	parts, err := packParts(kindCall, callBody{ID: id, Method: method, Params: data})
	if err != nil {
		return err
	}
	c.out.push(parts...)
	for {
		select {
		case <-wrote:
			if err := p.write(out); err != nil {
				c.drop(id)
				return err
			}
		case r := <-p.answer:
			return p.end(r, out, result)
		case <-ctx.Done():
			c.drop(id)
			return ctx.Err()
		case <-c.done:
			select {
			case r := <-p.answer:
				return p.end(r, out, result)
			default:
				return c.err
			}
		}
	}
}

// drop tells the agent that nobody waits for a call any more.
func (c *Client) drop(id uint32) {
	c.out.push(frame{kind: kindDrop, body: binary.BigEndian.AppendUint32(nil, id)})
}

// write hands on what has come so far.
func (p *pendingCall) write(out io.Writer) error {
	for p.out != nil {
		f, ok, _ := p.out.pop()
		if !ok {
			break
		}
		if _, err := out.Write(f.body[idLen:]); err != nil {
			return err
		}
	}
	return nil
}

// end hands on what came before the reply, and then the reply.
func (p *pendingCall) end(r replyBody, out io.Writer, result any) error {
	if err := p.write(out); err != nil {
		return err
	}
	if p.fell {
		return jobs.Errorf("what the node wrote was not taken in time, and is lost in part")
	}
	return r.decode(result)
}

func (r replyBody) decode(result any) error {
	if e := r.Error; e != nil {
		status := e.Status
		switch status {
		case jobs.Blocked, jobs.Failed, jobs.Stopped, jobs.TimedOut:
		default:
			status = jobs.Errored
		}
		return &jobs.Error{Status: status, Err: errors.New(clean(e.Message, maxText)), Hint: clean(e.Hint, maxText)}
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return badFrame("a reply that cannot be read: %v", err)
	}
	return nil
}

// reply hands a reply to whoever waits for it. A caller that has left is no error.
func (c *Client) reply(f frame) error {
	var r replyBody
	if err := f.unpack(&r); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.ID == 0 || r.ID > c.nextID {
		return badFrame("a reply to a call that was not made")
	}
	if r.Error != nil {
		r.Error.Hint = c.asTyped(r.Error.Hint)
	}
	if p := c.calls[r.ID]; p != nil {
		delete(c.calls, r.ID)
		p.answer <- r
	}
	return nil
}

// Unlock moves run's bundle aside and gives its new path. run is a run's id, or
// its short form, or "unknown" for a bundle without an owner's record. It is
// refused, as *jobs.Error BLOCKED, while that run's agent lives, and when the
// bundle is another run's.
func (c *Client) Unlock(ctx context.Context, run string) (string, error) {
	var to string
	err := c.do(ctx, callUnlock, unlockParams{run}, &to)
	return to, err
}

// Held tells who holds the node's bundle: nil when it is free.
func (c *Client) Held(ctx context.Context) (*bundle.HeldError, error) {
	var h *bundle.HeldError
	if err := c.do(ctx, callHeld, struct{}{}, &h); err != nil {
		return nil, err
	}
	return h, nil
}

// Ask asks what the node lacks: bundle.Store.Ask, there.
func (c *Client) Ask(ctx context.Context, q bundle.Query) (bundle.Answer, error) {
	var a bundle.Answer
	if err := c.do(ctx, callAsk, q, &a); err != nil {
		return a, err
	}
	if len(a.Wants) > 0 && !path.IsAbs(a.Into) {
		return a, badFrame("files to send that have no place")
	}
	return a, nil
}

// Settle puts what was sent in its place: bundle.Store.Settle, there.
func (c *Client) Settle(ctx context.Context, s bundle.Settlement) error {
	return c.do(ctx, callSettle, s, nil)
}

// Adopt takes on the interrupted run that the agent was configured with, in its
// owner's name. It is refused, as *jobs.Error BLOCKED, while another agent of
// that run lives, when the bundle is not that run's, and when the node's journal
// no longer has the number of records that were seen.
func (c *Client) Adopt(ctx context.Context, seen int) error {
	return c.do(ctx, callAdopt, adoptParams{Seen: seen}, nil)
}

// AdoptRest is Adopt for a run that has closed its bundle. It is refused when
// the bundle is open, and that run's. What a close that was cut short has left
// is removed, and to close it again is OK.
func (c *Client) AdoptRest(ctx context.Context, seen int) error {
	return c.do(ctx, callAdopt, adoptParams{Seen: seen, Closed: true}, nil)
}

// Journal reads what the node has recorded of a run: nothing, when it knows no
// such run. torn tells that the last record was cut short, and left out.
func (c *Client) Journal(ctx context.Context, run string) (records []jobs.Record, torn bool, err error) {
	var res journalResult
	err = c.do(ctx, callJournal, journalParams{run}, &res)
	return res.Records, res.Torn, err
}

// Mark adds a mark to the journal of the run that holds the node. It is
// refused, as *jobs.Error BLOCKED, while that run's agent lives.
func (c *Client) Mark(ctx context.Context, run string, r jobs.Record) error {
	return c.do(ctx, callMark, markParams{Run: run, Record: r}, nil)
}

// MarkRest is Mark for a run that has closed its bundle, and was not given up.
func (c *Client) MarkRest(ctx context.Context, run string, r jobs.Record) error {
	return c.do(ctx, callMark, markParams{Run: run, Record: r, Closed: true}, nil)
}

// Record sends a record of a local step along to the node's journal. It does
// not wait, and tells nothing: the workstation has a journal of its own.
func (c *Client) Record(r jobs.Record) {
	if f, err := pack(kindRecord, 0, r); err == nil {
		c.out.push(f)
	}
}
