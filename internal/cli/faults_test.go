package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
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

// fault is something that befalls one command.
type fault string

const (
	noFault      fault = "nothing"
	stepFails    fault = "a step fails"
	stepIsSlow   fault = "a step is over its limit"
	killed       fault = "SIGKILL of the workstation"
	agentKilled  fault = "SIGKILL of the agent"
	reset        fault = "RST"
	holeHeals    fault = "a black hole that heals"
	hole         fault = "a black hole"
	ctrlC        fault = "Ctrl-C"
	ctrlCTwice   fault = "Ctrl-C twice"
	terminated   fault = "SIGTERM"
	maxFaults          = 3 // of one run
	limit              = 3 * time.Second
	longestSleep       = 400 * time.Millisecond
)

// mayEnd are the exit codes with which a command may end that a fault befalls.
// 0: it came too late, or did no harm.
var mayEnd = map[fault][]int{
	noFault:     {0},
	stepFails:   {1},
	stepIsSlow:  {124},
	killed:      {0, -1},
	agentKilled: {0, 6},
	reset:       {0, 4, 6},
	holeHeals:   {0, 4, 6},
	hole:        {0, 4, 6},
	ctrlC:       {0, 130},
	ctrlCTwice:  {0, 130},
	terminated:  {0, 130},
}

// rig is one random run, and what it is exposed to.
type rig struct {
	t      *testing.T
	rand   *rand.Rand
	o      *operator
	proxy  *testnode.Proxy
	agents func() []int
	dir    string // outside of both homes, where the steps leave their marks
	list   []listed
	long   bool     // slow faults are welcome
	story  []string // what happened, for whoever reads of a violation
}

func newRig(t *testing.T, seed int, long bool) *rig {
	t.Helper()
	g := &rig{t: t, rand: rand.New(rand.NewPCG(uint64(seed), 1)), long: long}
	var n *testnode.Node
	inside := g.rand.IntN(2) == 0
	if inside {
		n = inProcess(t, testnode.Options{})
		g.agents = func() []int { return n.Processes(" agent") }
	} else {
		s := sshdtest.Start(t, sshdtest.Options{})
		n, g.agents = &s.Node, func() []int { return s.Processes(" agent") }
	}
	g.dir = t.TempDir()
	for _, err := range []error{
		os.Chmod(g.dir, 0o777), os.WriteFile(g.marks(), nil, 0o666), os.Chmod(g.marks(), 0o666),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	g.o = newOperator(t, n, "")
	g.o.env.User, g.o.env.Hostname = osNames(t)
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
		if f != noFault && (g.long || f != hole) {
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
	struck := g.moment(before, ended)
	if struck {
		g.strike(f, cmd, ended)
	}
	select {
	case <-ended:
	case <-time.After(90 * time.Second):
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		<-ended
		g.t.Errorf("%v does not end after %s\n%s%s", args, f, out, errs)
	}
	g.proxy.Blackhole(false)
	code := cmd.ProcessState.ExitCode()
	if !struck && mayEnd[f][0] == 0 {
		f = noFault // it ended before
	}
	what := fmt.Sprintf("%s, with %s: exit code %d", strings.Join(args, " "), f, code)
	g.t.Log(what)
	g.story = append(g.story, what, out.String()+errs.String())
	// A signal that comes before there is a run ends the process as any other.
	early := code == -1 && out.Len() == 0 && slices.Contains(mayEnd[f], 130)
	if !early && !slices.Contains(mayEnd[f], code) {
		g.t.Errorf("%v, with %s: got exit code %d, want one of %v\n%s%s", args, f, code, mayEnd[f], out, errs)
	}
	if bytes.Contains(errs.Bytes(), []byte("goroutine ")) {
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

// moment waits for a random moment of a command's life: false when it has ended
// before.
func (g *rig) moment(before int, ended chan struct{}) bool {
	marks, pause := 0, g.rand.IntN(600)
	if g.rand.IntN(3) > 0 { // counted from what a step does
		marks, pause = 1+g.rand.IntN(5), g.rand.IntN(150)
	}
	for len(g.read()) < before+marks {
		select {
		case <-ended:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	later := time.After(time.Duration(pause) * time.Millisecond)
	select {
	case <-ended:
		return false
	case <-later:
		return true
	}
}

// strike lets a fault befall a running command.
func (g *rig) strike(f fault, cmd *exec.Cmd, ended chan struct{}) {
	switch f {
	case killed:
		_ = cmd.Process.Kill()
	case agentKilled:
		for _, pid := range g.agents() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	case reset:
		g.proxy.CutAfter(0)
	case hole, holeHeals:
		g.proxy.Blackhole(true)
		if f == holeHeals {
			select {
			case <-ended:
			case <-time.After(time.Duration(500+g.rand.IntN(3000)) * time.Millisecond):
			}
			g.proxy.Blackhole(false)
		}
	case ctrlC:
		_ = cmd.Process.Signal(os.Interrupt)
	case ctrlCTwice:
		_ = cmd.Process.Signal(os.Interrupt)
		time.Sleep(50 * time.Millisecond)
		_ = cmd.Process.Signal(os.Interrupt)
	case terminated:
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
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

// goOn is what the manual says is to be typed next.
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
		if g.rand.IntN(2) == 0 {
			g.o.want(0, "mark", "web1", strconv.Itoa(n), "OK")
		}
		n++
	}
	return []string{"step", "web1", "--from", strconv.Itoa(n)}
}
