package sshconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// wire is the connection below SSH. Once armed, every read and write on it has
// a deadline: x/crypto/ssh never notices a silent peer, and nothing but a
// deadline of the net.Conn releases the calls that are blocked on one.
type wire struct {
	net.Conn
	silence time.Duration
	armed   atomic.Bool

	mu    sync.Mutex
	head  []byte // the first bytes of the peer
	spoke bool   // it said "SSH-"
	err   error  // the first one that ended a read or a write
}

// headSize is how much of what a peer says first is kept, to be shown.
const headSize = 512

func (w *wire) Read(p []byte) (int, error) {
	if w.armed.Load() {
		if err := w.SetReadDeadline(time.Now().Add(w.silence)); err != nil {
			return 0, err
		}
	}
	n, err := w.Conn.Read(p)
	if !w.armed.Load() || err != nil {
		w.note(p[:n], err)
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	if w.armed.Load() {
		if err := w.SetWriteDeadline(time.Now().Add(w.silence)); err != nil {
			return 0, err
		}
	}
	n, err := w.Conn.Write(p)
	if err != nil {
		w.note(nil, err)
	}
	return n, err
}

func (w *wire) note(p []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.spoke && len(w.head) < headSize {
		w.head = append(w.head, p[:min(len(p), headSize-len(w.head))]...)
		w.spoke = bytes.HasPrefix(w.head, []byte("SSH-")) || bytes.Contains(w.head, []byte("\nSSH-"))
	}
	if w.err == nil {
		w.err = err
	}
}

// arm starts the deadlines, also for a read that is already waiting. Before
// that the dial's own time limit holds: a person may be typing a passphrase.
func (w *wire) arm() error {
	w.armed.Store(true)
	return w.SetReadDeadline(time.Now().Add(w.silence))
}

// said gives the peer's first bytes, and whether they were SSH's.
func (w *wire) said() (head []byte, ssh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.head), w.spoke
}

// broken gives the error that ended the connection, or nil while it is up.
func (w *wire) broken() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// silent tells whether the peer's silence ended the connection.
func (w *wire) silent() bool { return errors.Is(w.broken(), os.ErrDeadlineExceeded) }

// tunnel makes a connection that goes through a hop. An SSH channel has no
// deadlines, so a pipe that has them stands before it.
func tunnel(channel net.Conn) net.Conn {
	near, far := net.Pipe()
	t := &tunnelConn{Conn: near}
	t.copiers.Go(func() {
		_, _ = io.Copy(far, channel)
		_ = far.Close()
	})
	t.copiers.Go(func() {
		_, _ = io.Copy(channel, far)
		_ = channel.Close()
	})
	return t
}

// tunnelConn's copiers are waited for once the hop below is closed.
type tunnelConn struct {
	net.Conn
	copiers sync.WaitGroup
}

// keepAlive asks the peer for a sign of life every beat, until the connection
// is gone. The answer is what keeps the deadline of the wire away.
func keepAlive(client *ssh.Client, beat time.Duration, gone <-chan struct{}) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				return
			}
		case <-gone:
			return
		}
	}
}

// budget is a time limit that does not run while a person is asked.
type budget struct {
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	left    time.Duration
	running time.Time // since when; zero while paused
}

var errBudget = errors.New("out of time")

// newBudget gives a context that ends with errBudget when d is used up.
func newBudget(ctx context.Context, d time.Duration) (context.Context, *budget) {
	ctx, cancel := context.WithCancelCause(ctx)
	b := &budget{cancel: cancel, left: d, running: time.Now()}
	b.timer = time.AfterFunc(d, func() { cancel(errBudget) })
	return ctx, b
}

// pause stops the clock until the returned function is called.
func (b *budget) pause() (resume func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running.IsZero() || !b.timer.Stop() {
		return func() {}
	}
	b.left -= time.Since(b.running)
	b.running = time.Time{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.running = time.Now()
		b.timer.Reset(max(b.left, 0))
	}
}

// stop ends the limit and its context.
func (b *budget) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer.Stop()
	b.cancel(context.Canceled)
}
