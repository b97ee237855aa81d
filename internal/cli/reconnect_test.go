package cli

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/config"
	"example.org/conc/internal/testnode"
	"example.org/conc/runner"
)

// lineStaysDown is for tests of the loss itself: conc does not try again.
var lineStaysDown = map[string]string{"timeout.reconnect": "1ms"}

// beyond starts a deploy of list behind a proxy, and waits for the file
// "started", which a step of the list makes in mark.
func beyond(t *testing.T, mark, list string, more map[string]string, flags ...string) (*operator, *testnode.Proxy, <-chan ran) {
	t.Helper()
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	p := o.behind(list, more)
	done := make(chan ran, 1)
	go func() { done <- o.run(append([]string{"deploy", "web1"}, flags...)...) }()
	eventually(t, "the step runs", func() bool { return is(mark, "started") })
	return o, p, done
}

// allOK makes sure that every step ended OK, once.
func allOK(t *testing.T, r ran) {
	t.Helper()
	seen := map[any]int{}
	for _, e := range events(t, r.out) {
		if e["type"] == "step" {
			if seen[e["step"]]++; e["status"] != "OK" {
				t.Errorf("got %v", e)
			}
		}
	}
	for n, times := range seen {
		if times != 1 {
			t.Errorf("step %v ended %d times", n, times)
		}
	}
	if r.code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", r.code, r)
	}
}

var onceEach = map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}

// The line goes in a step of the node's, and is back at once.
func TestLineIsBackAfterARemoteStep(t *testing.T) {
	mark := t.TempDir()
	body := fmt.Sprintf("echo before; touch %[1]s/started; sleep 1; echo after; echo late >&2", mark)
	o, p, done := beyond(t, mark, counted(mark, "c", body), nil, "--json", "-v")
	time.Sleep(200 * time.Millisecond) // until the first line is here
	p.CutAfter(0)
	r := <-done
	allOK(t, r)
	o.wantTimes(mark, onceEach)
	if c := stepOf(t, r, 5); !strings.Contains(fmt.Sprint(c["note"]), "after the line was back") {
		t.Errorf("got %v; the remark is missing", c)
	}
	var text strings.Builder
	for _, e := range events(t, r.out) {
		if e["type"] == "output" && e["step"] == 5. {
			fmt.Fprint(&text, e["text"])
		}
	}
	if got := text.String(); strings.Count(got, "before") != 1 || strings.Count(got, "after") != 1 || strings.Count(got, "late") != 1 {
		t.Errorf("got the output %q, want each line once", got)
	}
	for _, want := range []string{"the line to web1 is gone: trying again", "the line to web1 is back"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("nothing says %q:\n%s", want, r)
		}
	}
	if o.bundle() {
		t.Error("the bundle is still open")
	}
	records, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc", "runs", "*", "journal"))
	text2, err := os.ReadFile(records[0])
	if n := strings.Count(string(text2), `"type":"plan"`); n != 1 || err != nil {
		t.Errorf("the node has %d plans on record, %v; want 1", n, err)
	}
}

// A step that fails while the line is gone has failed, with its last words.
func TestStepFailsWhileTheLineIsGone(t *testing.T) {
	mark := t.TempDir()
	_, p, done := beyond(t, mark, counted(mark, "c", "touch "+mark+"/started; sleep 0.5; echo no such table; exit 3"), nil)
	p.CutAfter(0)
	if r := <-done; r.code != 1 || !strings.Contains(r.out, "no such table") || !strings.Contains(r.out, "exit 3") {
		t.Errorf("got exit code %d, want 1 and why\n%s", r.code, r)
	}
}

// The line goes while a local step runs that has no need of it.
func TestLineIsBackBetweenSteps(t *testing.T) {
	mark := t.TempDir()
	o, p, done := beyond(t, mark, counted(mark, "b", "touch "+mark+"/started; sleep 1.5"), nil, "--json")
	p.CutAfter(0)
	r := <-done
	allOK(t, r)
	if !strings.Contains(r.String(), "the line to web1 is gone; the step that runs here goes on") {
		t.Errorf("nothing says so at once:\n%s", r)
	}
	o.wantTimes(mark, onceEach)
	if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "free") {
		t.Errorf("got\n%s", r)
	}
	// The records of the local step, too, have come to the node.
	found, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc", "runs", "*", "journal"))
	text, err := os.ReadFile(found[0])
	if n := strings.Count(string(text), `"type":"end"`); n != 8 || err != nil {
		t.Errorf("the node knows of the end of %d steps, %v; want 8", n, err)
	}
}

// The line goes in the middle of a delivery, which is done over.
func TestLineIsBackInADelivery(t *testing.T) {
	list := "open = remote open_bundle\nput = local put big big\nlook = remote run test -s big\nclose = remote close_bundle\n"
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	o.write("big", "old")
	o.want(0, "deploy", "web1")
	big := make([]byte, 4<<20)
	_, _ = rand.Read(big)
	o.write("big", string(big))
	o.behind(list, nil).CutAfter(2 << 20)
	r := o.run("deploy", "web1", "--json")
	allOK(t, r)
	if got, err := os.ReadFile(filepath.Join(o.node.Home, "big")); !bytes.Equal(got, big) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if !strings.Contains(fmt.Sprint(stepOf(t, r, 2)), "again, after the line was back") {
		t.Errorf("got %v", stepOf(t, r, 2))
	}
}

// The line stays down: what is known here is that nothing is known.
func TestLineStaysDown(t *testing.T) {
	mark := t.TempDir()
	list := counted(mark, "c", "touch "+mark+"/started; sleep 0.5")
	o, p, done := beyond(t, mark, list, map[string]string{"timeout.reconnect": "1s"}, "--json")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	r := <-done
	c := stepOf(t, r, 5)
	if r.code != 6 || c["status"] != "ERROR" || !strings.Contains(fmt.Sprint(c["message"]), "in doubt") || !strings.Contains(fmt.Sprint(c["message"]), "was not back within 1 s") {
		t.Errorf("got exit code %d, step 5 %v\n%s", r.code, c, r)
	}
	o.write("deploy.ini", o.ini(list, nil))
	eventually(t, "the step's end", func() bool {
		return strings.Contains(o.want(0, "status", "web1").out, "5/8  c        remote  OK")
	})
	o.want(0, "step", "web1", "--from", "d")
	o.wantTimes(mark, onceEach)
}

// Nobody knows how a step ended whose agent was killed.
func TestAgentIsGoneWhenTheLineIsBack(t *testing.T) {
	mark := t.TempDir()
	_, _, done := beyond(t, mark, counted(mark, "c", "echo $PPID >"+mark+"/agent; touch "+mark+"/started; sleep 0.5"), nil, "--json")
	if err := syscall.Kill(pidIn(t, mark, "agent"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r := <-done
	c := stepOf(t, r, 5)
	if r.code != 6 || !strings.Contains(fmt.Sprint(c["message"]), "no record of its end") {
		t.Errorf("got exit code %d, step 5 %v\n%s", r.code, c, r)
	}
	if stepOf(t, r, 6) != nil {
		t.Error("a further step was run")
	}
}

// Ctrl-C ends the waiting for the line, and for the step.
func TestInterruptedWhileTheLineIsGone(t *testing.T) {
	for name, spoil := range map[string]func(p *testnode.Proxy){
		"no line":   func(p *testnode.Proxy) { _ = p.Close() },
		"busy node": func(p *testnode.Proxy) { p.CutAfter(0) },
	} {
		t.Run(name, func(t *testing.T) {
			mark := t.TempDir()
			list := counted(mark, "c", "touch "+mark+"/started; sleep 3")
			o := newOperator(t, inProcess(t, testnode.Options{}), list)
			p := o.behind(list, nil)
			cmd, out, errs := o.process("deploy", "web1")
			interrupt(t, cmd, 1, func(string) bool {
				if !is(mark, "started") {
					return false
				}
				spoil(p)
				time.Sleep(300 * time.Millisecond)
				return true
			}, out, errs)
			if !strings.Contains(out.String(), "in doubt") {
				t.Errorf("got\n%s%s", out, errs)
			}
		})
	}
}

// on_disconnect = kill: the step was ended, and that is known.
func TestStepIsKilledWithTheLine(t *testing.T) {
	mark := t.TempDir()
	_, p, done := beyond(t, mark, counted(mark, "c", "touch "+mark+"/started; sleep 30"), map[string]string{"on_disconnect": "kill"}, "--json")
	p.CutAfter(0)
	r := <-done
	c := stepOf(t, r, 5)
	if r.code != 7 || c["status"] != "STOPPED" || !strings.Contains(fmt.Sprint(c["message"]), "on_disconnect is kill") {
		t.Errorf("got exit code %d, step 5 %v\n%s", r.code, c, r)
	}
}

// Whoever goes on with the run from elsewhere, once its agent has ended, has it.
func TestSomebodyElseGoesOnMeanwhile(t *testing.T) {
	mark := t.TempDir()
	list := counted(mark, "c", "touch "+mark+"/started; sleep 0.5; test -e "+mark+"/hold && sleep 2; true")
	o, p, done := beyond(t, mark, list, map[string]string{"timeout.reconnect": "20s"}, "--json")
	p.Refuse(true)
	bob := *o
	bob.env.User, bob.env.StateDir = "bob", t.TempDir()
	bob.dir = t.TempDir()
	bob.write("deploy.ini", bob.ini(list, nil))
	eventually(t, "the agent has ended", func() bool {
		return strings.Contains(bob.want(0, "status", "web1").out, "not running")
	})
	put(t, mark, "hold")
	other := make(chan ran, 1)
	go func() { other <- bob.run("step", "web1", "--from", "c", "--to", "c", "--take-over") }()
	eventually(t, "bob's step", func() bool { return times(t, mark, "c") == 2 })
	p.Refuse(false)
	if r := <-done; r.code != 6 || !strings.Contains(r.out, "gone on with by bob") {
		t.Errorf("got exit code %d\n%s", r.code, r)
	}
	if r := <-other; r.code != 0 {
		t.Errorf("bob: got exit code %d\n%s", r.code, r)
	}
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 2, "d": 0})
}

// A run that is gone on with has a journal from before, whose results are old.
func TestLineIsBackInAResume(t *testing.T) {
	mark := t.TempDir()
	list := counted(mark, "c", "test -e "+mark+"/mended && touch "+mark+"/started && sleep 0.5")
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	p := o.behind(list, nil)
	o.want(1, "deploy", "web1")
	put(t, mark, "mended")
	done := make(chan ran, 1)
	go func() { done <- o.run("step", "web1", "--from", "c", "--json") }()
	eventually(t, "the step runs", func() bool { return is(mark, "started") })
	p.CutAfter(0)
	allOK(t, <-done)
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 2, "d": 1})
}

// What may have happened to the node until the line is back.
func TestWhatIsFoundWhenTheLineIsBack(t *testing.T) {
	t.Run("the agent's file is gone", func(t *testing.T) {
		mark := t.TempDir()
		o, p, done := beyond(t, mark, counted(mark, "c", "touch "+mark+"/started; sleep 0.3"), map[string]string{"timeout.reconnect": "20s"}, "--json")
		p.Refuse(true)
		if err := os.RemoveAll(filepath.Join(o.node.Home, ".conc", "bin")); err != nil {
			t.Fatal(err)
		}
		p.Refuse(false)
		allOK(t, <-done)
		o.wantTimes(mark, onceEach)
	})
	t.Run("the run was given up", func(t *testing.T) {
		mark := t.TempDir()
		o, p, done := beyond(t, mark, counted(mark, "c", "touch "+mark+"/started; sleep 0.3"), map[string]string{"timeout.reconnect": "20s"}, "--json")
		p.Refuse(true)
		bob := *o // at another workstation
		bob.env.User, bob.env.StateDir, bob.dir = "bob", t.TempDir(), t.TempDir()
		bob.write("deploy.ini", bob.ini("a = remote run true\n", nil))
		eventually(t, "the agent has ended", func() bool {
			return strings.Contains(bob.want(0, "status", "web1").out, "not running")
		})
		bob.want(0, "unlock", "web1", "--yes", "--id", o.shortID())
		p.Refuse(false)
		if r := <-done; r.code != 6 || !strings.Contains(r.out, "given up meanwhile") || stepOf(t, r, 6) != nil {
			t.Errorf("got exit code %d\n%s", r.code, r)
		}
		o.wantTimes(mark, map[string]int{"c": 1, "d": 0})
	})
	t.Run("another host key", func(t *testing.T) {
		mark := t.TempDir()
		n, other := inProcess(t, testnode.Options{}), inProcess(t, testnode.Options{})
		p, err := testnode.NewProxy(n.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		attrs, err := n.Through(p)
		if err != nil {
			t.Fatal(err)
		}
		list := counted(mark, "c", "touch "+mark+"/started; until [ -e "+mark+"/go ]; do sleep 0.05; done")
		o := newOperator(t, n, list)
		o.write("deploy.ini", o.ini(list, attrs))
		done := make(chan ran, 1)
		go func() { done <- o.run("deploy", "web1", "--json") }()
		eventually(t, "the step runs", func() bool { return is(mark, "started") })
		// Before the line goes: whoever dials already has read it.
		known := filepath.Join(o.home, ".ssh", "known_hosts")
		ours, err := os.ReadFile(known)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := os.ReadFile(filepath.Join(other.SSHDir, "known_hosts"))
		if err != nil {
			t.Fatal(err)
		}
		key := func(line []byte) string { return strings.Fields(string(line))[2] }
		if err := os.WriteFile(known, []byte(strings.ReplaceAll(string(ours), key(ours), key(theirs))), 0o600); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		p.Refuse(true)
		put(t, mark, "go")
		p.Refuse(false)
		r := <-done
		if r.code != 6 || !strings.Contains(r.out, "HOST KEY HAS CHANGED") || stepOf(t, r, 6) != nil || time.Since(start) > time.Minute {
			t.Errorf("got exit code %d after %v, want 6, soon\n%s", r.code, time.Since(start), r)
		}
		o.wantTimes(mark, map[string]int{"c": 1, "d": 0})
	})
}

// A node that was started anew is told of, once.
func TestRebootIsTold(t *testing.T) {
	var told []string
	show := func(e runner.Event) { told = append(told, e.Text) }
	w := &wave{program: &program{}, show: show, keep: func(runner.Event) {}}
	at := task{node: config.NewNode("web1", nil)}
	boot := ""
	for _, id := range []string{"a", "a", "b", "b"} {
		w.sameBoot(at, &boot, id)
	}
	if want := []string{"web1 was rebooted meanwhile"}; !slices.Equal(told, want) {
		t.Errorf("got %q, want %q", told, want)
	}
}
