package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

// TestRandomFaults takes random job lists through random faults, goes on as the
// manual says until the list is done, and compares what conc says and records
// with what the steps themselves have left behind.
//
// CONC_RUNS says how many runs there are, each another than last time, and
// CONC_SEED which one is the first:
//
//	CONC_RUNS=200 go test ./internal/cli -run TestRandomFaults -count=1 -parallel 8 -timeout 1h
//	CONC_SEED=42 go test ./internal/cli -run TestRandomFaults -count=1
func TestRandomFaults(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("no /proc here")
	}
	runs, first := number(t, "CONC_RUNS", 3), number(t, "CONC_SEED", 0)
	switch asked := os.Getenv("CONC_RUNS") != ""; {
	case first != 0 && !asked:
		runs = 1
	case first == 0 && asked:
		first = int(time.Now().UnixNano() % 1e9)
	case first == 0:
		first = 1 // the suite's are the same every time: to look for others is a command
	}
	for seed := first; seed < first+runs; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			newRig(t, seed, runs >= 50).exercise()
		})
	}
}

func number(t *testing.T, name string, standard int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no number above 0", name, text)
	}
	return n
}

// rig is one run, and what it is exposed to.
type rig struct {
	t        *testing.T
	rand     *rand.Rand
	o        *operator
	proxy    *testnode.Proxy
	agents   func() []int
	disks    map[fault]string // directories that are disks of their own, to be filled
	dir      string           // outside of both homes, where the steps leave their marks
	list     []listedStep
	at       int       // the step that a fault is to befall; 0: a random moment
	long     bool      // slow faults are welcome
	frozen   []int     // processes that are held still
	inside   bool      // the last command was struck in step at, not after it
	struck   bool      // a fault befell the last command
	struckAt time.Time // when it did
	screen   string    // of the last command
	story    []string  // what happened, for whoever reads of a violation
}

func newRig(t *testing.T, seed int, long bool) *rig {
	t.Helper()
	g := &rig{t: t, rand: rand.New(rand.NewPCG(uint64(seed), 1)), long: long}
	inside := g.rand.IntN(2) == 0
	if disks := g.rand.IntN(2) == 0 && sshdtest.Root(); inside {
		n := inProcess(t, testnode.Options{})
		g.reach(n, func() []int { return n.Processes(" agent") })
	} else {
		g.reachSSHD(disks)
	}
	g.makeList()
	reconnect := "2s"
	if g.rand.IntN(4) == 0 {
		reconnect = "20s"
	}
	g.proxy = g.o.behind(g.text(), map[string]string{"timeout.reconnect": reconnect})
	if inside {
		// What is uploaded to a node in this process is open, for a moment, in every
		// process that a parallel run starts, and cannot be executed then.
		for try := 0; g.o.run("status", "web1").code != 0; try++ {
			if try == 20 {
				t.Fatal("the node does not answer")
			}
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat it: CONC_SEED=%d go test ./internal/cli -run TestRandomFaults -count=1\n%s", seed, g.evidence())
		}
	})
	return g
}

// reachSSHD gives the rig a node with a real sshd; its home, and the
// workstation's state, may be small disks.
func (g *rig) reachSSHD(disks bool) {
	g.t.Helper()
	var o sshdtest.Options
	if disks {
		o = sshdtest.Options{HomeFS: 128, TinyFS: true}
	}
	n := sshdtest.Start(g.t, o)
	g.reach(&n.Node, func() []int { return n.Processes(" agent") })
	if disks {
		tiny := filepath.Join(n.Home, "tiny")
		g.disks = map[fault]string{fullThere: n.Home, fullHere: tiny}
		if err := os.Symlink(tiny, filepath.Join(g.o.home, "state")); err != nil {
			g.t.Fatal(err)
		}
	}
}

// reach gives the rig its node, and an operator.
func (g *rig) reach(n *testnode.Node, agents func() []int) {
	g.t.Helper()
	g.agents = agents
	g.dir = g.t.TempDir()
	for _, err := range []error{
		os.Chmod(g.dir, 0o777), os.WriteFile(g.marks(), nil, 0o666), os.Chmod(g.marks(), 0o666),
	} {
		if err != nil {
			g.t.Fatal(err)
		}
	}
	g.o = newOperator(g.t, n, "")
	g.o.env.User, g.o.env.Hostname = osNames(g.t)
}

// exercise takes the run to its end.
func (g *rig) exercise() {
	command := []string{"deploy", "web1"}
	for faults := 0; ; {
		f := noFault
		if faults == 0 || faults < maxFaults && g.rand.IntN(2) == 0 {
			f = g.pick()
			faults++
		}
		code := g.command(f, command)
		g.settled()
		seen := g.status()
		if g.t.Failed() {
			return
		}
		if code == 0 || seen.State == "free" && seen.Next == 0 && g.marked("begin") > 0 {
			g.wantDone()
			return
		}
		if command = g.goOn(seen); g.t.Failed() {
			return
		}
	}
}

func (g *rig) pick() fault {
	all := slices.Sorted(maps.Keys(mayEnd))
	for {
		f := all[g.rand.IntN(len(all))]
		disk := f == fullThere || f == fullHere
		if f != noFault && f != holeOfLength && (g.long || f != hole) && (!disk || g.disks != nil) {
			return f
		}
	}
}

// command runs one command, and lets a fault befall it at a random moment.
func (g *rig) command(f fault, args []string) int {
	g.t.Helper()
	before := len(g.read())
	if f == stepFails || f == stepIsSlow {
		if !g.plant(f, args) {
			f = noFault
		}
	}
	cmd, out, errs := g.o.process(args...)
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	if g.at == 0 {
		g.struck = g.moment(before, ended)
	} else {
		g.struck = g.within(cmd.Process.Pid, ended)
	}
	if g.struckAt = time.Now(); g.struck {
		g.strike(f, cmd, ended)
	}
	select {
	case <-ended:
	case <-time.After(3 * time.Minute):
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		<-ended
		g.t.Errorf("%v does not end after %s\n%s%s", args, f, out, errs)
	}
	if g.at > 0 && (f == fullThere || f == fullHere) {
		g.settled()
		g.o.want(0, "status", "web1") // to look, there is room enough
	}
	g.mend()
	code := cmd.ProcessState.ExitCode()
	if !g.struck && mayEnd[f][0] == 0 {
		f = noFault // it ended before
	}
	g.screen = out.String() + errs.String()
	what := fmt.Sprintf("%s, with %s: exit code %d", strings.Join(args, " "), f, code)
	g.t.Log(what)
	g.story = append(g.story, what, g.screen)
	// A signal that comes before there is a run ends the process as any other.
	early := code == -1 && out.Len() == 0 && slices.Contains(mayEnd[f], 130)
	if !early && !slices.Contains(mayEnd[f], code) {
		g.t.Errorf("%v, with %s: got exit code %d, want one of %v\n%s%s", args, f, code, mayEnd[f], out, errs)
	}
	if strings.Contains(errs.String(), "goroutine ") {
		g.t.Errorf("%v, with %s: it crashed\n%s", args, f, errs)
	}
	return code
}

// plant makes a counted step that the command is to run fail, or be slow, once.
func (g *rig) plant(f fault, args []string) bool {
	from := 1
	if len(args) == 4 {
		from, _ = strconv.Atoi(args[3])
	}
	var may []int
	for n := from; n <= len(g.list); n++ {
		if g.list[n-1].counted {
			may = append(may, n)
		}
	}
	if may == nil {
		return false
	}
	kind := map[fault]string{stepFails: "fail", stepIsSlow: "slow"}[f]
	put(g.t, g.dir, fmt.Sprintf("%s-%d", kind, may[g.rand.IntN(len(may))]))
	return true
}

// settled waits until nothing of a command is going on any more: the agent has
// ended, and so have steps that outlived it.
func (g *rig) settled() {
	g.t.Helper()
	for end := time.Now().Add(60 * time.Second); len(g.agents())+len(g.atWork()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Errorf("after 60 s: agents %v and steps %v are still there", g.agents(), g.atWork())
			return
		}
	}
}

// atWork gives the counted steps' processes.
func (g *rig) atWork() []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var found []string
	for _, f := range files {
		if line, err := os.ReadFile(f); err == nil && bytes.Contains(line, []byte(filepath.Join(g.dir, "step")+"\x00")) {
			found = append(found, f)
		}
	}
	return found
}

// status asks how things stand, and checks the answer against the marks.
func (g *rig) status() statusJSON {
	g.t.Helper()
	r := g.o.run("status", "web1", "--json")
	g.story = append(g.story, r.String())
	var seen statusJSON
	if err := json.Unmarshal([]byte(r.out), &seen); err != nil || r.code != 0 {
		g.t.Errorf("status: got exit code %d, %v\n%s", r.code, err, r)
		return seen
	}
	g.wantExplained(seen)
	return seen
}

// goOn is what the manual says is to be typed next; nil: nothing more.
func (g *rig) goOn(seen statusJSON) []string {
	g.t.Helper()
	if seen.State == "free" && seen.Next == 0 {
		return []string{"deploy", "web1"}
	}
	n := seen.Next
	if n == 0 {
		g.t.Errorf("the node is held, and nothing is left to be done")
		return nil
	}
	// Whatever conc says of the step: who looks sees whether it was done.
	if s := g.list[n-1]; s.counted && g.ended(n) || s.name == "open" {
		last := n == len(g.list)
		if last || g.rand.IntN(2) == 0 {
			g.o.want(0, "mark", "web1", strconv.Itoa(n), "OK")
		}
		if n++; last {
			return nil
		}
	}
	return []string{"step", "web1", "--from", strconv.Itoa(n)}
}
