package testnode_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"example.org/conc/internal/testnode"
)

// start starts a node that ends with the test.
func start(t *testing.T, o testnode.Options) *testnode.Node {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	n, err := testnode.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

// dial logs in as an operator would, with the node's key file and known_hosts.
func dial(t *testing.T, n *testnode.Node, addr string) *ssh.Client {
	t.Helper()
	text, err := os.ReadFile(n.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(n.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: n.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: check, Timeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// run runs a command line in a session of its own.
func run(t *testing.T, c *ssh.Client, command string) (stdout, stderr string, err error) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out, errOut bytes.Buffer
	s.Stdout, s.Stderr = &out, &errOut
	err = s.Run(command)
	return out.String(), errOut.String(), err
}

func TestFiles(t *testing.T) {
	n := start(t, testnode.Options{})
	f, err := sftp.NewClient(dial(t, n, n.Addr))
	if err != nil {
		t.Fatal(err)
	}
	if wd, err := f.Getwd(); err != nil || wd != n.Home {
		t.Errorf("working directory: got %q, %v, want %q", wd, err, n.Home)
	}
	for _, name := range []string{"new", "old"} {
		w, err := f.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, name); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.PosixRename("new", "old"); err != nil {
		t.Errorf("posix-rename: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(n.Home, "old")); err != nil || string(got) != "new" {
		t.Errorf("got %q, %v, want %q", got, err, "new")
	}
	if st, err := f.StatVFS("."); err != nil || st.FreeSpace() == 0 {
		t.Errorf("statvfs: got %v, %v, want some free space", st, err)
	}
	if _, err := f.Stat("/etc/passwd"); err != nil {
		t.Errorf("the machine's own files: %v", err)
	}
	// Two differences from OpenSSH, both pkg/sftp's: a plain RENAME replaces a
	// file, and there is no sync. Clients must cope with the latter anyway.
	if _, ok := f.HasExtension("fsync@openssh.com"); ok {
		t.Error("fsync@openssh.com is there now: say so where it is relied on")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	n, other := start(t, testnode.Options{}), start(t, testnode.Options{})
	try := func(user, keyFile string) error {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParsePrivateKey(text)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ssh.Dial("tcp", n.Addr, &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	if err := try(n.User, n.KeyFile); err != nil {
		t.Errorf("the operator: %v", err)
	}
	if err := try("root", n.KeyFile); err == nil {
		t.Error("the operator's key for another account: let in")
	}
	if err := try(n.User, other.KeyFile); err == nil {
		t.Error("another key: let in")
	}
	if host, _, _ := net.SplitHostPort(n.Addr); host != "127.0.0.1" {
		t.Errorf("listens on %s, want 127.0.0.1", host)
	}
}

func TestOptions(t *testing.T) {
	t.Run("rc", func(t *testing.T) {
		n := start(t, testnode.Options{RC: "echo welcome; echo careful >&2"})
		stdout, stderr, err := run(t, dial(t, n, n.Addr), "echo done")
		if stdout != "welcome\ndone\n" || stderr != "careful\n" || err != nil {
			t.Errorf("got %q, %q, %v", stdout, stderr, err)
		}
	})
	t.Run("internal sftp is not disturbed", func(t *testing.T) {
		n := start(t, testnode.Options{RC: "echo welcome"})
		f, err := sftp.NewClient(dial(t, n, n.Addr))
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	})
	t.Run("external sftp", func(t *testing.T) {
		n := start(t, testnode.Options{RC: "echo welcome", ExternalSFTP: true})
		s, err := dial(t, n, n.Addr).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		out, _ := s.StdoutPipe()
		if err := s.RequestSubsystem("sftp"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 8)
		if _, err := io.ReadFull(out, got); err != nil || string(got) != "welcome\n" {
			t.Errorf("got %q, %v, want the noise first", got, err)
		}
	})
	t.Run("no sftp", func(t *testing.T) {
		n := start(t, testnode.Options{NoSFTP: true})
		if _, err := sftp.NewClient(dial(t, n, n.Addr)); err == nil {
			t.Error("got a file channel")
		}
	})
	t.Run("sessions", func(t *testing.T) {
		n := start(t, testnode.Options{MaxSessions: 1})
		c := dial(t, n, n.Addr)
		first, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.NewSession(); err == nil {
			t.Error("a second session: got one, want a refusal")
		}
		_ = first.Close()
		second, err := c.NewSession()
		for i := 0; err != nil && i < 100; i++ {
			time.Sleep(5 * time.Millisecond)
			second, err = c.NewSession()
		}
		if err != nil {
			t.Errorf("after the first was closed: %v", err)
		} else {
			_ = second.Close()
		}
		if conns, sessions := n.Sessions(); conns != 1 || sessions != 2 {
			t.Errorf("got %d connections, %d sessions, want 1, 2", conns, sessions)
		}
	})
	t.Run("shell", func(t *testing.T) {
		shell := filepath.Join(t.TempDir(), "nologin")
		if err := os.WriteFile(shell, []byte("#!/bin/sh\necho no logins here\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		n := start(t, testnode.Options{Shell: shell})
		stdout, _, err := run(t, dial(t, n, n.Addr), "true")
		var exit *ssh.ExitError
		if stdout != "no logins here\n" || !errors.As(err, &exit) || exit.ExitStatus() != 1 {
			t.Errorf("got %q, %v", stdout, err)
		}
	})
	t.Run("forward", func(t *testing.T) {
		inner, jump := start(t, testnode.Options{}), start(t, testnode.Options{Forward: true})
		if _, err := dial(t, inner, inner.Addr).Dial("tcp", jump.Addr); err == nil {
			t.Error("a node without Forward passed a connection on")
		}
		c := dial(t, jump, jump.Addr)
		if conn, err := c.Dial("tcp", inner.Addr); err != nil {
			t.Error(err)
		} else {
			head := make([]byte, 4)
			if _, err := io.ReadFull(conn, head); err != nil || string(head) != "SSH-" {
				t.Errorf("got %q, %v", head, err)
			}
			_ = conn.Close()
		}
		if _, err := c.Dial("tcp", "192.0.2.1:22"); err == nil {
			t.Error("a connection to another host was passed on")
		}
	})
}

func TestEnd(t *testing.T) {
	t.Run("temporary directory", func(t *testing.T) {
		t.Setenv("TMPDIR", t.TempDir())
		n, err := testnode.Start(t.Context(), testnode.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		if err := n.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n, err := testnode.Start(ctx, testnode.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, n, n.Addr)
		cancel()
		if err := c.Wait(); err == nil {
			t.Error("the connection ended without an error")
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
}
