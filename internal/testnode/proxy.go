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
	rate     int // bytes a second, of a direction of a connection; 0: no limit
	hole     bool
	refuse   bool
	closed   bool
	accepted int
	passed   [2]int64 // bytes, by direction
	harm     [2]harm
	conns    map[net.Conn]bool
}

// Harm is what befalls every connection of a proxy.
type Harm string

// The harms.
const (
	Reset   Harm = "reset"      // RST
	End     Harm = "close"      // an orderly end, in both directions
	Hole    Harm = "black hole" // Blackhole(true)
	Trickle Harm = "trickle"    // Trickle(SlowLine)
)

// SlowLine is the rate of the harm Trickle, in bytes a second.
const SlowLine = 20 << 10

// harm is what is to befall the line at a value of passed.
type harm struct {
	kind Harm // "": nothing
	at   int64
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
		to: addr, listener: l, conns: map[net.Conn]bool{},
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

// CutAfter is After for a reset; below 0 it takes the order back.
func (p *Proxy) CutAfter(n int64) { p.after(up, n, Reset) }

// CutAfterDown is CutAfter for the bytes from server to client.
func (p *Proxy) CutAfterDown(n int64) { p.after(down, n, Reset) }

// After does harm once n further bytes went from client to server, counted over
// all connections; 0 is now. Connections that come after a reset or an end are
// passed on again.
func (p *Proxy) After(n int64, h Harm) { p.after(up, n, h) }

// AfterDown is After for the bytes from server to client.
func (p *Proxy) AfterDown(n int64, h Harm) { p.after(down, n, h) }

func (p *Proxy) after(direction int, n int64, h Harm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case n < 0:
		p.harm[direction] = harm{}
	case n == 0:
		p.befall(h)
	default:
		p.harm[direction] = harm{h, p.passed[direction] + n}
	}
}

// befall does a harm, and disarms those to come. p.mu is held.
func (p *Proxy) befall(h Harm) {
	p.harm = [2]harm{}
	switch h {
	case Reset:
		p.resetAll()
	case End:
		for c := range p.conns {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	case Hole:
		p.hole = true
	case Trickle:
		p.rate = SlowLine
	}
}

// Trickle lets only so many bytes a second through, in each direction of each
// connection; 0 is no limit again.
func (p *Proxy) Trickle(rate int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
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

// resetAll ends every connection by RST, and disarms what was to befall them.
// p.mu is held.
func (p *Proxy) resetAll() {
	p.harm = [2]harm{}
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

// tick is how often a line that trickles lets something through.
const tick = 20 * time.Millisecond

// deliver passes one piece on; an error ends the direction.
func (p *Proxy) deliver(direction int, next piece, to net.Conn) error {
	for len(next.data) > 0 {
		data, harm, pause := p.admit(direction, next.data)
		next.data = next.data[len(data):]
		if _, err := to.Write(data); err != nil {
			return err
		}
		time.Sleep(pause)
		if harm == "" {
			continue
		}
		p.mu.Lock()
		p.befall(harm)
		p.mu.Unlock()
		if harm == Reset || harm == End {
			return errCut
		}
	}
	p.mu.Lock()
	p.await()
	p.mu.Unlock()
	switch {
	case next.reset:
		_ = to.(*net.TCPConn).SetLinger(0)
		_ = to.Close()
	case next.end:
		_ = to.(*net.TCPConn).CloseWrite()
	}
	return nil
}

// await waits until there is no black hole. p.mu is held.
func (p *Proxy) await() {
	for p.hole && !p.closed {
		p.changed.Wait()
	}
}

// admit waits until something may go on, and gives what may, what befalls the
// line then, and how long nothing more goes.
func (p *Proxy) admit(direction int, data []byte) ([]byte, Harm, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.await()
	pause := time.Duration(0)
	if p.rate > 0 {
		pause = tick
		data = data[:min(len(data), max(1, p.rate*int(tick/time.Millisecond)/1000))]
	}
	var kind Harm
	if h := p.harm[direction]; h.kind != "" && p.passed[direction]+int64(len(data)) >= h.at {
		data, kind = data[:h.at-p.passed[direction]], h.kind
	}
	p.passed[direction] += int64(len(data))
	return data, kind, pause
}
