package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"example.org/conc/config"
	"example.org/conc/internal/sshconn"
	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
	"example.org/conc/jobs"
)

// overSSH is a Transport over a real connection.
type overSSH struct{ *sshconn.Conn }

func (o overSSH) Start(ctx context.Context, command string) (Proc, error) {
	p, err := o.Conn.Start(ctx, command)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (o overSSH) SFTP(ctx context.Context) (*sftp.Client, error) { return o.Conn.SFTP(ctx) }

// connect reaches a node, at port when that is not 0.
func connect(t *testing.T, n *testnode.Node, port int) overSSH {
	t.Helper()
	attrs := n.Attrs()
	if port != 0 {
		attrs["sshd.port"] = strconv.Itoa(port)
		attrs["sshd.hostkey"] = n.HostKey
	}
	o := sshconn.Options{Home: filepath.Dir(n.SSHDir), Getenv: func(string) string { return "" }}
	target, err := sshconn.Resolve(config.NewNode("web1", attrs), nil, o)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := sshconn.Dial(t.Context(), target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return overSSH{conn}
}

func startTestnode(t *testing.T, o testnode.Options) *testnode.Node {
	t.Helper()
	o.Dir = t.TempDir()
	n, err := testnode.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

const noisy = "echo Welcome to web1\necho 'disk 3% full' >&2\nprintf 'no newline'"

// The whole way, on each kind of node: copy, start, run, say goodbye.
func TestOverSSH(t *testing.T) {
	bash := "/bin/bash"
	for _, tc := range []struct {
		name  string
		start func(t *testing.T) *testnode.Node
	}{
		{"testnode", func(t *testing.T) *testnode.Node { return startTestnode(t, testnode.Options{RC: noisy}) }},
		{"testnode with one session", func(t *testing.T) *testnode.Node { return startTestnode(t, testnode.Options{MaxSessions: 1}) }},
		{"sshd", func(t *testing.T) *testnode.Node { return &sshdtest.Start(t, sshdtest.Options{}).Node }},
		{"sshd, noisy bash", func(t *testing.T) *testnode.Node {
			return &sshdtest.Start(t, sshdtest.Options{Shell: bash, RC: noisy, ExternalSFTP: true}).Node
		}},
		{"sshd, one session", func(t *testing.T) *testnode.Node {
			return &sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxSessions 1"}}).Node
		}},
		{"sshd, root", func(t *testing.T) *testnode.Node { return &sshdtest.Start(t, sshdtest.Options{Account: "root"}).Node }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := tc.start(t)
			conn := connect(t, n, 0)
			node, plan := plan(t, nil, "remote open_bundle", "remote run echo hello", "remote fail no", "remote close_bundle")
			for i := range 2 {
				c := dial(t, conn, options(t, node, plan))
				if c.Home() != n.Home {
					t.Errorf("home: got %s, want %s", c.Home(), n.Home)
				}
				sink := newHeard()
				if err := c.RunSteps(t.Context(), 1+i, 4, sink); err != nil {
					t.Fatal(err)
				}
				want := "begin 1, end 1 OK, begin 2, end 2 OK, begin 3, end 3 FAILED"[i*len("begin 1, end 1 OK, "):]
				if got := sink.text(); got != want || sink.out.String() != "hello\n" {
					t.Errorf("got %s and %q, want %s and hello", got, sink.out.String(), want)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What a node can have against a program is said.
func TestRefusedOverSSH(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    sshdtest.Options
		make func(n *sshdtest.Node) error
		want string
	}{
		{"noexec home", sshdtest.Options{NoExecHome: true}, nil, "is not permitted"},
		{"nologin", sshdtest.Options{Shell: "/usr/sbin/nologin"}, nil, "cannot execute on node"},
		{"full disk", sshdtest.Options{TinyFS: true}, func(n *sshdtest.Node) error {
			return os.Symlink("tiny", filepath.Join(n.Home, ".conc"))
		}, "no space left on device"},
		{"prints 10 MB", sshdtest.Options{Shell: "/bin/bash", RC: "head -c 10000000 /dev/zero | tr '\\0' x"}, nil, "prints too much"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := sshdtest.Start(t, tc.o)
			if tc.make != nil {
				if err := tc.make(n); err != nil {
					t.Fatal(err)
				}
			}
			node, _ := plan(t, nil)
			begun := time.Now()
			_, err := Start(t.Context(), connect(t, &n.Node, 0), options(t, node, nil))
			var start *StartError
			if !errors.As(err, &start) || !strings.Contains(err.Error(), tc.want) || start.Hint == "" {
				t.Errorf("got %v, want a StartError with %q and a hint", err, tc.want)
			}
			if d := time.Since(begun); d > 30*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

// The line is cut, or goes silent, in the middle of a step: the client knows
// soon, and the step goes on to its end.
func TestLineLost(t *testing.T) {
	for name, spoil := range map[string]func(p *testnode.Proxy){
		"cut":   func(p *testnode.Proxy) { _ = p.Close() },
		"black": func(p *testnode.Proxy) { p.Blackhole(true) },
	} {
		t.Run(name, func(t *testing.T) {
			n := startTestnode(t, testnode.Options{})
			proxy, err := testnode.NewProxy(n.Addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = proxy.Close() })
			node, plan := plan(t, nil, "remote open_bundle", "remote wait 1s done", "remote say never")
			o := options(t, node, plan)
			o.pulse = pulse{50 * time.Millisecond, 2 * time.Second}
			c := dial(t, connect(t, n, proxy.Port), o)
			sink := newHeard()
			over := make(chan error, 1)
			go func() { over <- c.RunSteps(t.Context(), 1, 3, sink) }()
			<-sink.begun
			<-sink.begun
			spoil(proxy)
			var lost *LostError
			select {
			case err := <-over:
				if !errors.As(err, &lost) || lost.Step != 2 {
					t.Errorf("got %v, want lost in step 2", err)
				}
			case <-time.After(time.Minute):
				t.Fatal("RunSteps still waits")
			}
			closed := time.Now()
			_ = c.Close()
			if d := time.Since(closed); d > 20*time.Second {
				t.Errorf("Close took %s", d)
			}
			soon(t, "the step's end", func() bool {
				return strings.Contains(readJournal(n.Home, runA), "begin 2, end 2 OK")
			})
			if !exists(n.Home, "done") || !exists(n.Home, "shop", "bundle") {
				t.Error("the step's effect, or the bundle, is not there")
			}
			proxy.Blackhole(false)
		})
	}
}

// Through a line with a delay, thirteen steps cost what one does.
func TestRoundTripsOverSSH(t *testing.T) {
	n := startTestnode(t, testnode.Options{})
	proxy, err := testnode.NewProxy(n.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	conn := connect(t, n, proxy.Port)
	const trip = 100 * time.Millisecond
	took := func(steps int) time.Duration {
		lines := make([]string, steps)
		for i := range lines {
			lines[i] = "remote say x"
		}
		node, plan := plan(t, nil, lines...)
		c := dial(t, conn, options(t, node, plan))
		defer c.Close()
		begun := time.Now()
		sink := newHeard()
		if err := c.RunSteps(t.Context(), 1, steps, sink); err != nil || sink.last().Status != jobs.OK {
			t.Fatal(err, sink.text())
		}
		return time.Since(begun)
	}
	took(1) // copies the program
	proxy.Delay(trip)
	// What else the machine does makes a run longer, never shorter.
	one, many := time.Hour, time.Hour
	for try := 0; try < 4 && (try == 0 || many-one > 3*trip/2); try++ {
		one, many = min(one, took(1)), min(many, took(13))
	}
	if many-one > 3*trip/2 {
		t.Errorf("13 steps took %s, and one %s: more than a round trip of %s apart", many, one, trip)
	}
}
