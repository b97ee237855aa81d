package cli

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"example.org/conc/internal/testnode"
)

// display is what a terminal has shown so far.
type display struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *display) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *display) Len() int { return len(s.String()) }

func (s *display) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// Ctrl-C at a question ends the command, and leaves the terminal as it was.
func TestInterruptedAtAQuestion(t *testing.T) {
	for _, c := range []struct {
		name, list, asks string
		locked           bool // the operator's key has a passphrase
		args             []string
	}{
		{"a hold", "wait = local hold \"look at it\"\n", "HOLD", false, []string{"deploy", "web1"}},
		{"a step", "a = remote run true\n", "NEXT", false, []string{"deploy", "web1", "--step"}},
		{"a secret", "use = remote shell \"true %(word)s\"\n", "Secret", false, []string{"deploy", "web1"}},
		{"a passphrase for deploy", "a = remote run true\n", "assphrase", true, []string{"deploy", "web1"}},
		{"a passphrase for unlock", "a = remote run true\n", "assphrase", true, []string{"unlock", "web1", "--id", "AAAAAAAA"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOperator(t, inProcess(t, testnode.Options{}), c.list)
			o.write("deploy.ini", o.ini(c.list, map[string]string{"word": "secret:word"}))
			if c.locked {
				key := filepath.Join(o.home, ".ssh", filepath.Base(o.node.KeyFile))
				if out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", "", "-N", "opensesame", "-f", key).CombinedOutput(); err != nil {
					t.Skipf("no passphrase can be set: %v: %s", err, out)
				}
			}
			keyboard, terminal, err := pty.Open()
			if err != nil {
				t.Skip(err)
			}
			defer keyboard.Close()
			defer terminal.Close()
			before, err := term.GetState(int(terminal.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			cmd, _, _ := o.process(c.args...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
			shown := &display{}
			go func() { _, _ = io.Copy(shown, keyboard) }()
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // Ctty 0 is its standard input
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the question", func() bool { return strings.Contains(shown.String(), c.asks) })
			if _, err := keyboard.WriteString("\x03"); err != nil {
				t.Fatal(err)
			}
			defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != 130 {
				t.Errorf("got exit code %d, want 130\n%s", got, shown)
			}
			if after, err := term.GetState(int(terminal.Fd())); err != nil || *after != *before {
				t.Errorf("the terminal is not as it was: %v", err)
			}
		})
	}
}

// A question is on the terminal, wherever standard error goes.
func TestQuestionIsNotWrittenToAFile(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "wait = local hold \"look at it\"\n")
	keyboard, terminal, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	defer keyboard.Close()
	defer terminal.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "err"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd, _, _ := o.process("deploy", "web1")
	cmd.Stdin, cmd.Stderr = terminal, file
	shown := &display{}
	go func() { _, _ = io.Copy(shown, keyboard) }()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	eventually(t, "the question", func() bool { return strings.Contains(shown.String(), "HOLD  look at it") })
	if _, err := keyboard.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v, want exit code 0", err)
	}
	if text, err := os.ReadFile(file.Name()); err != nil || strings.Contains(string(text), "HOLD") {
		t.Errorf("standard error: got %q, %v, want no question in it", text, err)
	}
}
