package cli

import (
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A fleet, of CONC_NODES nodes, costs little memory for each, and time that grows
// no faster than it does. The workstation is a process of its own.
func TestFleetIsCheap(t *testing.T) {
	nodes := number(t, "CONC_NODES", 30)
	forks := []int{10}
	if nodes > 100 {
		forks = []int{50, 200}
	}
	o := fleetOf(t, nodes, "here = remote run true\n")
	run := func(first string, forks int) (took, cpu time.Duration, peak int64) {
		t.Helper()
		cmd, stdout, stderr := o.process("deploy", first, "-f", strconv.Itoa(forks))
		start := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s%s", err, lastLines(stdout), lastLines(stderr))
		}
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		s := cmd.ProcessState
		return time.Since(start), s.UserTime() + s.SystemTime(), usage.Maxrss // KiB
	}
	run("n00", 1)
	_, _, base := run("n00", 1)
	for _, f := range forks {
		few, _, _ := run("n0*", f)
		all, cpu, peak := run("n*", f)
		perNode := (peak - base) / int64(nodes)
		t.Logf("%d nodes, -f %d: %v (10 nodes: %v), %d KiB, of which %d a node; %v of CPU a node", nodes, f, all, few, peak, perNode, cpu/time.Duration(nodes))
		if perNode > 1024 {
			t.Errorf("-f %d: %d KiB of memory a node, want at most 1024", f, perNode)
		}
		if each := few / 10; all > 3*each*time.Duration(nodes)+5*time.Second {
			t.Errorf("-f %d: %v for %d nodes, where 10 took %v", f, all, nodes, few)
		}
	}
	journals, _ := filepath.Glob(filepath.Join(o.home, "state", "conc", "runs", "*", "*.journal"))
	if want := 2 + len(forks)*(nodes+10); len(journals) != want {
		t.Errorf("journals: got %d, want %d", len(journals), want)
	}
	// Neither does what is read of its records.
	for _, args := range [][]string{{"history"}, {"step"}} {
		took := time.Hour
		for range 3 { // what else the machine does makes it longer, never shorter
			took = min(took, o.run(args...).took)
		}
		if took > 2*time.Second+time.Duration(nodes)*2*time.Millisecond && !raceEnabled {
			t.Errorf("%s took %v", args[0], took)
		}
	}
}

// lastLines is the end of a long output.
func lastLines(b *display) string {
	lines := strings.SplitAfter(b.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "")
}
