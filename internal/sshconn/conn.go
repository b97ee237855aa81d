package sshconn

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
)

// Conn is an authenticated connection. Every read and write under it has a
// deadline: a peer that is silent for 20 s is Lost, and all that waits on the
// connection returns then. It is safe for concurrent use.
type Conn struct {
	dialer *dialer
	done   chan struct{}
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	wg     sync.WaitGroup

	growing sync.Mutex // held while a further connection is made

	first *hop // the first connection to the target

	mu     sync.Mutex
	chains []*chain
	warm   []*warm // file channels
	ready  []*warm // sessions
	ways   int     // file channels that are there, or on their way
	over   bool
	err    error
}

// maxChains bounds the connections that MaxSessions makes necessary.
const maxChains = 8

// Dial connects and authenticates, through the jump hosts if there are any.
func Dial(ctx context.Context, t Target, o Options) (*Conn, error) {
	c := &Conn{dialer: newDialer(t, o), done: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	ch, err := c.dial(ctx)
	if err != nil {
		c.cancel()
		c.dialer.close()
		return nil, err
	}
	c.first = ch.last()
	return c, c.add(ch)
}

// dial makes one more connection.
func (c *Conn) dial(ctx context.Context) (*chain, error) {
	ctx, b := newBudget(ctx, c.dialer.o.Connect)
	defer b.stop()
	return c.dialer.chain(ctx, b)
}

// add takes a connection in, and watches it.
func (c *Conn) add(ch *chain) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		ch.close()
		return c.goneLocked()
	}
	c.chains = append(c.chains, ch)
	c.wg.Go(func() {
		<-ch.last().gone
		c.end(c.lost(ch))
	})
	return nil
}

// lost says why a chain is gone.
func (c *Conn) lost(ch *chain) *Error {
	err := ch.last().err
	for _, h := range ch.hops {
		cause := h.wire.broken()
		switch {
		case cause == nil:
			continue
		case h.wire.silent():
			return errorf(Lost, "", "%s: connection lost: nothing was heard for %v", h.t.label(), c.dialer.o.silence)
		case errors.Is(cause, io.EOF), errors.Is(cause, io.ErrClosedPipe):
			return errorf(Lost, "", "%s: connection lost: the far end closed it", h.t.label())
		case errors.Is(cause, syscall.ECONNRESET):
			return errorf(Lost, "", "%s: connection lost: reset by the far end", h.t.label())
		}
		err = cause
	}
	return errorf(Lost, "", "%s: connection lost: %w", c.Target().label(), err)
}

// end closes everything, once; err is nil when the user wants it so.
func (c *Conn) end(err *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	if err != nil {
		c.err = err
	}
	for _, ch := range c.chains {
		ch.close()
	}
	c.dialer.close()
	c.cancel()
	close(c.done)
}

// Target is where the connection leads.
func (c *Conn) Target() Target { return c.dialer.t }

// Done is closed when the connection is gone; Err then says why.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err gives the reason after Done: *Error{Lost}, or nil after Close.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and everything on it, and waits for the
// goroutines that it has.
func (c *Conn) Close() error {
	c.end(nil)
	c.wg.Wait()
	c.cool()
	return nil
}

// goneLocked is the error of a call that came too late.
func (c *Conn) goneLocked() error {
	if c.err != nil {
		return c.err
	}
	return errorf(Lost, "", "%s: the connection is closed", c.dialer.t.label())
}

// gone is what a call says that the library told of ch's end, a moment before
// we were: from here on, Done and Err agree with it.
func (c *Conn) gone(ch *chain) error {
	<-ch.last().gone
	err := c.lost(ch)
	c.mu.Lock()
	ours := slices.Contains(c.chains, ch)
	c.mu.Unlock()
	if !ours { // it failed before it was taken in
		return err
	}
	c.end(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.goneLocked()
}
