package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// waits is a shell step that says that it runs, and waits for a sign: all
// of it files in dir.
func waits(dir string) string {
	return fmt.Sprintf(`shell "echo $PPID >%[1]s/agent; touch %[1]s/started; while [ ! -e %[1]s/go ]; do sleep 0.02; done; touch %[1]s/done"`, dir)
}

func put(t testing.TB, elem ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(elem...), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func is(elem ...string) bool {
	_, err := os.Lstat(filepath.Join(elem...))
	return err == nil
}

func pidIn(t testing.TB, elem ...string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// stepOf gives the last JSON line about a step's end.
func stepOf(t testing.TB, r ran, n float64) map[string]any {
	t.Helper()
	var found map[string]any
	for _, e := range events(t, r.out) {
		if e["type"] == "step" && e["step"] == n {
			found = e
		}
	}
	return found
}

// The agent was asked for a stretch, and the line went before it was heard to
// begin: that is no step that was not started.
func TestStepThatMayHaveBegunIsInDoubt(t *testing.T) {
	mark := t.TempDir()
	list := "here = local " + waits(mark) + "\nwork = remote run true\nmore = remote run true\n"
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	p := o.behind(list, lineStaysDown)
	done := make(chan ran)
	go func() { done <- o.run("deploy", "web1", "--json") }()
	eventually(t, "the local step runs", func() bool { return is(mark, "started") })
	p.CutAfterDown(1)
	put(t, mark, "go")
	r := <-done
	work := stepOf(t, r, 2)
	if r.code != 6 || work["status"] != "ERROR" || !strings.Contains(fmt.Sprint(work["message"]), "in doubt") {
		t.Errorf("got exit code %d, step 2 %v; want 6, and ERROR in doubt\n%s", r.code, work, r)
	}
	if more := stepOf(t, r, 3); more != nil {
		t.Errorf("got a result of step 3: %v", more)
	}
}

// A bundle that is left on the workstation is found before the node's is taken.
func TestLeftOverLocalBundle(t *testing.T) {
	list := "build = local run true\nopen = remote open_bundle\nstage = local open_bundle\nbad = remote run false\n"
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	o.want(1, "deploy", "web1")
	// Somebody unlocks the node from another workstation.
	if err := os.RemoveAll(filepath.Join(o.node.Home, o.node.Attrs()["bundle"])); err != nil {
		t.Fatal(err)
	}
	r := o.want(3, "deploy", "web1", "--lock-wait", "1s")
	if o.bundle() {
		t.Fatal("the node's lock was taken by a deploy that could not go on")
	}
	if !strings.Contains(r.out, "on this workstation") {
		t.Errorf("the screen does not say which bundle is in the way:\n%s", r)
	}
	_, id, ok := strings.Cut(r.out, "unlock web1 --id ")
	if !ok {
		t.Fatalf("the screen does not say how to unlock:\n%s", r)
	}
	id = strings.ToLower(id[:8])

	t.Run("while another run holds the node", func(t *testing.T) {
		other := *o
		other.env.StateDir = t.TempDir()
		other.t = t
		other.want(1, "deploy", "web1")
		if r := o.want(0, "unlock", "web1", "--id", id, "-y"); !o.bundle() {
			t.Errorf("the other run's bundle was moved\n%s", r)
		}
		o.want(3, "unlock", "web1", "--id", id, "-y") // not the node's, and not here any more
	})
}

// Two deploys from one workstation: the second waits for both bundles.
func TestDeployWaitsForTheLocalBundle(t *testing.T) {
	mark := t.TempDir()
	list := "open = remote open_bundle\nstage = local open_bundle\nclose = remote close_bundle\nwork = local " +
		waits(mark) + "\nunstage = local close_bundle\n"
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	first, second := make(chan ran), make(chan ran)
	go func() { first <- o.run("deploy", "web1") }()
	eventually(t, "the first is almost done", func() bool { return is(mark, "started") })
	o.want(3, "deploy", "web1")
	go func() { second <- o.run("deploy", "web1", "--lock-wait", "1m") }()
	time.Sleep(300 * time.Millisecond)
	put(t, mark, "go")
	if r := <-first; r.code != 0 {
		t.Errorf("the first: got exit code %d\n%s", r.code, r)
	}
	if r := <-second; r.code != 0 {
		t.Errorf("the second: got exit code %d\n%s", r.code, r)
	}
}

// An agent that is killed in a step leaves it in doubt, and that is said at once.
func TestAgentThatIsKilled(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\nwork = remote "+waits(mark)+"\nlater = remote run true\n")
	done := make(chan ran)
	go func() { done <- o.run("deploy", "web1", "--json") }()
	eventually(t, "the step runs", func() bool { return is(mark, "agent") && is(mark, "started") })
	time.Sleep(200 * time.Millisecond) // until that is known here
	start := time.Now()
	if err := syscall.Kill(pidIn(t, mark, "agent"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r := <-done
	put(t, mark, "go") // for the step that lives on
	work := stepOf(t, r, 2)
	if r.code != 6 || work["status"] != "ERROR" || !strings.Contains(fmt.Sprint(work["message"]), "in doubt") {
		t.Errorf("got exit code %d, step 2 %v; want 6, and ERROR in doubt\n%s", r.code, work, r)
	}
	if took := time.Since(start); took > 15*time.Second { // before anybody would give it up for its silence
		t.Errorf("it took %v", took)
	}
	eventually(t, "the step's own end", func() bool { return is(mark, "done") })
}

// The agent goes while a local step needs nothing of it: another goes on.
func TestAgentThatIsKilledInALocalStep(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\npid = remote shell \"echo $PPID >"+mark+"/remote\"\nhere = local "+
		waits(mark)+"\nnext = local run touch "+mark+"/next\n")
	done := make(chan ran)
	go func() { done <- o.run("deploy", "web1") }()
	eventually(t, "the step runs", func() bool { return is(mark, "started") })
	pid := pidIn(t, mark, "remote")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	time.Sleep(200 * time.Millisecond) // until the line has told
	put(t, mark, "go")
	if r := <-done; r.code != 0 || !is(mark, "next") || !strings.Contains(r.err, "the line to web1 is back") {
		t.Errorf("got exit code %d, want 0\n%s", r.code, r)
	}
}

// The workstation dies: the step gets to its end and is recorded, nothing more
// is started, and nothing hangs about.
func TestWorkstationThatIsKilled(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\nwork = remote "+waits(mark)+"\nlater = remote run touch "+mark+"/later\n")
	cmd, _, _ := o.process("deploy", "web1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the step runs", func() bool { return is(mark, "agent") && is(mark, "started") })
	pid := pidIn(t, mark, "agent")
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	time.Sleep(200 * time.Millisecond)
	if syscall.Kill(pid, 0) != nil {
		t.Fatal("the agent left its step")
	}
	put(t, mark, "go")
	eventually(t, "the agent is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	journals, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc", "runs", "*", "journal"))
	if len(journals) != 1 {
		t.Fatalf("got journals %v", journals)
	}
	text, err := os.ReadFile(journals[0])
	if err != nil || strings.Count(string(text), `"type":"end"`) != 2 {
		t.Errorf("got the journal %s, %v; want both steps ended", text, err)
	}
	if !is(mark, "done") || is(mark, "later") || !o.bundle() {
		t.Error("want the step done, no later one, and the bundle open")
	}
}

// Ctrl-C at the moments at which no step is running.
func TestInterruptedBeforeTheFirstStep(t *testing.T) {
	list := "open = remote open_bundle\n"
	waits := func(shown string) bool { return strings.Contains(shown, "waiting for the bundle") }
	t.Run("while the node does not answer", func(t *testing.T) {
		o := newOperator(t, inProcess(t, testnode.Options{}), list)
		p := o.behind(list, nil)
		p.Blackhole(true)
		o.interrupted(t, 1, func(string) bool { return p.Accepted() > 0 })
	})
	t.Run("while waiting for the lock", func(t *testing.T) {
		o := newOperator(t, inProcess(t, testnode.Options{}), list)
		o.want(0, "deploy", "web1")
		o.interrupted(t, 1, waits, "--lock-wait", "10m")
	})
	t.Run("while waiting for the local lock", func(t *testing.T) {
		o := newOperator(t, inProcess(t, testnode.Options{}), list+"stage = local open_bundle\nbad = local run false\n")
		o.want(1, "deploy", "web1")
		o.interrupted(t, 1, waits, "--lock-wait", "10m")
	})
	t.Run("while unlock asks for the node", func(t *testing.T) {
		o := newOperator(t, inProcess(t, testnode.Options{}), list)
		p := o.behind(list, nil)
		p.Blackhole(true)
		cmd, out, errs := o.process("unlock", "web1", "--id", "AAAAAAAA")
		interrupt(t, cmd, 1, func(string) bool { return p.Accepted() > 0 }, out, errs)
	})
}

// Three times leaves at once, though the step heeds nothing.
func TestInterruptedThreeTimes(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), fmt.Sprintf(
		"open = remote open_bundle\nwork = remote shell \"trap '' TERM; touch %s/started; sleep 3; sleep 3\"\n", mark))
	out := o.interrupted(t, 3, func(string) bool { return is(mark, "started") })
	for _, want := range []string{"it may still be running on the node", " look           conc -c ", " status web1\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the screen does not say %q:\n%s", want, out)
		}
	}
}

// So it does in a step here, whose processes get no more time.
func TestInterruptedThreeTimesHere(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), fmt.Sprintf(
		"open = remote open_bundle\nwork = local shell \"trap '' TERM; echo $$ > %s/pid; touch %s/started; while :; do sleep 0.1; done\"\n", mark, mark))
	out := o.interrupted(t, 3, func(string) bool { return is(mark, "started") })
	for _, want := range []string{"signal 9 (killed)", "try again", "step web1 --from 2"} {
		if !strings.Contains(out, want) {
			t.Errorf("the screen does not say %q:\n%s", want, out)
		}
	}
	if pid := pidIn(t, mark, "pid"); syscall.Kill(pid, 0) == nil {
		t.Errorf("pid %d lives on", pid)
	}
}

// interrupted deploys in a process of its own, and presses Ctrl-C.
func (o *operator) interrupted(t *testing.T, times int, ready func(shown string) bool, flags ...string) string {
	t.Helper()
	cmd, out, errs := o.process(append([]string{"deploy", "web1"}, flags...)...)
	interrupt(t, cmd, times, ready, out, errs)
	return out.String() + errs.String()
}

func interrupt(t *testing.T, cmd *exec.Cmd, times int, ready func(shown string) bool, out, errs *display) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is where it is to be interrupted", func() bool { return ready(out.String() + errs.String()) })
	press(t, cmd, errs, times)
	start := time.Now()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("got exit code %d, want 130\n%s%s", got, out, errs)
	}
	if took := time.Since(start); took > 9*time.Second { // what is waited for otherwise takes 10 s at least
		t.Errorf("it took %v to end", took)
	}
}

// press presses Ctrl-C, that many times.
func press(t *testing.T, cmd *exec.Cmd, errs *display, times int) {
	t.Helper()
	pressed(t, errs, times, func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	})
}

// pressed presses Ctrl-C by once, each time when the one before has been heard: of
// two that come too fast, one may be lost.
func pressed(t *testing.T, shown *display, times int, once func()) {
	t.Helper()
	heard := []string{"stopping after this step", "ending the step"}
	for n := range times {
		if n > 0 {
			eventually(t, "Ctrl-C is heard", func() bool { return strings.Contains(shown.String(), heard[n-1]) })
		}
		once()
	}
}

// Whoever stops reading, with Ctrl-S say, loses no deploy by it; and signals
// are heard meanwhile.
func TestReaderThatWaits(t *testing.T) {
	list := "flood = remote shell \"yes | head -c 4000000\"\nhere = local shell \"yes | head -c 4000000\"\nlast = remote run touch last\n"
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	start := func() (*exec.Cmd, *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		cmd, _, _ := o.process("deploy", "web1", "-v")
		cmd.Stdout, cmd.Stderr = w, w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		eventually(t, "the node goes on", func() bool { return o.there("last") })
		return cmd, r
	}
	cmd, r := start()
	text := make(chan int)
	go func() {
		var all bytes.Buffer
		_, _ = all.ReadFrom(r)
		text <- all.Len()
	}()
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v after %d bytes, want exit code 0", err, <-text)
	}
	if err := os.Remove(filepath.Join(o.node.Home, "last")); err != nil {
		t.Fatal(err)
	}
	cmd, _ = start()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// Four that arrive are enough; of two that come too fast, one may be lost.
	for end := time.Now().Add(time.Minute); ; {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
			return
		case <-time.After(200 * time.Millisecond):
		}
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			t.Fatal("Ctrl-C, again and again, does not end it")
		}
	}
}
