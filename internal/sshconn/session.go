package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

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
	switch {
	case err == nil:
		return p, nil
	case ctx.Err() != nil, errors.As(err, new(*Error)):
		return nil, err
	}
	return nil, errorf(NoAuth, "", "%s: the server does not start a program: %w", c.dialer.t.label(), err)
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
			ch := c.chains[tried]
			tried++
			c.mu.Unlock()
			p, err := c.open(ctx, ch)
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
	p, err := c.open(ctx, ch)
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
func (c *Conn) open(ctx context.Context, ch *chain) (*proc, error) {
	p := &proc{conn: c, chain: ch}
	err := c.within(ctx, p, func() (err error) {
		if p.Session, err = ch.last().client.NewSession(); err != nil {
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
			err = c.gone(p.chain)
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
	chain  *chain
	stdin  io.WriteCloser
	stdout io.Reader
	stderr io.Reader
	closed atomic.Bool
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
	return p.conn.gone(p.chain)
}

// Close closes the channel.
func (p *proc) Close() error {
	p.closed.Store(true)
	err := p.Session.Close()
	if errors.Is(err, io.EOF) { // it was closed already
		return nil
	}
	return err
}

// alive tells whether the connection below still answers.
func (p *proc) alive() bool {
	_, _, err := p.chain.last().client.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}
