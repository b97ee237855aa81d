package testnode_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// echo is a server that sends back what it gets, and counts it.
type echo struct {
	addr string
	mu   sync.Mutex
	got  int64
	errs []error
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{addr: l.Addr().String()}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				buf := make([]byte, 32<<10)
				for {
					n, err := c.Read(buf)
					e.mu.Lock()
					e.got += int64(n)
					if err != nil && err != io.EOF {
						e.errs = append(e.errs, err)
					}
					e.mu.Unlock()
					if err != nil {
						return
					}
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	return e
}

func (e *echo) received() (int64, []error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got, e.errs
}

func startProxy(t *testing.T, addr string) *testnode.Proxy {
	t.Helper()
	p, err := testnode.NewProxy(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func connect(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

// ask sends text and reads as much back.
func ask(t *testing.T, c net.Conn, text string) time.Duration {
	t.Helper()
	begin := time.Now()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v, want %q", got, err, text)
	}
	return time.Since(begin)
}

// quick holds that what do measures takes less than that, at least once in a
// while: the machine may be busy.
func quick(t *testing.T, what string, do func() time.Duration, most time.Duration) {
	t.Helper()
	var took time.Duration
	for range 20 {
		if took = do(); took < most {
			return
		}
	}
	t.Errorf("%s took %v, want less than %v", what, took, most)
}

func TestProxyDelay(t *testing.T) {
	p := startProxy(t, startEcho(t).addr)
	c := connect(t, p.Addr)
	ask(t, c, "without")
	p.Delay(60 * time.Millisecond)
	if took := ask(t, c, "with"); took < 60*time.Millisecond || took > 30*time.Second {
		t.Errorf("a round trip took %v, want 60ms and little more", took)
	}
	p.Delay(0)
	quick(t, "after Delay(0): a round trip", func() time.Duration { return ask(t, c, "again without") }, 60*time.Millisecond)
}

// A delayed line is not a narrow one: 8 MiB on the way at once, in order.
func TestProxyDelayIsNotBandwidth(t *testing.T) {
	p := startProxy(t, startEcho(t).addr)
	p.Delay(100 * time.Millisecond)
	c := connect(t, p.Addr)
	want := make([]byte, 8<<20)
	for i := range want {
		want[i] = byte(i>>16 ^ i)
	}
	begin := time.Now()
	go func() {
		_, _ = c.Write(want)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, %v, want the %d that were sent", len(got), err, len(want))
	}
	if took := time.Since(begin); took > 20*time.Second { // a piece at a time, it takes 50 s
		t.Errorf("8 MiB took %v", took)
	}
}

func TestProxyCut(t *testing.T) {
	for _, tt := range []struct {
		name string
		cut  func(*testnode.Proxy, int64)
	}{
		{"client to server", (*testnode.Proxy).CutAfter},
		{"server to client", (*testnode.Proxy).CutAfterDown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := startEcho(t)
			p := startProxy(t, e.addr)
			bystander := connect(t, p.Addr)
			ask(t, bystander, "counted before, and not again")
			tt.cut(p, 100_000)
			c := connect(t, p.Addr)
			go func() { _, _ = c.Write(make([]byte, 1<<20)) }()
			got, err := io.Copy(io.Discard, c)
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v, want a reset", err)
			}
			if got > 100_000 {
				t.Errorf("got %d bytes, want 100000 at most", got)
			}
			if _, err := bystander.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the other connection: got %v, want a reset", err)
			}
			ask(t, connect(t, p.Addr), "the line is whole again")
		})
	}
	t.Run("counts exactly", func(t *testing.T) {
		e := startEcho(t)
		p := startProxy(t, e.addr)
		p.CutAfter(10)
		ask(t, connect(t, p.Addr), "12345")
		c := connect(t, p.Addr) // counted over all connections
		_, _ = io.WriteString(c, "123456789")
		_, _ = io.Copy(io.Discard, c)
		if up, _ := p.Passed(); up != 10 {
			t.Errorf("%d bytes were passed on, want 10", up)
		}
	})
	t.Run("now", func(t *testing.T) {
		p := startProxy(t, startEcho(t).addr)
		c := connect(t, p.Addr)
		ask(t, c, "up")
		p.CutAfter(0)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
	})
	t.Run("never mind", func(t *testing.T) {
		p := startProxy(t, startEcho(t).addr)
		p.CutAfter(3)
		p.CutAfter(-1)
		ask(t, connect(t, p.Addr), "longer than three")
	})
}

func TestProxyBlackhole(t *testing.T) {
	e := startEcho(t)
	p := startProxy(t, e.addr)
	c := connect(t, p.Addr)
	ask(t, c, "before")
	p.Blackhole(true)
	late := connect(t, p.Addr) // a new connection is swallowed, too
	for _, c := range []net.Conn{c, late} {
		if _, err := io.WriteString(c, "hello?"); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(60 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
			t.Errorf("got %d bytes, %v, want silence", n, err)
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	}
	if got, _ := e.received(); got != int64(len("before")) {
		t.Errorf("%d bytes reached the server", got)
	}
	p.Blackhole(false)
	for _, c := range []net.Conn{c, late} {
		got := make([]byte, 6)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello?" {
			t.Errorf("afterwards: got %q, %v", got, err)
		}
	}
}

// Other harms than a reset, at a certain byte.
func TestProxyHarm(t *testing.T) {
	t.Run("an end", func(t *testing.T) {
		p := startProxy(t, startEcho(t).addr)
		p.AfterDown(10, testnode.End)
		c := connect(t, p.Addr)
		_, _ = io.WriteString(c, "123456789012345")
		if got, err := io.ReadAll(c); len(got) > 10 || err != nil {
			t.Errorf("got %q, %v, want 10 bytes and the end", got, err)
		}
		ask(t, connect(t, p.Addr), "the line is whole again")
	})
	t.Run("a black hole", func(t *testing.T) {
		e := startEcho(t)
		p := startProxy(t, e.addr)
		p.After(10, testnode.Hole)
		c := connect(t, p.Addr)
		_, _ = io.WriteString(c, "123456789012345")
		got := make([]byte, 15)
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := io.ReadFull(c, got)
		if there, _ := e.received(); there != 10 || n > 10 || !isTimeout(err) {
			t.Errorf("got %d bytes there, %d back, %v, want 10, no more, and silence", there, n, err)
		}
		p.Blackhole(false)
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadFull(c, got[n:]); err != nil || string(got) != "123456789012345" {
			t.Errorf("afterwards: got %q, %v", got, err)
		}
	})
	t.Run("a trickle", func(t *testing.T) {
		p := startProxy(t, startEcho(t).addr)
		c := connect(t, p.Addr)
		p.After(100, testnode.Trickle)
		ask(t, c, strings.Repeat("x", 100))
		if took := ask(t, c, strings.Repeat("y", 4<<10)); took < 150*time.Millisecond || took > 30*time.Second {
			t.Errorf("4 KiB took %v, want about %v", took, 4*time.Second/20)
		}
		p.Trickle(0)
		quick(t, "afterwards: 4 KiB", func() time.Duration { return ask(t, c, strings.Repeat("z", 4<<10)) }, 150*time.Millisecond)
	})
}

// A reset on one side arrives as a reset on the other; an end as an end.
func TestProxyPassesTheEndOn(t *testing.T) {
	e := startEcho(t)
	p := startProxy(t, e.addr)
	c := connect(t, p.Addr)
	ask(t, c, "x")
	_ = c.CloseWrite()
	if rest, err := io.ReadAll(c); len(rest) != 0 || err != nil {
		t.Errorf("after a half close: got %q, %v, want the end", rest, err)
	}
	c = connect(t, p.Addr)
	ask(t, c, "x")
	_ = c.SetLinger(0)
	_ = c.Close()
	for range 200 {
		if _, errs := e.received(); len(errs) == 1 {
			if !errors.Is(errs[0], syscall.ECONNRESET) {
				t.Errorf("the server got %v, want a reset", errs[0])
			}
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("the server heard nothing of the reset")
}

func TestProxyClose(t *testing.T) {
	e := startEcho(t)
	before := runtime.NumGoroutine()
	p, err := testnode.NewProxy(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, p.Addr)
	ask(t, c, "x")
	p.Blackhole(true)
	_, _ = io.WriteString(c, "held back")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	for i := 0; runtime.NumGoroutine() > before && i < 200; i++ {
		time.Sleep(5 * time.Millisecond) // the server's own
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines, %d before", now, before)
	}
	if p.Accepted() != 1 {
		t.Errorf("got %d connections, want 1", p.Accepted())
	}
}

// The node's key is on record for the proxy's port, too.
func TestThrough(t *testing.T) {
	n := start(t, testnode.Options{})
	p := startProxy(t, n.Addr)
	attrs, err := n.Through(p)
	if err != nil {
		t.Fatal(err)
	}
	if want := strconv.Itoa(p.Port); attrs["sshd.port"] != want {
		t.Errorf("sshd.port: got %q, want %q", attrs["sshd.port"], want)
	}
	if out, _, err := run(t, dial(t, n, p.Addr), "echo through"); out != "through\n" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
	if up, down := p.Passed(); up == 0 || down == 0 {
		t.Errorf("passed on: got %d, %d bytes", up, down)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
