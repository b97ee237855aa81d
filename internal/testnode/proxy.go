package testnode

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// inFlight bounds what one direction of a connection holds back, in bytes.
const inFlight = 32 << 20

// Proxy passes a TCP address on, and spoils the line on demand. Its methods may
// be called at any time, from any goroutine.
type Proxy struct {
	Addr string
	Port int

	to       string
	listener net.Listener
	work     sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond // the hole was opened or closed, or the proxy closed
	delay    time.Duration
	hole     bool
	refuse   bool
	closed   bool
	accepted int
	passed   [2]int64 // bytes, by direction
	cutAt    [2]int64 // value of passed at which all is reset; -1: never
	conns    map[net.Conn]bool
}

// The two directions.
const (
	up   = iota // client to server
	down        // server to client
)

// NewProxy listens on a loopback port and passes connections on to addr.
func NewProxy(addr string) (*Proxy, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		Addr: l.Addr().String(), Port: l.Addr().(*net.TCPAddr).Port,
		to: addr, listener: l, cutAt: [2]int64{-1, -1}, conns: map[net.Conn]bool{},
	}
	p.changed = sync.NewCond(&p.mu)
	p.work.Go(p.accept)
	return p, nil
}

// Delay adds d/2 to each direction: d to a round trip. Bandwidth is not limited.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d / 2
}

// CutAfter resets every connection (RST) once n further bytes went from client
// to server, counted over all connections; 0 is now, below 0 never. New
// connections are passed on again afterwards.
func (p *Proxy) CutAfter(n int64) { p.cutAfter(up, n) }

// CutAfterDown is CutAfter for the bytes from server to client.
func (p *Proxy) CutAfterDown(n int64) { p.cutAfter(down, n) }

func (p *Proxy) cutAfter(direction int, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case n < 0:
		p.cutAt[direction] = -1
	case n == 0:
		p.resetAll()
	default:
		p.cutAt[direction] = p.passed[direction] + n
	}
}

// Blackhole stops passing anything on, and keeps connections open, until off.
// New connections are accepted, and hear nothing. What was held back meanwhile
// arrives afterwards.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = on
	p.changed.Broadcast()
}

// Refuse resets every connection, and those that come, until off.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
	if on {
		p.resetAll()
	}
}

// Passed tells how many bytes went to the server and to the client.
func (p *Proxy) Passed() (toServer, toClient int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed[up], p.passed[down]
}

// Accepted tells how many connections there have been.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Close ends every connection, and waits until nothing of the proxy runs.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.resetAll()
	p.changed.Broadcast()
	p.mu.Unlock()
	err := p.listener.Close()
	p.work.Wait()
	return err
}

// resetAll ends every connection by RST, and disarms the cuts. p.mu is held.
func (p *Proxy) resetAll() {
	p.cutAt = [2]int64{-1, -1}
	for c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors, say
			continue
		}
		p.work.Go(func() { p.pass(client) })
	}
}

// add makes c one of those that a cut resets.
func (p *Proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuse {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

// pass serves one connection to its end.
func (p *Proxy) pass(client net.Conn) {
	if !p.add(client) {
		return
	}
	p.mu.Lock()
	p.accepted++
	p.mu.Unlock()
	server, err := net.Dial("tcp", p.to)
	if err != nil || !p.add(server) {
		_ = client.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.oneWay(up, client, server) })
	both.Go(func() { p.oneWay(down, server, client) })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
	_ = client.Close()
	_ = server.Close()
}

// oneWay passes on what comes from one side, each piece when its time has come.
func (p *Proxy) oneWay(direction int, from, to net.Conn) {
	q := newQueue()
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			p.mu.Lock()
			due := time.Now().Add(p.delay)
			p.mu.Unlock()
			if n > 0 && !q.put(piece{due: due, data: append([]byte(nil), buf[:n]...)}) {
				return
			}
			if err != nil {
				q.put(piece{due: due, end: true, reset: !errors.Is(err, io.EOF)})
				return
			}
		}
	})
	for {
		next := q.take()
		time.Sleep(time.Until(next.due))
		if err := p.deliver(direction, next, to); err != nil {
			_ = from.Close() // lets the reader go
			break
		}
		if next.end {
			break // the reader has ended by itself; the other direction may go on
		}
	}
	q.close()
	reading.Wait()
}

// errCut ends a direction that was cut.
var errCut = errors.New("the line was cut")

// deliver passes one piece on; an error ends the direction.
func (p *Proxy) deliver(direction int, next piece, to net.Conn) error {
	p.mu.Lock()
	for p.hole && !p.closed {
		p.changed.Wait()
	}
	data, cut := next.data, false
	if at := p.cutAt[direction]; at >= 0 && p.passed[direction]+int64(len(data)) >= at {
		data, cut = data[:at-p.passed[direction]], true
	}
	p.passed[direction] += int64(len(data))
	p.mu.Unlock()

	var err error
	if len(data) > 0 {
		_, err = to.Write(data)
	}
	switch {
	case cut:
		p.mu.Lock()
		p.resetAll()
		p.mu.Unlock()
		return errCut
	case next.reset:
		_ = to.(*net.TCPConn).SetLinger(0)
		_ = to.Close()
	case next.end:
		_ = to.(*net.TCPConn).CloseWrite()
	}
	return err
}
