package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cmd is a command to run.
type Cmd struct {
	Args   []string  // argv; no shell is involved. A relative path with a slash starts at Env.Dir
	Dir    string    // "" is Env.Dir
	Env    []string  // KEY=value, beside those that the process has
	Unset  []string  // what of the process's environment it does not get: names, or prefixes "PIP_*"
	Stdin  io.Reader // nil is empty
	Stdout io.Writer // nil is Env.Out

	term time.Duration // from TERM to KILL; 0 is termGrace
}

// How long a process group has to end. Together they are less than the grace
// that Perform gives to an op.
const (
	termGrace = 10 * time.Second // from TERM to KILL
	killGrace = 2 * time.Second  // from KILL to giving up
	pipeGrace = time.Second      // for the output of a command that has ended
	leftGrace = leaveGrace / 4   // killGrace, once the operator has left
)

// Run runs a command in a process group of its own and waits for it. Standard
// error goes to Env.Out. A non-zero exit is FAILED with Error.Exit, death by a
// signal FAILED with Error.Signal; a command that cannot be started is ERROR.
// When ctx is done the group is sent TERM, 10 s later KILL, and looked for: an
// error that says it lives on is ERROR, otherwise it wraps ctx.Err(). KILL comes
// at once when Env.Leave is closed. A background process that keeps the pipes open does not hold Run up.
//
// The command sees the environment of this process, and CONC_NODE, CONC_RUN,
// CONC_STEP and CONC_BUNDLE.
func (e *Env) Run(ctx context.Context, c Cmd) error {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return Errorf("no command to run")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd, err := e.command(c)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return couldNotRun(cmd, err)
	}
	pid := cmd.Process.Pid
	exited := make(chan struct{})
	go func() {
		awaitExit(pid)
		close(exited)
	}()
	select {
	case <-exited:
		return outcome(cmd.Wait())
	case <-ctx.Done():
		select {
		case <-exited: // it was faster
			return outcome(cmd.Wait())
		default:
		}
	}
	// Until Wait reaps the leader, the group's number is not given to another.
	signal, left := endGroup(pid, exited, c.term, e.Leave)
	if len(left) > 0 {
		go func() { _ = cmd.Wait() }()
		return Errorf("%s: %w after KILL: pid %s", whyEnded(ctx), errAlive, join(left)).
			WithHint("look at it on that host: ps -o pid,stat,args -p %s", join(left))
	}
	_ = cmd.Wait()
	if strays := strays("CONC_NODE="+e.Node.Name(), "CONC_RUN="+e.Owner.Run, "CONC_STEP="+strconv.Itoa(e.Step)); len(strays) > 0 {
		return Errorf("%s: %w: pid %s has left the command's process group", whyEnded(ctx), errAlive, join(strays)).
			WithHint("look at it on that host: ps -o pid,stat,args -p %s", join(strays))
	}
	return cut(ctx, "ended by signal %s", signalName(signal))
}

// whyEnded says what ended a command whose ctx is done.
func whyEnded(ctx context.Context) string {
	if errors.Is(context.Cause(ctx), errLimit) {
		return errLimit.Error()
	}
	return "cancelled"
}

// command prepares c without starting it.
func (e *Env) command(c Cmd) (*exec.Cmd, error) {
	args := append([]string(nil), c.Args...)
	if strings.Contains(args[0], "/") || strings.HasPrefix(args[0], bundlePrefix) {
		args[0] = e.Path(args[0])
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = e.Dir
	if c.Dir != "" {
		cmd.Dir = c.Dir
	}
	if fi, err := os.Stat(cmd.Dir); cmd.Dir != "" && err != nil {
		return nil, Errorf("could not be run: %w", err)
	} else if cmd.Dir != "" && !fi.IsDir() {
		return nil, Errorf("could not be run: %s is not a directory", cmd.Dir)
	}
	cmd.Env = append(environ(c.Unset),
		"CONC_NODE="+e.Node.Name(), "CONC_RUN="+e.Owner.Run,
		"CONC_STEP="+strconv.Itoa(e.Step), "CONC_BUNDLE="+e.Bundle)
	cmd.Env = append(cmd.Env, c.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, e.Out, e.Out
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = pipeGrace
	return cmd, nil
}

// environ is this process's environment without what unset names.
func environ(unset []string) []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(unset, func(u string) bool {
			prefix, all := strings.CutSuffix(u, "*")
			return key == u || all && strings.HasPrefix(key, prefix)
		})
	})
}

func couldNotRun(cmd *exec.Cmd, err error) error {
	out := Errorf("could not be run: %w", err)
	_, stat := os.Stat(cmd.Path)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return out.WithHint("is it installed on that host, and in PATH?")
	case errors.Is(err, fs.ErrNotExist) && stat == nil:
		return out.WithHint("the program that its first line (#!) names is missing")
	case errors.Is(err, fs.ErrNotExist):
		return out.WithHint("is it there? ls -l %s", quote(cmd.Path))
	case errors.Is(err, fs.ErrPermission) && stat == nil:
		return out.WithHint("is it executable? ls -l %s", quote(cmd.Path))
	case errors.Is(err, syscall.ENOEXEC):
		return out.WithHint("it is neither a program for this machine nor a script with a #! line")
	}
	return out
}

// outcome reads what Wait says of a command that ended by itself.
func outcome(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case !errors.As(err, &exit):
		return Errorf("its outcome is not known: %w", err)
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return &Error{Status: Failed, Signal: int(ws.Signal()), Err: fmt.Errorf("signal %s", signalName(ws.Signal()))}
	}
	return &Error{Status: Failed, Exit: exit.ExitCode(), Err: fmt.Errorf("exit %d", exit.ExitCode())}
}

// signalName gives "9 (killed)".
func signalName(s syscall.Signal) string { return fmt.Sprintf("%d (%v)", int(s), s) }

// endGroup ends the process group whose leader is pid: TERM, and KILL to what
// is there after a while, or when leave is closed. It tells which signal ended it,
// and who lives on.
func endGroup(pid int, exited <-chan struct{}, term time.Duration, leave <-chan struct{}) (syscall.Signal, []int) {
	if term == 0 {
		term = termGrace
	}
	// An error here shows in who is left.
	_ = unix.Kill(-pid, unix.SIGTERM)
	_ = unix.Kill(-pid, unix.SIGCONT) // a stopped process gets its TERM only when it goes on
	if left := await(pid, exited, term, leave); len(left) == 0 {
		return unix.SIGTERM, nil
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	limit := killGrace
	select {
	case <-leave:
		limit = leftGrace
	default:
	}
	return unix.SIGKILL, await(pid, exited, limit, nil)
}

// await waits until nobody lives in the group, and tells who does when the
// time is over, or leave is closed.
func await(pid int, exited <-chan struct{}, limit time.Duration, leave <-chan struct{}) []int {
	end := time.Now().Add(limit)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		left := living(pid)
		if len(left) == 0 {
			select {
			case <-exited:
				return nil
			default: // it is about to be seen
			}
		}
		if time.Now().After(end) {
			if len(left) == 0 {
				left = []int{pid}
			}
			return left
		}
		select {
		case <-time.After(pause):
		case <-leave:
			end, leave = time.Time{}, nil // a last look
		}
	}
}

func join(pids []int) string {
	words := make([]string, len(pids))
	for i, p := range pids {
		words[i] = strconv.Itoa(p)
	}
	return strings.Join(words, ",")
}
