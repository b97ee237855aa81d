package jobs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   Op
		want Result
		out  string
	}{
		{"exit 0 with text on stderr", Shell{"echo oops >&2"}, Result{Status: OK}, "oops\n"},
		{"exit 3", Shell{"exit 3"}, Result{Status: Failed, Exit: 3, Message: "exit 3"}, ""},
		{"signal 9", Shell{"kill -9 $$"}, Result{Status: Failed, Signal: 9, Message: "signal 9 (killed)"}, ""},
		{"argv", Run{[]string{"printf", "%s|", "a b", "$HOME", "-n", ""}}, Result{Status: OK}, "a b|$HOME|-n||"},
		{"not found", Run{[]string{"no-such-program-here"}}, Result{Status: Errored, Message: `could not be run: exec: "no-such-program-here": executable file not found in $PATH`}, ""},
		{"relative", Run{[]string{"bin/hello"}}, Result{Status: OK}, "hello\n"},
		{"in the home", Run{[]string{"~/bin/hello"}}, Result{Status: OK}, "hello\n"},
		{"stdin is empty", Run{[]string{"cat"}}, Result{Status: OK}, ""},
		{"environment", Shell{`echo $CONC_NODE $CONC_RUN $CONC_STEP ${CONC_BUNDLE##*/}`}, Result{Status: OK}, "web1 " + testRun + " 4 b\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, out := testEnv(t, Remote)
			write(t, env.Home+"/bin/hello", "#!/bin/sh\necho hello\n", 0o755)
			r := Perform(t.Context(), stepOf(tt.op), env)
			if r.Status != tt.want.Status || r.Exit != tt.want.Exit || r.Signal != tt.want.Signal || r.Message != tt.want.Message || out.String() != tt.out {
				t.Errorf("got %+v, output %q; want %+v, %q", r, out, tt.want, tt.out)
			}
		})
	}
}

func TestRunSaysWhyNot(t *testing.T) {
	env, _ := testEnv(t, Remote)
	write(t, env.Home+"/plain", "#!/bin/sh\n", 0o644)
	write(t, env.Home+"/noterp", "#!/no/such/interpreter\n", 0o755)
	write(t, env.Home+"/garbage", "\x7fELFgarbage", 0o755)
	for prog, hint := range map[string]string{"./plain": "executable", "./noterp": "#!", "./garbage": "neither", "./missing": ""} {
		r := Perform(t.Context(), stepOf(Run{[]string{prog}}), env)
		if r.Status != Errored || !strings.HasPrefix(r.Message, "could not be run: ") || !strings.Contains(r.Hint, hint) {
			t.Errorf("%s: got %+v, want ERROR with a hint about %q", prog, r, hint)
		}
	}
	env.Dir = filepath.Join(env.Home, "gone")
	if r := Perform(t.Context(), stepOf(Run{[]string{"true"}}), env); r.Status != Errored || !strings.Contains(r.Message, "gone") {
		t.Errorf("got %+v, want ERROR that names the folder", r)
	}
}

// alive tells whether the process whose id is in file is there, and no zombie.
func alive(t *testing.T, file string) bool {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(data)) + "/stat")
	if err != nil {
		return false
	}
	rest := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
	return !strings.HasPrefix(rest, " Z")
}

func TestRunEndsTheWholeGroup(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks in /proc")
	}
	for _, tt := range []struct {
		name, line string
		want       string
	}{
		{"heeds TERM", "sleep 60 & echo $! > child; wait", "ended by signal 15 (terminated)"},
		{"ignores TERM", "trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & echo $! > child; while :; do sleep 0.1; done", "ended by signal 9 (killed)"},
		{"its leader is gone, its child not", "(trap '' TERM; while :; do sleep 0.1; done) & echo $! > child; sleep 60", "ended by signal 9 (killed)"},
		{"stopped", "sh -c 'echo $$ > child; kill -STOP $$' & sleep 60", "ended by signal 15 (terminated)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, _ := testEnv(t, Remote)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			child := filepath.Join(env.Home, "child")
			go func() {
				for ctx.Err() == nil {
					if data, err := os.ReadFile(child); err == nil && strings.HasSuffix(string(data), "\n") {
						time.Sleep(50 * time.Millisecond) // for its trap
						cancel()
					}
					time.Sleep(5 * time.Millisecond)
				}
			}()
			op := OpFunc(func(ctx context.Context, e *Env) error {
				return e.Run(ctx, Cmd{Args: []string{"/bin/sh", "-c", tt.line}, term: 300 * time.Millisecond})
			})
			r := Perform(ctx, stepOf(op), env)
			if r.Status != Stopped || r.Message != "cancelled: "+tt.want {
				t.Errorf("got %s %q, want STOPPED %q", r.Status, r.Message, tt.want)
			}
			if alive(t, child) {
				t.Error("the child lives on")
			}
		})
	}
}

// Whoever leaves the group is out of reach, and then nothing is confirmed dead.
func TestRunTellsOfWhatLeftTheGroup(t *testing.T) {
	setsid, err := exec.LookPath("setsid")
	if runtime.GOOS != "linux" || err != nil {
		t.Skip("needs setsid, and looks in /proc")
	}
	env, _ := testEnv(t, Remote)
	env.Owner.Run = "01M7Z5TK32J6YP0QF1T4FN9X6X"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	child := filepath.Join(env.Home, "child")
	go func() {
		for ctx.Err() == nil {
			if data, err := os.ReadFile(child); err == nil && strings.HasSuffix(string(data), "\n") {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	r := Perform(ctx, stepOf(Shell{Line: setsid + " sh -c 'echo $$ >child; exec sleep 60' & sleep 60"}), env)
	data, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != Errored || !strings.Contains(r.Message, "cancelled: not confirmed dead: pid "+strconv.Itoa(pid)+" has left") {
		t.Errorf("got %s %q, want ERROR that names pid %d", r.Status, r.Message, pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestRunDoesNotWaitForADaemon(t *testing.T) {
	env, out := testEnv(t, Remote)
	start := time.Now()
	r := Perform(t.Context(), stepOf(Shell{"echo started; sleep 30 & echo $! > child"}), env)
	if took := time.Since(start); r.Status != OK || took > 10*time.Second || out.String() != "started\n" {
		t.Errorf("got %+v, %q after %v; want OK at once", r, out, took)
	}
	data, err := os.ReadFile(env.Home + "/child")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		_ = p.Kill()
	}
}

func TestRunTakesAnyAmountOfOutput(t *testing.T) {
	env, _ := testEnv(t, Remote)
	env.Out = nil
	r := Perform(t.Context(), stepOf(Shell{"head -c 50000000 /dev/zero; echo; echo end"}), env)
	if r.Status != OK || r.Bytes != 50000005 || r.Lines != 2 || r.Tail[1] != "end" || len(r.Tail[0]) != 1000 {
		t.Errorf("got %s, %d bytes, %d lines; want OK, 50000005, 2", r.Status, r.Bytes, r.Lines)
	}
}

// write makes a file, and the folders that it is in.
func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
