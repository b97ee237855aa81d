package testnode_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/conc/internal/testnode"
)

func TestCommands(t *testing.T) {
	n := start(t, testnode.Options{User: "ada", Env: []string{"EXTRA=x y"}})
	c := dial(t, n, n.Addr)
	for _, tt := range []struct {
		name, command, stdout, stderr string
		code                          int
		signal                        string
	}{
		{name: "streams", command: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"},
		{name: "status", command: "exit 3", code: 3},
		{name: "signal", command: "kill -TERM $$", signal: "TERM"},
		{name: "missing", command: "/no/such/program", code: 127},
		{name: "directory", command: "pwd", stdout: n.Home + "\n"},
		{name: "home", command: "echo ~", stdout: n.Home + "\n"},
		{name: "user", command: "echo $USER $LOGNAME", stdout: "ada ada\n"},
		{name: "shell", command: "echo $0 $SHELL", stdout: "sh /bin/sh\n"},
		{name: "environment", command: "echo $EXTRA", stdout: "x y\n"},
		{name: "nothing of ours", command: "echo $GOFLAGS$TMPDIR$SSH_AUTH_SOCK$LANG", stdout: "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, err := run(t, c, tt.command)
			if stdout != tt.stdout {
				t.Errorf("stdout: got %q, want %q", stdout, tt.stdout)
			}
			if tt.stderr != "" && stderr != tt.stderr {
				t.Errorf("stderr: got %q, want %q", stderr, tt.stderr)
			}
			var exit *ssh.ExitError
			code, signal := 0, ""
			if errors.As(err, &exit) {
				code, signal = exit.ExitStatus(), exit.Signal()
			} else if err != nil {
				t.Fatal(err)
			}
			if tt.signal != "" {
				code = 0 // x/crypto makes 128+n of it
			}
			if code != tt.code || signal != tt.signal {
				t.Errorf("got exit %d signal %q, want %d %q", code, signal, tt.code, tt.signal)
			}
		})
	}
}

func TestStandardInput(t *testing.T) {
	n := start(t, testnode.Options{})
	s, err := dial(t, n, n.Addr).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB, more than a window
	s.Stdin = strings.NewReader(text)
	out, err := s.Output("cat")
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != text {
		t.Errorf("got %d bytes back, want the %d that were sent", len(out), len(text))
	}
}

// A program outlives its session, as it does with an sshd, and ends with the node.
func TestProcesses(t *testing.T) {
	n := start(t, testnode.Options{})
	c := dial(t, n, n.Addr)
	_, _, err := run(t, c, `
		(setsid sh -c 'echo $$ >daemon; exec sleep 100' >/dev/null 2>&1 </dev/null &)
		while ! test -s daemon; do sleep 0.01; done`)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("echo $$ >left; exec sleep 100"); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, name := range []string{"daemon", "left"} {
		pids = append(pids, readPID(t, filepath.Join(n.Home, name)))
	}
	_ = s.Close()
	_ = c.Close()
	time.Sleep(50 * time.Millisecond)
	for _, pid := range pids {
		if !alive(pid) {
			t.Errorf("process %d ended with its session", pid)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d outlived the node", pid)
		}
	}
}

// A person who looks around with ssh gets a terminal.
func TestTerminal(t *testing.T) {
	n := start(t, testnode.Options{})
	s, err := dial(t, n, n.Addr).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 33, 77, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	in, _ := s.StdinPipe()
	out, _ := s.StdoutPipe()
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	if err := s.WindowChange(34, 78); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "stty size; echo $TERM; tty; exit 5\n"); err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(out)
	for _, want := range []string{"34 78\r\n", "xterm\r\n", "/dev/"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got %q, want %q in it", text, want)
		}
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 5 {
		t.Errorf("got %v, want exit status 5", err)
	}
}

// readPID waits for a program to write its number.
func readPID(t *testing.T, file string) int {
	t.Helper()
	for range 500 {
		var pid int
		for _, r := range readAll(file) {
			if r < '0' || r > '9' {
				return pid
			}
			pid = pid*10 + int(r-'0')
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: no process number", file)
	return 0
}

func readAll(file string) []byte {
	text, _ := os.ReadFile(file)
	return text
}

// alive tells whether a process runs; one that only waits to be reaped does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !bytes.Contains(stat, []byte(") Z "))
}
