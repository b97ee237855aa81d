package sshconn

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// startPeer serves something that is no SSH server.
func startPeer(t *testing.T, serve func(net.Conn)) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

// swallow reads until the other side goes.
func swallow(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// anyone is a target with a key, to be pointed at a peer.
func anyone(t *testing.T) operator {
	t.Helper()
	home := t.TempDir()
	path := filepath.Join(home, ".ssh", "id_ed25519-test")
	keyPair(t, path, "", nil)
	return operator{
		t: Target{Node: "web1", User: "deploy", Host: "127.0.0.1", OpKey: "test", Files: []string{path}, Known: []string{filepath.Join(home, "known_hosts")}},
		o: Options{Home: home, Getenv: func(string) string { return "" }, Connect: 2 * time.Second, Retry: 300 * time.Millisecond},
	}
}

func TestOddPeers(t *testing.T) {
	for name, tc := range map[string]struct {
		serve func(net.Conn)
		words []string
	}{
		"HTTP": {func(c net.Conn) {
			_, _ = c.Read(make([]byte, 100))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nServer: \x1b]52;c;eA==\x07\r\n\r\n")
		}, []string{`the peer says "HTTP/1.1 400 Bad Request\r\n`, `\x1b]52`, "not an SSH server"}},
		"HTTP that stays": {func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n")
			swallow(c)
		}, []string{`the peer says "HTTP/1.1`}},
		"a flood": {func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, strings.Repeat("x\x1b[2J", 1000)); err != nil {
					return
				}
			}
		}, []string{`not an SSH server`}},
		"nothing":  {swallow, []string{"says nothing"}},
		"hangs up": {func(net.Conn) {}, []string{"closed the connection at once", "MaxStartups"}},
		"turned away": {func(c net.Conn) {
			_, _ = io.WriteString(c, "Exceeded MaxStartups\r\n")
			time.Sleep(10 * time.Millisecond)
		}, []string{"Exceeded MaxStartups"}},
		"SSH and no more": {func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); swallow(c) }, []string{"within 2s", "timeout.connect"}},
		"SSH of another kind": {func(c net.Conn) {
			_, _ = io.WriteString(c, "SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x15 \x1b[2J     \x00\x00")
			swallow(c)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := anyone(t)
			op.t.Port = startPeer(t, tc.serve)
			start := time.Now()
			op.wantRefusal(t, Unreachable, tc.words...)
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("took %v, want about a limit of 2s", d)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	op := anyone(t)
	op.t.Port = closedPort(t)
	start := time.Now()
	op.wantRefusal(t, Unreachable, "connection refused")
	if d := time.Since(start); d > op.o.Connect {
		t.Errorf("took %v, want it before the limit", d)
	}
	op.t.Host, op.t.Port = "::1", closedPort(t)
	op.wantRefusal(t, Unreachable, "deploy@[::1]:")
	op.t.Host = "no-such-host.invalid"
	op.wantRefusal(t, Unreachable, "no-such-host.invalid")
}

func TestRefusedDialsAreTriedAgain(t *testing.T) {
	t.Parallel()
	op := startNode(t, testnode.Options{})
	refusals := 3
	var mu sync.Mutex
	port := startPeer(t, func(c net.Conn) {
		mu.Lock()
		refuse := refusals > 0
		refusals--
		mu.Unlock()
		if refuse {
			_ = c.(*net.TCPConn).SetLinger(0) // a reset
			return
		}
		to, err := net.Dial("tcp", op.node.Addr)
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(to, c); _ = to.Close() }()
		_, _ = io.Copy(c, to)
	})
	op.t.Port, op.t.HostKey = port, op.node.HostKey
	c := op.dial(t)
	mu.Lock()
	defer mu.Unlock()
	if got := refusals; got != -1 {
		t.Errorf("got %d refusals left, want none and one connection", got)
	}
	_ = c.Close()
}

func TestTimeAtAPromptIsNotCounted(t *testing.T) {
	t.Parallel()
	op := startNode(t, testnode.Options{})
	op.o.Home = t.TempDir()
	path := filepath.Join(op.o.Home, ".ssh", "id_ed25519-test")
	keyPair(t, path, "secret", op.operatorKey(t))
	op.t.Files = []string{path}
	op.o.Connect = 2500 * time.Millisecond
	op.o.silence = 2 * time.Second
	op.o.Prompt = func(ctx context.Context, _ string) (string, error) {
		time.Sleep(op.o.Connect)
		return "secret", ctx.Err()
	}
	if out, err := run(op.dial(t), "echo in"); err != nil || out != "in\n" {
		t.Errorf("got %q, %v, want in", out, err)
	}
}

func TestPromptThatIsLeft(t *testing.T) {
	op := startNode(t, testnode.Options{})
	op.o.Home = t.TempDir()
	path := filepath.Join(op.o.Home, ".ssh", "id_ed25519-test")
	keyPair(t, path, "secret", op.operatorKey(t))
	op.t.Files = []string{path}
	op.o.Prompt = func(context.Context, string) (string, error) { return "", io.EOF }
	op.wantRefusal(t, NoAuth, path, "EOF")
	ctx, cancel := context.WithCancel(context.Background())
	op.o.Prompt = func(ctx context.Context, _ string) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}
	if _, err := Dial(ctx, op.t, op.o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context canceled", err)
	}
}

func TestKeyFilesThatCannotBeUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, path string)
		words []string
	}{
		"missing": {
			func(t *testing.T, path string) { remove(t, path, path+".pub") },
			[]string{"no key file", "id_*-test", "ssh-keygen -t ed25519 -f"},
		},
		"only its public half": {
			func(t *testing.T, path string) { remove(t, path) },
			[]string{"only its public half", "ssh-add"},
		},
		"a public key": {func(t *testing.T, path string) {
			data, err := os.ReadFile(path + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, string(data))
		}, []string{"is a public key", "put the private key there"}},
		"mode 0644": {func(t *testing.T, path string) {
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"mode 0644 is too open", "chmod 600 "}},
		"garbage": {
			func(t *testing.T, path string) { write(t, path, "garbage\x1b[2J") },
			[]string{"not a private key"},
		},
		"a FIFO": {func(t *testing.T, path string) {
			remove(t, path)
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a regular file"}},
		"a directory": {func(t *testing.T, path string) {
			remove(t, path)
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a regular file"}},
	} {
		t.Run(name, func(t *testing.T) {
			op := anyone(t)
			// Nothing is dialled: there is nobody there.
			op.t.Port = closedPort(t)
			path := op.t.Files[0]
			tc.spoil(t, path)
			op.t.Files = opKeyFiles(op.o.Home, "test")
			op.wantRefusal(t, NoAuth, tc.words...)
		})
	}
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestIPv6Literal(t *testing.T) {
	op := startNode(t, testnode.Options{})
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		to, err := net.Dial("tcp", op.node.Addr)
		if err != nil {
			return
		}
		wg.Go(func() { _, _ = io.Copy(to, c); _ = to.Close() })
		_, _ = io.Copy(c, to)
	})
	defer wg.Wait()
	defer l.Close()
	text, err := os.ReadFile(op.node.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	op.t.Host, op.t.Port = "::1", l.Addr().(*net.TCPAddr).Port
	_, key, _ := strings.Cut(string(text), " ")
	write(t, op.t.Known[0], "[::1]:"+strconv.Itoa(op.t.Port)+" "+key)
	c, err := Dial(context.Background(), op.t, op.o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if out, err := run(c, "echo in"); err != nil || out != "in\n" {
		t.Errorf("got %q, %v, want in", out, err)
	}
}
