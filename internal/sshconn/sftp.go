package sshconn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
)

const (
	// maxNoise is what a login shell may print before the server's first packet.
	maxNoise = 64 << 10
	// sftpStart bounds the wait for that packet.
	sftpStart = 20 * time.Second
	// bigPacket is what OpenSSH takes at once; the standard promises 32 KiB.
	bigPacket = 255 << 10
)

// SFTP gives a file channel of the caller's own, a warm one if there is one;
// noise before the server's first packet (a login shell that prints) is skipped,
// up to 64 KiB. As for Start, a second connection is made where one session is
// all that is allowed. Packets are 255 KiB where the server is OpenSSH.
func (c *Conn) SFTP(ctx context.Context) (*sftp.Client, error) {
	if w, err := c.take(ctx, &c.warm); w != nil {
		return w.client, nil
	} else if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.ways++
	c.mu.Unlock()
	return c.files(ctx, maxChains)
}

// Spare is SFTP for one more file channel, which is worth no connection of its
// own: an error where the server has no room for it, and where there are
// Options.Ways of them.
func (c *Conn) Spare(ctx context.Context) (*sftp.Client, error) {
	if w, err := c.take(ctx, &c.warm); w != nil {
		return w.client, nil
	} else if err != nil {
		return nil, err
	}
	if !c.reserve(1) {
		return nil, errorf(NoAuth, "", "%s: it has file channels enough", c.dialer.t.label())
	}
	return c.files(ctx, 0)
}

// reserve counts one more file channel, unless there are Options.Ways of them;
// there are said to be some at least.
func (c *Conn) reserve(least int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if most := c.dialer.o.Ways; most > 0 && max(c.ways, least) >= most {
		return false
	}
	c.ways++
	return true
}

func (c *Conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ways--
}

// files opens a file channel, which was counted, on a further connection if there
// are fewer than most.
func (c *Conn) files(ctx context.Context, most int) (_ *sftp.Client, err error) {
	defer func() {
		if err != nil {
			c.release()
		}
	}()
	p, filter, err := c.subsystem(ctx, most)
	if err != nil {
		return nil, err
	}
	name := c.dialer.t.label()
	limit, cancel := context.WithTimeoutCause(ctx, sftpStart, fmt.Errorf("%s: no SFTP server answers within %v", name, sftpStart))
	defer cancel()
	var client *sftp.Client
	err = c.within(limit, p, func() (err error) {
		// Each option is checked by its number only: none of these can fail.
		client, err = sftp.NewClientPipe(filter, sftpEnd{p}, sftpOptions(string(p.chain.last().client.ServerVersion()))...)
		return err
	})
	switch {
	case err == nil:
		p.counted.Store(true)
		return client, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limit.Err() != nil:
		return nil, &Error{Kind: NoAuth, Err: context.Cause(limit), Hint: filter.hint()}
	case errors.As(err, new(*Error)) && filter.failed() == nil:
		return nil, err
	}
	if why := filter.failed(); why != nil {
		err = why
	}
	return nil, errorf(NoAuth, filter.hint(), "%s: SFTP: %w", name, err)
}

// Files opens a file channel as SFTP does, and gives it as bytes: for an SFTP
// client in another process.
func (c *Conn) Files(ctx context.Context) (io.ReadWriteCloser, error) {
	p, filter, err := c.subsystem(ctx, maxChains)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.WriteCloser
	}{filter, sftpEnd{p}}, nil
}

// subsystem starts the node's SFTP server on a session of its own.
func (c *Conn) subsystem(ctx context.Context, most int) (*proc, *noiseFilter, error) {
	p, err := c.session(ctx, most)
	if err != nil {
		return nil, nil, err
	}
	if err := c.within(ctx, p, func() error {
		ok, err := p.ch.SendRequest("subsystem", true, asString("sftp"))
		if err == nil && !ok {
			err = errors.New("subsystem request failed")
		}
		return err
	}); err != nil {
		if ctx.Err() != nil || errors.As(err, new(*Error)) {
			return nil, nil, err
		}
		return nil, nil, errorf(NoAuth, `its sshd_config needs a line like "Subsystem sftp internal-sftp"`, "%s: the server has no SFTP: %w", c.dialer.t.label(), err)
	}
	filter := &noiseFilter{in: sftpEnd{p}}
	c.drain(p, filter)
	return p, filter, nil
}

// drain keeps what the server's side prints on standard error from filling the
// window, and its beginning for a message.
func (c *Conn) drain(p *proc, f *noiseFilter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.wg.Go(func() { _, _ = io.Copy(&f.errors, p.Stderr()) })
	}
}

// sftpOptions suit the server. One channel has a window of 2 MiB: more in
// flight than that only costs memory.
func sftpOptions(version string) []sftp.ClientOption {
	o := []sftp.ClientOption{sftp.UseConcurrentWrites(true), sftp.UseConcurrentReads(true)}
	if strings.HasPrefix(version, "SSH-2.0-OpenSSH") || strings.HasPrefix(version, "SSH-2.0-conc") {
		return append(o, sftp.MaxPacketUnchecked(bigPacket), sftp.MaxConcurrentRequestsPerFile(16))
	}
	return append(o, sftp.MaxConcurrentRequestsPerFile(64))
}

// sftpEnd is the client's end of the channel. When that ends because the
// connection did, Done is closed before the client hears of it: what fails then
// is known to fail for that reason.
type sftpEnd struct{ p *proc }

func (s sftpEnd) Read(b []byte) (int, error) {
	n, err := s.p.ch.Read(b)
	return n, s.judge(err)
}

func (s sftpEnd) Write(b []byte) (int, error) {
	n, err := s.p.ch.Write(b)
	return n, s.judge(err)
}

func (s sftpEnd) judge(err error) error {
	if err != nil && !s.p.closed.Load() && !s.p.alive() {
		return s.p.conn.gone(s.p.chain)
	}
	return err
}

// Close ends the session.
func (s sftpEnd) Close() error {
	_ = s.p.ch.CloseWrite()
	return s.p.Close()
}

// noiseFilter passes an SFTP server's packets on, from its first one: an sshd
// with an external sftp-server starts it by the login shell, whose rc files may
// print.
type noiseFilter struct {
	in     io.Reader
	buf    []byte // read, and not yet passed on
	found  bool
	errors head

	mu    sync.Mutex
	noise []byte
	err   error
}

// A VERSION packet is: length, type 2, version 3, extensions.
const (
	versionSize   = 9
	versionPacket = 2
	sftpVersion   = 3
	maxVersion    = 32 << 10
)

func (f *noiseFilter) Read(p []byte) (int, error) {
	for !f.found {
		chunk := make([]byte, 4096)
		n, err := f.in.Read(chunk)
		f.buf = append(f.buf, chunk[:n]...)
		at := versionAt(f.buf)
		switch {
		case at >= 0:
			f.found = true
			f.note(f.buf[:at], nil)
			f.buf = f.buf[at:]
		case len(f.buf) > maxNoise:
			f.note(f.buf, fmt.Errorf("the login shell prints too much: %s", said(f.buf)))
		case err != nil && len(f.buf) > 0:
			f.note(f.buf, fmt.Errorf("no server was started; the login shell says %s", said(f.buf)))
		case err != nil:
			f.note(nil, fmt.Errorf("no server was started: %w", err))
		}
		if err := f.failed(); err != nil {
			return 0, err
		}
	}
	if len(f.buf) > 0 {
		n := copy(p, f.buf)
		f.buf = f.buf[n:]
		return n, nil
	}
	return f.in.Read(p)
}

// versionAt finds the first packet; -1 while there is none. Text has no bytes
// of zero, which the packet begins with.
func versionAt(b []byte) int {
	for i := 0; i+versionSize <= len(b); i++ {
		size := binary.BigEndian.Uint32(b[i:])
		if b[i+4] == versionPacket && size >= versionSize-4 && size <= maxVersion && binary.BigEndian.Uint32(b[i+5:]) == sftpVersion {
			return i
		}
	}
	return -1
}

func (f *noiseFilter) note(noise []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noise, f.err = noise, err
}

func (f *noiseFilter) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// hint says what the login shell wrote beside it.
func (f *noiseFilter) hint() string {
	if text := f.errors.String(); text != "" {
		return "the node says " + said([]byte(text))
	}
	return `"Subsystem sftp internal-sftp" in its sshd_config needs no login shell`
}

// head keeps the beginning of what is written to it.
type head struct {
	mu sync.Mutex
	b  []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b = append(h.b, p[:min(len(p), headSize-len(h.b))]...)
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.b)
}
