package cli

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"example.org/conc/internal/testnode"
)

// Under nohup, a deploy outlives the terminal.
func TestHangUpUnderNohup(t *testing.T) {
	t.Parallel()
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Skip(err)
	}
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), "work = local "+waits(mark)+"\nlast = remote run touch last\n")
	cmd, out, errs := o.process("deploy", "web1")
	named := filepath.Join(t.TempDir(), "conc")
	if err := os.Symlink(cmd.Path, named); err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args = nohup, append([]string{"nohup", named}, cmd.Args[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the step runs", func() bool { return is(mark, "started") })
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	put(t, mark, "go")
	if err := cmd.Wait(); err != nil || !o.there("last") {
		t.Errorf("got %v, want it to go on\n%s%s", err, out, errs)
	}
}

// A terminal window that is closed stops a deploy after its step, in order.
func TestTerminalThatIsClosed(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\nwork = remote "+waits(mark)+"\nlast = remote run touch last\n")
	keyboard, terminal, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	caught := make(chan os.Signal, 1) // whoever runs the tests under nohup has it ignored, and so would what they start
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	cmd, _, _ := o.process("deploy", "web1", "-v")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = terminal.Close()
	eventually(t, "the step runs", func() bool { return is(mark, "started") })
	if err := keyboard.Close(); err != nil { // the kernel sends HUP, and writes fail from now on
		t.Fatal(err)
	}
	time.Sleep(time.Second) // there is nothing to see of it, with the terminal gone
	put(t, mark, "go")
	defer time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("got exit code %d, want 130", got)
	}
	logs, _ := filepath.Glob(filepath.Join(o.home, "state", "conc", "runs", "*", "log.jsonl"))
	if len(logs) != 1 || o.there("last") {
		t.Errorf("got logs %v, want one; the last step was run: %v", logs, o.there("last"))
	}
	if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "2/3  work  remote  OK") || !strings.Contains(r.out, "--from 3") {
		t.Errorf("got\n%s", r)
	}
}
