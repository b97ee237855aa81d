package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"example.org/conc/internal/testnode"
)

// fault is something that befalls one command.
type fault string

const (
	noFault      fault = "nothing"
	stepFails    fault = "a step fails"
	stepIsSlow   fault = "a step is over its limit"
	killed       fault = "SIGKILL of the workstation"
	agentKilled  fault = "SIGKILL of the agent"
	reset        fault = "RST"
	closed       fault = "an end of the line"
	trickle      fault = "a line that trickles"
	delayed      fault = "a line that is slow to answer"
	hole         fault = "a black hole"
	holeHeals    fault = "a black hole that heals"
	holeOfLength fault = "a black hole that heals after 22 s"
	ctrlC        fault = "Ctrl-C"
	ctrlCTwice   fault = "Ctrl-C twice"
	terminated   fault = "SIGTERM"
	fullThere    fault = "a full disk on the node"
	fullHere     fault = "a full disk on the workstation"
	maxFaults          = 3 // of one run
	limit              = 3 * time.Second
	longestSleep       = 400 * time.Millisecond
)

// mayEnd are the exit codes with which a command may end that a fault befalls.
// 0: it came too late, or did no harm.
var mayEnd = map[fault][]int{
	noFault:      {0},
	stepFails:    {1},
	stepIsSlow:   {124},
	killed:       {0, -1},
	agentKilled:  {0, 6},
	reset:        {0, 4, 6},
	closed:       {0, 4, 6},
	trickle:      {0},
	delayed:      {0},
	hole:         {0, 4, 6},
	holeHeals:    {0, 4, 6},
	holeOfLength: {0},
	ctrlC:        {0, 130},
	ctrlCTwice:   {0, 130},
	terminated:   {0, 130},
	fullThere:    {0, 6},
	fullHere:     {0, 6},
}

// moment waits for a random moment of a command's life: false when it has ended
// before.
func (g *rig) moment(before int, ended chan struct{}) bool {
	marks, pause := 0, g.rand.IntN(600)
	if g.rand.IntN(3) > 0 { // counted from what a step does
		marks, pause = 1+g.rand.IntN(5), g.rand.IntN(150)
	}
	for len(g.read()) < before+marks {
		if !g.pass(ended, 5*time.Millisecond) {
			return false
		}
	}
	return g.pass(ended, time.Duration(pause)*time.Millisecond)
}

// within waits for the step g.at to begin, and holds the process that is in it
// still: false when the command has ended before.
func (g *rig) within(workstation int, ended chan struct{}) bool {
	var agents []int
	var journal *os.File
	for journal == nil || len(agents) == 0 {
		if !g.pass(ended, 200*time.Microsecond) {
			return false
		}
		if len(agents) == 0 {
			agents = g.agents()
		}
		if journal == nil {
			journal, _ = os.Open(g.journalOf(g.at))
		}
	}
	defer journal.Close()
	begin, end := []byte(`"type":"begin"`), []byte(`"type":"end"`)
	text := make([]byte, 64<<10)
	for seen := 0; ; {
		// A step may be over in a millisecond: from the end of the last one on,
		// there is no pause.
		if g.at > 1 && bytes.Count(text[:seen], end) < g.before() && !g.pass(ended, time.Millisecond) || isDone(ended) {
			return false
		}
		n, _ := journal.ReadAt(text[seen:], int64(seen))
		seen += n
		if n == 0 || !slices.ContainsFunc(bytes.Split(text[:seen], []byte("\n")), func(line []byte) bool {
			return bytes.Contains(line, begin) && bytes.Contains(line, fmt.Appendf(nil, `"step":%d,`, g.at))
		}) {
			continue
		}
		if g.frozen = []int{workstation}; g.list[g.at-1].remote() {
			g.frozen = agents
		}
		g.signal(syscall.SIGSTOP)
		time.Sleep(5 * time.Millisecond) // until they all stand still
		n, _ = journal.ReadAt(text[seen:], int64(seen))
		g.inside = !bytes.Contains(text[seen:seen+n], end)
		return true
	}
}

// before is the number of steps before g.at that end in the same journal.
func (g *rig) before() int {
	n := 0
	for _, l := range g.list[:g.at-1] {
		if g.list[g.at-1].remote() || !l.remote() { // the node's journal has all of them
			n++
		}
	}
	return n
}

// journalOf is the path of the journal on the host of step n: "" when there is
// none yet.
func (g *rig) journalOf(n int) string {
	node, here := g.journals()
	if g.list[n-1].remote() {
		here = node
	}
	if here == nil {
		return ""
	}
	return here[len(here)-1]
}

// thaw lets go what within holds.
func (g *rig) thaw() {
	g.signal(syscall.SIGCONT)
	g.frozen = nil
}

func (g *rig) signal(s syscall.Signal) {
	for _, pid := range g.frozen {
		_ = syscall.Kill(pid, s)
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
		g.harm(testnode.Reset)
	case closed:
		g.harm(testnode.End)
	case delayed:
		g.proxy.Delay(300 * time.Millisecond)
	case trickle:
		g.proxy.Trickle(testnode.SlowLine)
		g.pass(ended, 3*time.Second)
		g.proxy.Trickle(0)
	case hole:
		g.proxy.Blackhole(true)
	case holeHeals:
		g.proxy.Blackhole(true)
		g.pass(ended, time.Duration(500+g.rand.IntN(3000))*time.Millisecond)
		g.proxy.Blackhole(false)
	case holeOfLength:
		g.proxy.Blackhole(true)
		g.thaw()
		g.pass(ended, 22*time.Second)
		g.proxy.Blackhole(false)
	case fullThere, fullHere:
		g.fill(g.disks[f])
	case ctrlC:
		_ = cmd.Process.Signal(os.Interrupt)
	case ctrlCTwice:
		_ = cmd.Process.Signal(os.Interrupt)
		time.Sleep(50 * time.Millisecond)
		_ = cmd.Process.Signal(syscall.SIGTERM) // of two that are the same, a process held still would get one
		time.Sleep(50 * time.Millisecond)
	case terminated:
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	g.thaw()
}

// harm spoils the line now, or when some more bytes went over it.
func (g *rig) harm(h testnode.Harm) {
	switch n := int64(g.rand.IntN(200_000)); {
	case g.at > 0 || g.rand.IntN(2) == 0:
		g.proxy.After(0, h)
	case g.rand.IntN(2) == 0:
		g.proxy.After(n, h)
	default:
		g.proxy.AfterDown(n, h)
	}
}

// pass lets time go by: false when the command has ended.
func (g *rig) pass(ended chan struct{}, d time.Duration) bool {
	select {
	case <-ended:
		return false
	case <-time.After(d):
		return true
	}
}

func isDone(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// filler is the file that a disk is filled with.
const filler = "filler"

// fill takes all the room that a disk has.
func (g *rig) fill(disk string) {
	g.t.Helper()
	f, err := os.Create(filepath.Join(disk, filler))
	if err != nil {
		g.t.Error(err)
		return
	}
	defer f.Close()
	room := make([]byte, 1<<20)
	for size := len(room); size >= 1<<9; {
		if _, err := f.Write(room[:size]); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			g.t.Error(err)
			return
		}
	}
}

// mend takes back what befell the line and the disks.
func (g *rig) mend() {
	g.proxy.CutAfter(-1)
	g.proxy.CutAfterDown(-1)
	g.proxy.Delay(0)
	g.proxy.Trickle(0)
	g.proxy.Blackhole(false)
	for _, disk := range g.disks {
		_ = os.Remove(filepath.Join(disk, filler))
	}
}
