package sshconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// operator is a workstation that can log in to a testnode.
type operator struct {
	node *testnode.Node
	t    Target
	o    Options
}

// startNode gives a node and the operator who may log in to it with op_key test.
func startNode(t *testing.T, no testnode.Options) operator {
	t.Helper()
	no.Dir = t.TempDir()
	n, err := testnode.Start(context.Background(), no)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	home := filepath.Dir(n.SSHDir)
	if filepath.Base(n.SSHDir) != ".ssh" {
		home = t.TempDir()
		if err := os.Symlink(n.SSHDir, filepath.Join(home, ".ssh")); err != nil {
			t.Fatal(err)
		}
	}
	return operator{
		node: n,
		t: Target{
			Node: "web1", User: n.User, Host: n.Host, Port: n.Port, OpKey: "test",
			Files: opKeyFiles(home, "test"), Known: []string{n.KnownHosts},
		},
		o: Options{Home: home, Getenv: func(string) string { return "" }},
	}
}

func (op operator) dial(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial(context.Background(), op.t, op.o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// run gives a command's output.
func run(c *Conn, command string) (string, error) {
	p, err := c.Start(context.Background(), command)
	if err != nil {
		return "", err
	}
	defer p.Close()
	done := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, p.Stderr()); close(done) }()
	out, _ := io.ReadAll(p.Stdout())
	<-done
	return string(out), p.Wait()
}

// wantError checks what a refusal says.
func wantError(t *testing.T, err error, kind Kind, words ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	if e.Kind != kind {
		t.Errorf("got kind %d, want %d: %v", e.Kind, kind, err)
	}
	text := e.Error() + "\n" + e.Hint
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("got %q, want %q in it", text, w)
		}
	}
	for _, b := range []byte(text) {
		if b < ' ' && b != '\n' {
			t.Errorf("got %q, want no control bytes", text)
			break
		}
	}
}

func TestStartAndSFTP(t *testing.T) {
	t.Parallel()
	for name, no := range map[string]testnode.Options{
		"plain":             {},
		"one session":       {MaxSessions: 1},
		"noisy, external":   {RC: "echo welcome; echo to the machine >&2; echo today", ExternalSFTP: true},
		"noisy, one at all": {RC: "echo welcome", ExternalSFTP: true, MaxSessions: 1},
	} {
		t.Run(name, func(t *testing.T) {
			op := startNode(t, no)
			c := op.dial(t)
			ctx := context.Background()
			p, err := c.Start(ctx, "cat; exit 3")
			if err != nil {
				t.Fatal(err)
			}
			files, err := c.SFTP(ctx)
			if err != nil {
				t.Fatal(err)
			}
			data := bytes.Repeat([]byte("conc"), 1<<18)
			f, err := files.Create(filepath.Join(op.node.Home, "x"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if err := files.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(op.node.Home, "x")); err != nil || !bytes.Equal(got, data) {
				t.Errorf("got %d bytes, %v, want the %d that were sent", len(got), err, len(data))
			}
			go func() {
				_, _ = io.WriteString(p.Stdin(), "hello")
				_ = p.Stdin().Close()
			}()
			go func() { _, _ = io.Copy(io.Discard, p.Stderr()) }()
			out, err := io.ReadAll(p.Stdout())
			if err != nil || !strings.HasSuffix(string(out), "hello") {
				t.Errorf("got %q, %v, want hello", out, err)
			}
			var exit *ExitError
			if err := p.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
				t.Errorf("got %v, want exit 3", err)
			}
			want := 1
			if no.MaxSessions == 1 {
				want = 2
			}
			if got, _ := op.node.Sessions(); got != want {
				t.Errorf("got %d connections, want %d", got, want)
			}
		})
	}
}

// A fleet's connections have few file channels each, and one always.
func TestFileChannelsAreFew(t *testing.T) {
	t.Parallel()
	op := startNode(t, testnode.Options{})
	op.o.Ways = 2
	c := op.dial(t)
	ctx := context.Background()
	c.Warm(5)
	first, err := c.SFTP(ctx)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Spare(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if third, err := c.Spare(ctx); err == nil {
		_ = third.Close()
		t.Error("got a third file channel, want two at most")
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := c.Spare(ctx)
	if err != nil {
		t.Fatalf("after one was closed: %v", err)
	}
	beyond, err := c.SFTP(ctx) // whoever cannot do without has it
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []io.Closer{first, again, beyond} {
		_ = client.Close()
	}
}

func TestNoSFTP(t *testing.T) {
	c := startNode(t, testnode.Options{NoSFTP: true}).dial(t)
	_, err := c.SFTP(context.Background())
	wantError(t, err, NoAuth, "no SFTP", "Subsystem sftp")
	if out, err := run(c, "echo still here"); err != nil || out != "still here\n" {
		t.Errorf("got %q, %v, want a connection that goes on", out, err)
	}
}

func TestNoiseWithoutEnd(t *testing.T) {
	t.Parallel()
	op := startNode(t, testnode.Options{RC: "yes '\033[2Jnoise' | head -c 10000000", ExternalSFTP: true})
	start := time.Now()
	_, err := op.dial(t).SFTP(context.Background())
	wantError(t, err, NoAuth, "prints too much", `\x1b[2Jnoise`)
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestSilentPeerIsLost(t *testing.T) {
	t.Parallel()
	op := startNode(t, testnode.Options{})
	proxy, err := testnode.NewProxy(op.node.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	op.t.Port, op.t.HostKey = proxy.Port, op.node.HostKey
	op.o.beat, op.o.silence = 50*time.Millisecond, 1500*time.Millisecond
	c := op.dial(t)
	p, err := c.Start(context.Background(), "sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * op.o.silence) // keepalives hold an idle connection
	if err := c.Err(); err != nil {
		t.Fatalf("got %v on an idle connection, want it up", err)
	}
	proxy.Blackhole(true)
	start := time.Now()
	wantError(t, p.Wait(), Lost, "nothing was heard for 1.5s")
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v, want about 1.5s", d)
	}
	<-c.Done()
	wantError(t, c.Err(), Lost)
	_, err = c.Start(context.Background(), "true")
	wantError(t, err, Lost)
	_, err = c.SFTP(context.Background())
	wantError(t, err, Lost)
}

func TestResetIsLost(t *testing.T) {
	op := startNode(t, testnode.Options{})
	proxy, err := testnode.NewProxy(op.node.Addr)
	if err != nil {
		t.Fatal(err)
	}
	op.t.Port, op.t.HostKey = proxy.Port, op.node.HostKey
	c := op.dial(t)
	p, err := c.Start(context.Background(), "sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	_ = proxy.Close()
	wantError(t, p.Wait(), Lost, "connection lost")
}

func TestCancelledStart(t *testing.T) {
	op := startNode(t, testnode.Options{})
	c := op.dial(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Start(ctx, "true"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context canceled", err)
	}
	if _, err := Dial(ctx, op.t, op.o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context canceled", err)
	}
}

func TestCloseLeavesNoGoroutines(t *testing.T) {
	op := startNode(t, testnode.Options{MaxSessions: 1, Forward: true})
	hop := op.t
	op.t.Jump = []Target{hop}
	before := runtime.NumGoroutine()
	c, err := Dial(context.Background(), op.t, op.o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SFTP(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(context.Background(), "cat"); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Err(); err != nil {
		t.Errorf("got %v after Close, want nil", err)
	}
	// The server's and the library's own end a moment later.
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("got %d goroutines, want %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}
