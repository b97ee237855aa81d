package sshconn

import (
	"context"
	"time"

	"github.com/pkg/sftp"
)

// slow is the round trip from which on it pays to have channels ready.
const slow = 5 * time.Millisecond

// warm is a channel that was opened before anyone asked for it.
type warm struct {
	done   chan struct{} // closed when the others are set
	client *sftp.Client  // of a file channel
	proc   *proc         // of a program's session
	err    error
}

// Warm opens channels in the background: n for files, for SFTP and Spare to hand
// out, or one, where the line is fast. It makes no further connection, and what
// fails is nobody's business: whoever wants a channel later opens it, and hears
// why it cannot be. Those that nobody took are closed with the connection.
func (c *Conn) Warm(n int) {
	if n < 1 {
		return
	}
	c.warmUp(1)
	c.background(func() {
		select {
		case <-c.first.answered:
			if c.first.trip >= slow {
				c.warmUp(n - 1)
			}
		case <-c.ctx.Done():
		}
	})
}

func (c *Conn) warmUp(n int) {
	for range n {
		if !c.reserve(0) {
			return
		}
		c.prepare(&c.warm, func(w *warm) { w.client, w.err = c.files(c.ctx, 0) })
	}
}

// Ready opens a session in the background, for the next Start.
func (c *Conn) Ready() {
	c.prepare(&c.ready, func(w *warm) { w.proc, w.err = c.session(c.ctx, 0) })
}

// Keep takes a file channel back, for the next who wants one.
func (c *Conn) Keep(client *sftp.Client) {
	c.prepare(&c.warm, func(w *warm) { w.client = client })
}

func (c *Conn) prepare(list *[]*warm, open func(*warm)) {
	w := &warm{done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		*list = append(*list, w)
		c.wg.Go(func() {
			defer close(w.done)
			open(w)
		})
	}
}

// take gives the caller one of a list; nil when there is none.
func (c *Conn) take(ctx context.Context, list *[]*warm) (*warm, error) {
	for {
		c.mu.Lock()
		if len(*list) == 0 || c.over {
			c.mu.Unlock()
			return nil, nil
		}
		w := (*list)[0]
		*list = (*list)[1:]
		c.mu.Unlock()
		select {
		case <-w.done:
		case <-ctx.Done():
			c.mu.Lock()
			*list = append(*list, w)
			c.mu.Unlock()
			return nil, ctx.Err()
		}
		if w.err == nil {
			return w, nil
		}
	}
}

// cool closes the channels that nobody took. The connection is closed already,
// and so nobody adds to them; what ends here may still ask for the lock.
func (c *Conn) cool() {
	c.mu.Lock()
	left := c.warm
	c.warm, c.ready = nil, nil
	c.mu.Unlock()
	for _, w := range left {
		if <-w.done; w.client != nil {
			_ = w.client.Close()
		}
	}
}

// background runs f, which ends with the connection at the latest.
func (c *Conn) background(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.wg.Go(f)
	}
}
