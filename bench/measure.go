package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// measureKey is in the environment of a second process of this program, which
// runs one command and tells what it took. It is small, and has no other
// children: what the kernel tells about its children is about the command. Its
// value is the limit.
const measureKey = "CONC_BENCH_MEASURE"

// taken is what a command took on the workstation.
type taken struct {
	Wall   time.Duration
	CPU    time.Duration // of all its processes, those that it left too
	Memory int64         // the peak of the largest of its processes, in bytes
	Exit   int           // -1: over the limit, or not to be started
	Why    string        // of an Exit that is not 0, when the command does not say
}

// measure runs a command, for at most limit, with its output in a file.
func measure(ctx context.Context, argv, env []string, dir, output string, limit time.Duration) (taken, error) {
	self, err := os.Executable()
	if err != nil {
		return taken{}, err
	}
	out, err := os.Create(output)
	if err != nil {
		return taken{}, err
	}
	defer out.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return taken{}, err
	}
	defer reader.Close()
	cmd := exec.CommandContext(ctx, self, argv...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append([]string{measureKey + "=" + limit.String()}, env...)
	cmd.ExtraFiles = []*os.File{writer}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	err = cmd.Start()
	_ = writer.Close()
	if err != nil {
		return taken{}, err
	}
	var t taken
	told := json.NewDecoder(reader).Decode(&t)
	if err := cmd.Wait(); err != nil {
		return t, err
	}
	return t, told
}

// measureMain is the second process. What it has to tell goes to descriptor 3.
func measureMain(argv []string) int {
	limit, err := time.ParseDuration(os.Getenv(measureKey))
	if err != nil || len(argv) == 0 {
		fmt.Fprintln(os.Stderr, "bench: this process was not started by bench")
		return 2
	}
	_ = os.Unsetenv(measureKey)
	adopt()
	tell := os.NewFile(3, "tell")
	syscall.CloseOnExec(3)
	// Told to end, it ends the command, too.
	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(told, limit)
	defer cancel()

	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var t taken
	start := time.Now()
	err = cmd.Run()
	t.Wall = time.Since(start)
	switch exit, ended := errors.AsType[*exec.ExitError](err); {
	case ctx.Err() != nil:
		t.Exit, t.Why = -1, "over "+limit.String()
	case ended:
		t.Exit = exit.ExitCode()
	case err != nil:
		t.Exit, t.Why = -1, err.Error()
	}
	endOrphans()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used); err == nil {
		t.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
		t.Memory = used.Maxrss
		if runtime.GOOS != "darwin" {
			t.Memory <<= 10
		}
	}
	if err := json.NewEncoder(tell).Encode(t); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// endOrphans ends what the command left, such as the master of a connection that
// ssh shares, and waits for it, so that what it took is counted.
func endOrphans() {
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		left := children()
		if len(left) == 0 {
			return
		}
		signal := syscall.SIGTERM
		if time.Since(start) > 3*time.Second {
			signal = syscall.SIGKILL
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, signal)
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
		if time.Since(start) > 6*time.Second {
			fmt.Fprintln(os.Stderr, "bench: these do not end:", strings.Trim(fmt.Sprint(left), "[]"), "of", strconv.Itoa(os.Getpid()))
			return
		}
	}
}
