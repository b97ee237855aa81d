package cli

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

// behind makes the operator reach the node through a proxy.
func (o *operator) behind(list string, more map[string]string) *testnode.Proxy {
	o.t.Helper()
	p, err := testnode.NewProxy(o.node.Addr)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = p.Close() })
	attrs := map[string]string{"sshd.port": strconv.Itoa(p.Port), "sshd.hostkey": o.node.HostKey}
	for k, v := range more {
		attrs[k] = v
	}
	o.write("deploy.ini", o.ini(list, attrs))
	return p
}

func TestUploadThatIsCutLeavesTheOldFileWhole(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{})
	list := `
open = remote open_bundle
put  = local  put release.bin release.bin
`
	o := newOperator(t, &n.Node, list)
	o.write("release.bin", "the old release")
	o.want(0, "deploy", "web1", "--jobs", "release") // also brings conc itself to the node
	if err := os.RemoveAll(filepath.Join(n.Home, n.Attrs()["bundle"])); err != nil {
		t.Fatal(err)
	}
	const size = 30 << 20
	big := make([]byte, size)
	_, _ = rand.Read(big)
	o.write("release.bin", string(big))
	p := o.behind(list, lineStaysDown)
	p.CutAfter(size * 3 / 10)
	r := o.want(6, "deploy", "web1")
	if !strings.Contains(r.out, "ERROR") {
		t.Errorf("ERROR is not on the screen:\n%s", r)
	}
	got, err := os.ReadFile(filepath.Join(n.Home, "release.bin"))
	if err != nil || string(got) != "the old release" {
		t.Errorf("got %d bytes at the destination, %v, want the old file", len(got), err)
	}
	// Once more on a good line: the new file, and nothing left beside it.
	if err := os.RemoveAll(filepath.Join(n.Home, n.Attrs()["bundle"])); err != nil {
		t.Fatal(err)
	}
	o.write("deploy.ini", o.ini(list, nil))
	o.want(0, "deploy", "web1")
	if got, _ := os.ReadFile(filepath.Join(n.Home, "release.bin")); !bytes.Equal(got, big) {
		t.Errorf("got %d bytes, want the new file's %d", len(got), size)
	}
	if left, _ := filepath.Glob(filepath.Join(n.Home, ".conc-*")); len(left) > 0 {
		t.Errorf("left beside it: %v", left)
	}
}

func TestFullDiskIsSaidWithThePath(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{TinyFS: true})
	o := newOperator(t, &n.Node, "put = local put big tiny/big\n")
	o.write("big", "old")
	o.want(0, "deploy", "web1")
	o.write("big", strings.Repeat("x", 20<<20))
	r := o.want(6, "deploy", "web1")
	for _, want := range []string{"ERROR", "no space", "tiny"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not on the screen:\n%s", want, r)
		}
	}
	if got, err := os.ReadFile(n.Inside(filepath.Join(n.Home, "tiny/big"))); string(got) != "old" {
		t.Errorf("got %d bytes at the destination, %v, want the old file", len(got), err)
	}
	if left := n.Files(t, filepath.Join(n.Home, "tiny")); !slices.Equal(left, []string{"big"}) {
		t.Errorf("got %v on the full disk, want the old file alone", left)
	}
}

// The cost of a list is that of a change of side, not of a step: 13 trivial
// steps cost what one costs.
func TestRoundTripsOfAList(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{})
	o := newOperator(t, &n.Node, "a = remote run true\n")
	o.want(0, "deploy", "web1") // conc is on the node from here on
	var thirteen strings.Builder
	for i := range 13 {
		fmt.Fprintf(&thirteen, "step%d = remote run true\n", i)
	}
	const trip = 100 * time.Millisecond
	trips := func(list string) float64 {
		p := o.behind(list, nil)
		took := func(delay time.Duration) time.Duration {
			p.Delay(delay)
			best := time.Hour // what else the machine does makes it longer, never shorter
			for range 3 {
				best = min(best, o.want(0, "deploy", "web1").took)
			}
			return best
		}
		return float64(took(trip)-took(0)) / float64(trip)
	}
	var one, many float64
	for range 4 {
		one, many = trips("step = remote run true\n"), trips(thirteen.String())
		t.Logf("round trips: %.1f for one step, %.1f for thirteen", one, many)
		if many <= one+3 {
			break
		}
	}
	if many > one+3 {
		t.Errorf("got %.1f round trips for 13 steps and %.1f for one, want at most 3 more", many, one)
	}
}

func TestHeldNodeIsToldWithinTwoSeconds(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{})
	o := newOperator(t, &n.Node, "open = remote open_bundle\n")
	o.want(0, "deploy", "web1", "-m", "migrating")
	before := testTree(t, n.Home)
	r := o.want(3, "deploy", "web1")
	took := r.took
	for range 4 { // what else the machine does makes it longer, never shorter
		if took > 2*time.Second {
			took = min(took, o.want(3, "deploy", "web1").took)
		}
	}
	if took > 2*time.Second && !raceEnabled {
		t.Errorf("took %v", took)
	}
	for _, want := range []string{"BLOCKED", "alice@desk7", "migrating"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not on the screen:\n%s", want, r)
		}
	}
	if after := testTree(t, n.Home); after != before {
		t.Errorf("a BLOCKED deploy changed the node: before\n%s\nafter\n%s", before, after)
	}
}

// Eight processes at once, round after round: CONC_ROUNDS says how many.
func TestExactlyOneTakesTheLock(t *testing.T) {
	rounds := 2
	if s := os.Getenv("CONC_ROUNDS"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	n := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxStartups 100"}})
	o := newOperator(t, &n.Node, "open = remote open_bundle\n")
	for round := range rounds {
		const deploys = 8
		codes := make(chan int, deploys)
		said := make(chan string, deploys)
		for range deploys {
			cmd, out, errs := o.process("deploy", "web1")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go func() {
				_ = cmd.Wait()
				said <- out.String() + errs.String()
				codes <- cmd.ProcessState.ExitCode()
			}()
		}
		count := map[int]int{}
		var all []string
		for range deploys {
			count[<-codes]++
			all = append(all, <-said)
		}
		if count[0] != 1 || count[3] != deploys-1 {
			t.Fatalf("round %d: got exit codes %v, want one 0 and %d times 3\n%s", round, count, deploys-1, strings.Join(all, "\n"))
		}
		if err := os.RemoveAll(filepath.Join(n.Home, n.Attrs()["bundle"])); err != nil {
			t.Fatal(err)
		}
	}
}

// A step that prints a gigabyte ends as fast as it prints, and the workstation
// holds little of it.
func TestMemoryWhileAStepPrints(t *testing.T) {
	const printed, limit = 1 << 30, 100 << 20
	n := sshdtest.Start(t, sshdtest.Options{})
	o := newOperator(t, &n.Node, fmt.Sprintf("print = remote shell 'yes | head -c %d'\n", printed))
	for _, args := range [][]string{{"deploy", "web1"}, {"deploy", "web1", "-v"}} {
		cmd, out, errs := o.process(args...)
		start := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		peak := peakMemory(cmd.Process.Pid)
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %v\n%.2000s%.2000s", args, err, out, errs)
		}
		used := <-peak
		t.Logf("%v: %v, at most %d MiB", args, time.Since(start).Round(time.Millisecond), used>>20)
		if used == 0 {
			t.Errorf("%v: the memory was not measured", args)
		}
		if !raceEnabled && used > limit {
			t.Errorf("%v: got %d MiB of memory, want under %d", args, used>>20, limit>>20)
		}
		if out.Len()+errs.Len() > printed/16 {
			t.Errorf("%v: got %d bytes on the screen of %d printed", args, out.Len()+errs.Len(), printed)
		}
	}
	if logs, err := exec.Command("du", "-sk", filepath.Join(n.Home, ".conc", "runs")).Output(); err == nil {
		if kib, _ := strconv.Atoi(strings.Fields(string(logs))[0]); kib > 100<<10 {
			t.Errorf("got %d KiB of logs on the node", kib)
		}
	}
}

// peakMemory follows a process until it ends, and gives the most memory that it
// had, in bytes. What the kernel tells of it afterwards would count the memory
// of this process, at the moment of the fork.
func peakMemory(pid int) <-chan int {
	peak := make(chan int, 1)
	go func() {
		most := 0
		for {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_, line, found := strings.Cut(string(text), "VmHWM:")
			if err != nil || !found { // it has ended
				peak <- most
				return
			}
			if kib, err := strconv.Atoi(strings.Fields(line)[0]); err == nil {
				most = max(most, kib<<10)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	return peak
}
