package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Proc is a program started on the node. Both of its outputs have to be read:
// they share one window.
type Proc interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader
	Wait() error  // *ExitError, *ssh.ExitMissingError or *Error
	Close() error // closes the channel; does not end the program
}

// Start starts a program. The server's word that it does is not waited for:
// what is written travels along, and a program that was not started is told by
// Wait. When the server allows no further session on this connection, a second
// connection to the same target is made for it.
func (c *Conn) Start(ctx context.Context, command string) (Proc, error) {
	var p *proc
	w, err := c.take(ctx, &c.ready)
	if w != nil {
		p = w.proc
	} else if err == nil {
		p, err = c.session(ctx, maxChains)
	}
	if err != nil {
		return nil, err
	}
	if err := c.within(ctx, p, func() error {
		_, err := p.ch.SendRequest("exec", false, asString(command))
		return err
	}); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.wg.Go(func() { c.doubt(p) })
	}
	return p, nil
}

// doubtAfter is how long a program may be mute before the server is asked
// whether it starts any.
const doubtAfter = 3 * time.Second

// doubt looks after a program of which nothing is heard. A request that is not
// answered may have been refused; another one, for nothing and on a session of
// its own, is.
func (c *Conn) doubt(p *proc) {
	select {
	case <-time.After(doubtAfter):
	case <-p.heard:
		return
	case <-p.exited:
		return
	case <-c.ctx.Done():
		return
	}
	q, err := c.open(c.ctx, p.chain)
	if err != nil {
		return
	}
	defer q.Close() //nolint:errcheck // it was asked for nothing
	if ok, err := q.ch.SendRequest("exec", true, asString("exit 0")); err != nil || ok {
		return
	}
	p.mu.Lock()
	p.refused = errorf(NoAuth, "is the account's limit of processes reached?", "%s: the server does not start a program", c.dialer.t.label())
	p.mu.Unlock()
	_ = p.ch.Close()
}

func asString(s string) []byte { return ssh.Marshal(struct{ S string }{s}) }

// session opens a session on the first connection that has room for one, and on
// a further one when there are fewer than most.
func (c *Conn) session(ctx context.Context, most int) (*proc, error) {
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
	if most == 0 {
		return nil, errorf(NoAuth, "MaxSessions in the node's sshd_config sets the limit", "%s: the server allows no further session", c.dialer.t.label())
	}
	c.growing.Lock()
	defer c.growing.Unlock()
	// What others made in the meantime comes first.
	if p, err := try(); p != nil || err != nil {
		return p, err
	}
	name := c.dialer.t.label()
	if tried >= most {
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
	p := &proc{conn: c, chain: ch, heard: make(chan struct{}), exited: make(chan struct{})}
	err := c.within(ctx, p, func() error {
		channel, requests, err := ch.last().client.OpenChannel("session", nil)
		if err == nil {
			p.ch = channel
			c.wg.Go(func() { p.listen(requests) }) // this goroutine is one of them, so that nobody has waited yet
		}
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
		if p.ch != nil {
			_ = p.ch.Close()
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

// ExitError is the end of a program that did not succeed.
type ExitError struct {
	Status int
	Signal string // its name without SIG; "" when the program ended by itself
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return "killed by signal " + e.Signal
	}
	return fmt.Sprintf("exit status %d", e.Status)
}

// ExitStatus is what a shell would say: 128 and more for a signal.
func (e *ExitError) ExitStatus() int { return e.Status }

// proc is a session with its pipes.
type proc struct {
	conn    *Conn
	chain   *chain
	ch      ssh.Channel
	closed  atomic.Bool
	counted atomic.Bool // among the connection's file channels

	once   sync.Once
	heard  chan struct{} // closed with the first that comes of it
	exited chan struct{} // closed when exit is set

	mu      sync.Mutex
	exit    error
	refused error // it was not started
}

func (p *proc) Stdin() io.WriteCloser { return procInput{p.ch} }
func (p *proc) Stdout() io.Reader     { return procOutput{p, p.ch} }
func (p *proc) Stderr() io.Reader     { return procOutput{p, p.ch.Stderr()} }

// procInput ends with the program's standard input, not with the session.
type procInput struct{ ssh.Channel }

func (i procInput) Close() error { return i.CloseWrite() }

// procOutput notes that something came.
type procOutput struct {
	p *proc
	r io.Reader
}

func (o procOutput) Read(b []byte) (int, error) {
	n, err := o.r.Read(b)
	if n > 0 || err != nil {
		o.p.once.Do(func() { close(o.p.heard) })
	}
	return n, err
}

// listen takes what the server tells of the program, up to its end.
func (p *proc) listen(requests <-chan *ssh.Request) {
	var exit error = &ssh.ExitMissingError{}
	for r := range requests {
		var status struct{ Status uint32 }
		var signal struct {
			Name       string
			Core       bool
			Text, Lang string
		}
		switch {
		case r.Type == "exit-status" && ssh.Unmarshal(r.Payload, &status) == nil:
			exit = nil
			if status.Status != 0 {
				exit = &ExitError{Status: int(status.Status)}
			}
		case r.Type == "exit-signal" && ssh.Unmarshal(r.Payload, &signal) == nil:
			exit = &ExitError{Status: signalled(signal.Name), Signal: signal.Name}
		default:
			_ = r.Reply(false, nil)
		}
	}
	p.exit = exit
	close(p.exited)
}

// signalled is the exit status that stands for a signal.
func signalled(name string) int {
	return 128 + map[ssh.Signal]int{
		ssh.SIGABRT: 6, ssh.SIGALRM: 14, ssh.SIGFPE: 8, ssh.SIGHUP: 1, ssh.SIGILL: 4, ssh.SIGINT: 2,
		ssh.SIGKILL: 9, ssh.SIGPIPE: 13, ssh.SIGQUIT: 3, ssh.SIGSEGV: 11, ssh.SIGTERM: 15,
	}[ssh.Signal(name)]
}

// Wait waits for the program's end.
func (p *proc) Wait() error {
	<-p.exited
	p.mu.Lock()
	refused := p.refused
	p.mu.Unlock()
	switch {
	case refused != nil:
		return refused
	case p.exit == nil || errors.As(p.exit, new(*ExitError)) || p.alive():
		return p.exit
	}
	return p.conn.gone(p.chain)
}

// Close closes the channel.
func (p *proc) Close() error {
	if !p.closed.Swap(true) && p.counted.Load() {
		p.conn.release()
	}
	err := p.ch.Close()
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
