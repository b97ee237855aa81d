package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
	"example.org/conc/runner"
)

// counted is a list of six steps that each leave a line in a file of their own,
// and of which the one called at is done by hand or mended before a resume.
func counted(mark, at, line string) string {
	var b strings.Builder
	b.WriteString("open = remote open_bundle\nstage = local open_bundle\n")
	for i, host := range []string{"remote", "local", "remote", "remote"} {
		name := string(rune('a' + i))
		body := fmt.Sprintf("echo ran >>%s/%s", mark, name)
		if name == at {
			body += "; " + line
		}
		fmt.Fprintf(&b, "%s = %s shell \"%s\"\n", name, host, body)
	}
	return b.String() + "close = remote close_bundle\nunstage = local close_bundle\n"
}

// times tells how often a step of a counted list was run.
func times(t *testing.T, mark, name string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(mark, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "ran")
}

func (o *operator) wantTimes(mark string, want map[string]int) {
	t := o.t.(*testing.T)
	t.Helper()
	for name, n := range want {
		if got := times(t, mark, name); got != n {
			t.Errorf("step %s: ran %d times, want %d", name, got, n)
		}
	}
}

func TestStepGoesOnWhereARunFailed(t *testing.T) {
	for _, at := range []string{"a", "b", "c", "d"} {
		t.Run(at, func(t *testing.T) {
			mark := t.TempDir()
			o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, at, "test -e "+mark+"/mended"))
			r := o.want(1, "deploy", "web1")
			if !strings.Contains(r.out, "step web1 --from") {
				t.Errorf("the screen does not say how to go on:\n%s", r)
			}
			for _, args := range [][]string{{"step", "web1"}, {"step"}, {"status", "web1"}} {
				r = o.want(0, args...)
				for _, want := range []string{"FAILED", "alice@desk7", "step web1 --from", "mark web1", "unlock web1"} {
					if !strings.Contains(r.out, want) {
						t.Errorf("%v does not say %q:\n%s", args, want, r)
					}
				}
			}
			o.want(1, "step", "web1", "--from", at)
			put(t, mark, "mended")
			o.want(0, "step", "--from", at)
			want := map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}
			want[at] = 3
			o.wantTimes(mark, want)
			if o.bundle() {
				t.Error("the bundle is still open")
			}
			if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "free") {
				t.Errorf("the node is not free:\n%s", r)
			}
			o.want(3, "step", "web1", "--from", "3")
		})
	}
}

// A run that was given up is not offered again.
func TestGivenUpRunIsNotInterrupted(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(t.TempDir(), "c", "false"))
	r := o.want(1, "deploy", "web1")
	_, id, ok := strings.Cut(r.out, "unlock web1 --id ")
	if !ok {
		t.Fatalf("the screen does not say how to give up:\n%s", r)
	}
	o.want(0, "step") // shows the one that there is
	o.want(0, "unlock", "web1", "--id", id[:8], "-y")
	o.want(2, "step")
	if r := o.want(0, "history"); !strings.Contains(r.out, "given up") {
		t.Errorf("the history does not say so:\n%s", r)
	}
}

// A run that came to its end is none to go on with, whatever else there is.
func TestOnlyInterruptedRunIsMeant(t *testing.T) {
	mark := t.TempDir()
	done := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "", ""))
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "d", "test -e "+mark+"/mended"))
	ini := strings.ReplaceAll(done.ini("", nil), "[DEFAULT]\njobs = release\n", "")
	ini, _, _ = strings.Cut(strings.ReplaceAll(ini, "web1", "web2"), "[jobs:release]")
	o.write("deploy.ini", o.ini(counted(mark, "d", "test -e "+mark+"/mended"), nil)+strings.ReplaceAll(ini, "op_key = test", "op_key = other"))
	for file, text := range map[string]string{done.node.KeyFile: "id_ed25519-other", done.node.KnownHosts: "known_hosts"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(o.home, ".ssh", text)
		before, _ := os.ReadFile(path)
		if err := os.WriteFile(path, append(before, data...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(t, mark, "mended")
	o.want(0, "deploy", "web2")
	o.want(2, "step") // nothing is interrupted
	if err := os.Remove(filepath.Join(mark, "mended")); err != nil {
		t.Fatal(err)
	}
	o.want(1, "deploy", "web1")
	put(t, mark, "mended")
	o.want(0, "step", "--from", "d")
	o.want(2, "step")
}

func TestMarkedStepIsNotRunAgain(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "c", "false"))
	o.want(1, "deploy", "web1")
	o.want(2, "mark", "web1", "nonsense", "OK")
	o.want(2, "mark", "web1", "c", "FAILED")
	o.want(0, "mark", "web1", "c", "OK", "--note", "built by hand")
	r := o.want(0, "status", "web1")
	for _, want := range []string{"marked by alice@desk7", "built by hand", "--from 6"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the status does not say %q:\n%s", want, r)
		}
	}
	o.want(0, "step", "web1", "--from", "6")
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
}

// To go on after a step that failed says that it was seen to: that is recorded.
func TestStepTakenAsDoneIsRecorded(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "a", "false"))
	o.want(1, "deploy", "web1")
	o.want(0, "step", "web1", "--from", "c", "--to", "c")
	r := o.want(0, "status", "web1")
	if n := strings.Count(r.out, "taken as done by going on from step 5"); n != 2 {
		t.Errorf("got %d steps taken as done, want a and b:\n%s", n, r)
	}
	o.want(0, "step", "web1", "--from", "d")
	o.wantTimes(mark, map[string]int{"a": 1, "b": 0, "c": 1, "d": 1})
}

func TestStepIsRefused(t *testing.T) {
	mark := t.TempDir()
	list := counted(mark, "c", "false")
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	if r := o.want(3, "step", "web1", "--from", "3"); !strings.Contains(r.String(), "no interrupted run on this node") {
		t.Errorf("got\n%s", r)
	}
	o.want(2, "step")
	o.want(1, "deploy", "web1")
	for _, from := range []string{"0", "99", "abc"} {
		connections, _ := o.node.Sessions()
		o.want(2, "step", "web1", "--from", from)
		if after, _ := o.node.Sessions(); after != connections {
			t.Errorf("--from %s: connected to the node", from)
		}
	}

	t.Run("of another operator", func(t *testing.T) {
		bob := *o
		bob.t, bob.env.User, bob.env.StateDir = t, "bob", t.TempDir()
		if r := bob.want(3, "step", "web1", "--from", "6"); !strings.Contains(r.String(), "--take-over") {
			t.Errorf("got\n%s", r)
		}
	})
	t.Run("with another list", func(t *testing.T) {
		o.write("deploy.ini", o.ini(strings.Replace(list, "echo ran >>"+mark+"/d", "echo other", 1), nil))
		r := o.want(3, "step", "web1", "--from", "6")
		for _, want := range []string{"step 6 was", "echo other", "--changed"} {
			if !strings.Contains(r.String(), want) {
				t.Errorf("the refusal does not say %q:\n%s", want, r)
			}
		}
		o.want(0, "step", "web1", "--from", "6", "--changed")
		o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 1, "d": 0})
	})
}

// A colleague goes on from another workstation: the node's journal has the
// local steps as well, and the workstation gets its half of the bundle.
func TestStepFromAnotherWorkstation(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "c", "test -e "+mark+"/mended"))
	o.want(1, "deploy", "web1")
	bob := *o
	bob.env.User, bob.env.Hostname, bob.env.StateDir = "bob", "desk8", t.TempDir()
	r := bob.want(0, "status", "web1")
	if strings.Contains(r.out, "2/8  stage    local   not started") || !strings.Contains(r.out, "5/8  c") {
		t.Errorf("the node does not know the local steps:\n%s", r)
	}
	put(t, mark, "mended")
	bob.want(0, "step", "web1", "--from", "c", "--take-over")
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 2, "d": 1})
	if left, _ := filepath.Glob(filepath.Join(bob.env.StateDir, "bundles", "*")); len(left) > 0 {
		t.Errorf("the local bundle is left: %v", left)
	}
}

func TestTwoResumesAtOnce(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "c", "test -e "+mark+"/mended && sleep 0.5"))
	o.want(1, "deploy", "web1")
	put(t, mark, "mended")
	done := make(chan ran, 2)
	for range 2 {
		go func() { done <- o.run("step", "web1", "--from", "c") }()
	}
	a, b := <-done, <-done
	if a.code+b.code != 3 || a.code*b.code != 0 {
		t.Errorf("got exit codes %d and %d, want one 0 and one 3\n%s\n%s", a.code, b.code, a, b)
	}
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 2, "d": 1})
}

// The workstation dies in a step: the agent finishes it, records it, and starts
// nothing more. The next step goes on after it.
func TestWorkstationKilledInAStep(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "c", "touch "+mark+"/started; while [ ! -e "+mark+"/go ]; do sleep 0.05; done; touch "+mark+"/x"))
	cmd, _, _ := o.process("deploy", "web1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the step runs", func() bool { return is(mark, "started") })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "RUNNING") || !strings.Contains(r.out, "at work") {
		t.Errorf("the status does not say that the agent is at work:\n%s", r)
	}
	o.env.User, o.env.Hostname = osNames(t)
	o.want(3, "step", "web1", "--from", "d") // it is still at work
	put(t, mark, "go")
	eventually(t, "x", func() bool { return is(mark, "x") })
	eventually(t, "the agent has ended", func() bool {
		return strings.Contains(o.want(0, "status", "web1").out, "not running")
	})
	if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "5/8  c        remote  OK") {
		t.Errorf("the step is not OK:\n%s", r)
	}
	o.want(0, "step", "web1", "--from", "d")
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
}

// osNames are the user and host that a process of its own has.
func osNames(t *testing.T) (user, host string) {
	t.Helper()
	e, err := surroundings()
	if err != nil {
		t.Fatal(err)
	}
	return e.User, e.Hostname
}

// The agent dies in a step: it is in doubt, and conc never decides.
func TestAgentKilledInAStepLeavesItInDoubt(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "c", "echo $PPID >"+mark+"/agent.new; mv "+mark+"/agent.new "+mark+"/agent; sleep 1"))
	done := make(chan ran)
	go func() { done <- o.run("deploy", "web1") }()
	eventually(t, "the step runs", func() bool { return is(mark, "agent") })
	if err := syscall.Kill(pidIn(t, mark, "agent"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.code != 6 || !strings.Contains(r.out, "status web1") {
		t.Errorf("got exit code %d\n%s", r.code, r)
	}
	if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "in doubt") {
		t.Errorf("the step is not in doubt:\n%s", r)
	}
	time.Sleep(time.Second) // the step's own process has outlived the agent
	o.want(0, "step", "web1", "--from", "d")
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
}

// A node's journal that was damaged is refused, not guessed at.
func TestDamagedJournal(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "c", "false"))
	o.want(1, "deploy", "web1")
	found, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc", "runs", "*", "journal"))
	if len(found) != 1 {
		t.Fatalf("got journals %v", found)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	torn := strings.Join(lines, "") + `{"v":1,"type":"beg`
	if err := os.WriteFile(found[0], []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := o.want(0, "status", "web1"); !strings.Contains(r.err, "cut short") {
		t.Errorf("a torn line is left out in silence:\n%s", r)
	}
	lines[1] = strings.Replace(lines[1], "open", "shut", 1)
	if err := os.WriteFile(found[0], []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := o.want(6, "step", "web1", "--from", "c"); !strings.Contains(r.err, "damaged") {
		t.Errorf("the damage is not told:\n%s", r)
	}
	if _, _, err := runner.ReadJournal(found[0]); err == nil {
		t.Error("the damaged journal was mended in silence")
	}
}
