package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
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

	mu     sync.Mutex
	chains []*chain
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
	return nil
}

// goneLocked is the error of a call that came too late.
func (c *Conn) goneLocked() error {
	if c.err != nil {
		return c.err
	}
	return errorf(Lost, "", "%s: the connection is closed", c.dialer.t.label())
}

// gone is goneLocked for a call that was told by the library, which may be a
// moment earlier than we are.
func (c *Conn) gone() error {
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.goneLocked()
}

// Proc is a program started on the node. Both of its outputs have to be read:
// they share one window.
type Proc interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader
	Wait() error  // *ssh.ExitError, *ssh.ExitMissingError or *Error{Lost}
	Close() error // closes the channel; does not end the program
}

// Start starts a program. When the server allows no further session on this
// connection, a second connection to the same target is made for it.
func (c *Conn) Start(ctx context.Context, command string) (Proc, error) {
	p, err := c.session(ctx)
	if err != nil {
		return nil, err
	}
	err = c.within(ctx, p, func() error { return p.Start(command) })
	if err != nil {
		if p.alive() {
			return nil, fmt.Errorf("%s: the server does not start a program: %w", c.dialer.t.label(), err)
		}
		return nil, err
	}
	return p, nil
}

// session opens a session on the first connection that has room for one.
func (c *Conn) session(ctx context.Context) (*proc, error) {
	tried := 0
	try := func() (*proc, error) {
		for {
			c.mu.Lock()
			if c.over {
				defer c.mu.Unlock()
				return nil, c.goneLocked()
			}
			if tried == len(c.chains) {
				c.mu.Unlock()
				return nil, nil
			}
			client := c.chains[tried].last().client
			tried++
			c.mu.Unlock()
			p, err := c.open(ctx, client)
			if !errors.As(err, new(*ssh.OpenChannelError)) {
				return p, err
			}
		}
	}
	if p, err := try(); p != nil || err != nil {
		return p, err
	}
	c.growing.Lock()
	defer c.growing.Unlock()
	// What others made in the meantime comes first.
	if p, err := try(); p != nil || err != nil {
		return p, err
	}
	name := c.dialer.t.label()
	if tried >= maxChains {
		return nil, errorf(NoAuth, "MaxSessions in the node's sshd_config sets the limit", "%s: the server allows no further session, on %d connections", name, tried)
	}
	both, stop := c.bound(ctx)
	defer stop()
	ch, err := c.dial(both)
	if err != nil {
		return nil, fmt.Errorf("a further connection, since the server allows no more sessions on one: %w", err)
	}
	// It is taken in with its session: nobody else is to be first.
	p, err := c.open(ctx, ch.last().client)
	if err == nil {
		err = c.add(ch)
	} else {
		ch.close()
	}
	var refused *ssh.OpenChannelError
	switch {
	case errors.As(err, &refused):
		return nil, errorf(NoAuth, "MaxSessions and ForceCommand in the node's sshd_config decide that", "%s: the server allows no session: %s", name, said([]byte(refused.Message)))
	case err != nil:
		return nil, err
	}
	return p, nil
}

// bound gives a context that ends with ctx, and with the connection.
func (c *Conn) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// open opens a session on one connection. The error is *ssh.OpenChannelError
// when the server does not want to.
func (c *Conn) open(ctx context.Context, client *ssh.Client) (*proc, error) {
	p := &proc{conn: c, client: client}
	err := c.within(ctx, p, func() (err error) {
		if p.Session, err = client.NewSession(); err != nil {
			return err
		}
		if p.stdin, err = p.StdinPipe(); err != nil {
			return err
		}
		if p.stdout, err = p.StdoutPipe(); err != nil {
			return err
		}
		p.stderr, err = p.StderrPipe()
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// within runs f, which waits for the node. When ctx is done first, f is left
// to itself: it ends with the node's answer or with the connection, and its
// session is closed then.
func (c *Conn) within(ctx context.Context, p *proc, f func() error) error {
	result := make(chan error)
	c.mu.Lock()
	if c.over {
		defer c.mu.Unlock()
		return c.goneLocked()
	}
	c.wg.Go(func() {
		err := f()
		if err != nil && !errors.As(err, new(*ssh.OpenChannelError)) && !p.alive() {
			err = c.gone()
		}
		select {
		case result <- err:
			if err == nil {
				return
			}
		case <-ctx.Done():
		}
		if p.Session != nil {
			_ = p.Session.Close()
		}
	})
	c.mu.Unlock()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// proc is a session with its pipes.
type proc struct {
	*ssh.Session
	conn   *Conn
	client *ssh.Client
	stdin  io.WriteCloser
	stdout io.Reader
	stderr io.Reader
}

func (p *proc) Stdin() io.WriteCloser { return p.stdin }
func (p *proc) Stdout() io.Reader     { return p.stdout }
func (p *proc) Stderr() io.Reader     { return p.stderr }

// Wait waits for the program's end.
func (p *proc) Wait() error {
	err := p.Session.Wait()
	if err == nil || errors.As(err, new(*ssh.ExitError)) || p.alive() {
		return err
	}
	return p.conn.gone()
}

// Close closes the channel.
func (p *proc) Close() error {
	err := p.Session.Close()
	if errors.Is(err, io.EOF) { // it was closed already
		return nil
	}
	return err
}

// alive tells whether the connection below still answers.
func (p *proc) alive() bool {
	_, _, err := p.client.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}
