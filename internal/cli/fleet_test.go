package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

// fleetOf is an operator with nodes n00, n01, ..., each an account of its own on
// one server, which has the program already.
func fleetOf(t testing.TB, nodes int, list string) *operator {
	t.Helper()
	n := inProcess(t, testnode.Options{Accounts: nodes})
	o := newOperator(t, n, "a = remote run true\n")
	o.want(0, "deploy", "web1")
	for i := range nodes {
		_, home := n.Account(i)
		if err := os.Mkdir(filepath.Join(home, ".conc"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(n.Home, ".conc", "bin"), filepath.Join(home, ".conc", "bin")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(o.env.StateDir); err != nil { // what this did is no run of the fleet
		t.Fatal(err)
	}
	o.fleet(nodes, list)
	return o
}

// fleet writes the deploy.ini of so many nodes.
func (o *operator) fleet(nodes int, list string) {
	attrs := o.node.Attrs()
	var b strings.Builder
	fmt.Fprintf(&b, "[DEFAULT]\njobs = release\nsshd.ip = %s\nsshd.port = %s\nop_key = %s\nbundle = %s\n",
		attrs["sshd.ip"], attrs["sshd.port"], attrs["op_key"], attrs["bundle"])
	for i := range nodes {
		user, _ := o.node.Account(i)
		fmt.Fprintf(&b, "[node:n%02d]\nadmin = %s\n", i, user)
	}
	o.write("deploy.ini", b.String()+"[jobs:release]\n"+list)
}

// at is a path in the home of a fleet's i-th node.
func (o *operator) at(i int, path string) string {
	_, home := o.node.Account(i)
	return filepath.Join(home, path)
}

// has tells on which of the nodes a path is.
func (o *operator) has(nodes int, path string) []int {
	var there []int
	for i := range nodes {
		if _, err := os.Lstat(o.at(i, path)); err == nil {
			there = append(there, i)
		}
	}
	return there
}

// breakOn has the step "here" fail on the i-th node, until it is mended.
func (o *operator) breakOn(i int) (mend func()) {
	o.t.Helper()
	if err := os.WriteFile(o.at(i, "broken"), nil, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return func() { _ = os.Remove(o.at(i, "broken")) }
}

const (
	plainList  = "mark = remote shell \"echo x >> marks\"\nhere = remote shell \"! test -e broken\"\n"
	lockedList = "open = remote open_bundle\nstage = local open_bundle\n" + plainList + "close = remote close_bundle\nunstage = local close_bundle\n"
)

// endOf gives the JSON run_end, and the nodes by their status.
func endOf(t testing.TB, r ran) (end map[string]any, nodes map[string]string) {
	t.Helper()
	nodes = map[string]string{}
	for _, e := range events(t, r.out) {
		switch e["type"] {
		case "node_end":
			nodes[e["node"].(string)] = e["status"].(string)
		case "run_end":
			end = e
		}
	}
	return end, nodes
}

// What is sent to many nodes is read once, and not again by the next run.
func TestSourcesAreReadOnce(t *testing.T) {
	t.Parallel()
	o := fleetOf(t, 3, "open = remote open_bundle\nsend = local deliver app.txt\nclose = remote close_bundle\n")
	o.write("app.txt", "the application\n")
	time.Sleep(2100 * time.Millisecond) // what has just changed is read again
	o.want(0, "deploy", "@all", "-f", "3")
	index := filepath.Join(o.env.StateDir, "files.index")
	text, err := os.ReadFile(index)
	if err != nil || !strings.Contains(string(text), filepath.Join(o.dir, "app.txt")) {
		t.Fatalf("what the run has read is not kept: %v\n%s", err, text)
	}
	before, err := os.Stat(index)
	if err != nil {
		t.Fatal(err)
	}
	o.want(0, "deploy", "@all")
	if after, err := os.Stat(index); err != nil || !os.SameFile(before, after) {
		t.Errorf("the second run has read it again, and written the index: %v", err)
	}
}

func TestCanariesComeFirst(t *testing.T) {
	t.Parallel()
	o := fleetOf(t, 4, plainList)

	// Nobody can be asked: the others are held.
	r := o.want(7, "deploy", "@all", "--canary", "2", "-f", "4")
	if got := o.has(4, "marks"); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("nodes that were taken: got %v, want the two canaries\n%s", got, r)
	}
	for _, want := range []string{"2 canaries are OK (n00, n01); 2 nodes are left", "deploy @failed", "2 OK, 2 not started"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("%q is not told:\n%s", want, r)
		}
	}
	o.want(0, "deploy", "@failed")
	if got := o.has(4, "marks"); len(got) != 4 {
		t.Errorf("after @failed: got %v, want all four", got)
	}

	r = o.want(0, "deploy", "@all", "--canary", "1", "--yes", "--json")
	var hold map[string]any
	for _, e := range events(t, r.out) {
		if e["type"] == "hold" {
			hold = e
		}
	}
	if hold == nil || len(hold["nodes"].([]any)) != 3 {
		t.Errorf("the event of the hold: got %v, want one with three nodes", hold)
	}

	o.breakOn(0)
	r = o.want(1, "deploy", "@all", "--canary", "2", "--max-fail", "0", "-y", "--json")
	end, nodes := endOf(t, r)
	if want := map[string]string{"n00": "FAILED", "n01": "not started", "n02": "not started", "n03": "not started"}; fmt.Sprint(nodes) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", nodes, want)
	}
	if got := fmt.Sprint(end["not_ok"]); got != "[n00 n01 n02 n03]" {
		t.Errorf("not_ok: got %s", got)
	}
}

func TestLocksAreTakenTogether(t *testing.T) {
	t.Parallel()
	const n = 4
	o := fleetOf(t, n, lockedList)
	o.breakOn(2)
	o.want(1, "deploy", "n02") // it stays open
	before := o.has(n, "marks")

	r := o.want(3, "deploy", "@all", "--lock-all", "-f", "2", "--max-fail", "0")
	if got := o.has(n, "test-bundle"); !slices.Equal(got, []int{2}) {
		t.Errorf("open bundles: got %v, want the one that was held\n%s", got, r)
	}
	if got := o.has(n, "marks"); !slices.Equal(got, before) {
		t.Errorf("something was done beyond the locks, on %v\n%s", got, r)
	}
	for _, want := range []string{"lock given back: n02 is held", "1 BLOCKED, 3 not started"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not told:\n%s", want, r)
		}
	}
	if local, _ := filepath.Glob(filepath.Join(o.env.StateDir, "bundles", "*")); len(local) != 1 {
		t.Errorf("bundles on the workstation: got %v, want that of n02", local)
	}
	// What was given back is nothing to go on with.
	r = o.want(0, "status", "n00")
	if !strings.Contains(r.out, "free") || strings.Contains(r.out, "left") {
		t.Errorf("status of a node whose lock was given back:\n%s", r)
	}
	if r = o.want(0, "history"); !strings.Contains(r.out, "given up") {
		t.Errorf("history of it:\n%s", r)
	}

	mark := "here"
	o.fleet(n, strings.Replace(lockedList, "! test -e broken", "true", 1))
	o.want(0, "step", "n02", "--from", mark, "--changed")
	o.want(0, "deploy", "@all", "--lock-all", "-f", "3")
	if got := o.has(n, "test-bundle"); len(got) > 0 {
		t.Errorf("left open: %v", got)
	}
}

func TestOneNodeOutOfReachKeepsAllLocksFree(t *testing.T) {
	t.Parallel()
	const n = 3
	o := fleetOf(t, n, lockedList)
	ini, err := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	if err != nil {
		t.Fatal(err)
	}
	o.write("deploy.ini", strings.Replace(string(ini), "[node:n01]\n", "[node:n01]\nsshd.port = 1\n", 1))
	r := o.want(4, "deploy", "@all", "--lock-all")
	if got := append(o.has(n, "test-bundle"), o.has(n, "marks")...); len(got) > 0 || !strings.Contains(r.out, "n01 cannot be reached") {
		t.Errorf("on the nodes: %v\n%s", got, r)
	}
	o.fleet(n, plainList)
	if r = o.want(2, "deploy", "@all", "--lock-all"); !strings.Contains(r.err, "takes no lock") && !strings.Contains(r.err, "comes before the lock") {
		t.Errorf("a list without a lock:\n%s", r)
	}
}

// A bug that strikes one node leaves the others alone.
func TestPanicOfOneNode(t *testing.T) {
	t.Parallel()
	o := fleetOf(t, 3, "a = remote run true %(word)s\n")
	ini, err := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(ini), "[node:n01]\n", "[node:n01]\nword = secret:strike\n", 1)
	o.write("deploy.ini", strings.Replace(text, "[DEFAULT]\n", "[DEFAULT]\nword = none\n", 1))
	o.env.Getenv = func(name string) string {
		if name == "CONC_SECRET_STRIKE" {
			panic("struck")
		}
		return ""
	}
	r := o.want(6, "deploy", "@all", "-f", "3", "--max-fail", "0", "--json")
	_, nodes := endOf(t, r)
	if want := map[string]string{"n00": "OK", "n01": "ERROR", "n02": "OK"}; fmt.Sprint(nodes) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v\n%s", nodes, want, r)
	}
}

func TestFailedNodes(t *testing.T) {
	t.Parallel()
	o := fleetOf(t, 4, plainList)
	if r := o.want(2, "deploy", "@failed"); !strings.Contains(r.err, "no run of") {
		t.Errorf("before any run:\n%s", r)
	}
	mend := o.breakOn(1)
	r := o.want(1, "deploy", "@all", "-f", "2", "--max-fail", "0")
	if !strings.Contains(r.out, "3 OK, 1 FAILED   again: conc ") || !strings.Contains(r.out, "deploy @failed\n") {
		t.Errorf("what is proposed:\n%s", r)
	}
	marks := func(i int) string {
		text, _ := os.ReadFile(o.at(i, "marks"))
		return string(text)
	}
	o.want(1, "deploy", "@failed")
	mend()
	o.want(0, "deploy", "@failed")
	if got := marks(1); got != "x\nx\nx\n" {
		t.Errorf("runs of the node that failed: %q", got)
	}
	if got := marks(0); got != "x\n" {
		t.Errorf("runs of one that was OK: %q", got)
	}
	if r := o.want(2, "deploy", "@failed"); !strings.Contains(r.err, "all of the last run from this workstation are OK") {
		t.Errorf("when none is left:\n%s", r)
	}
	// Another run of some of the nodes leaves what is said of the others.
	o.breakOn(1)
	o.breakOn(3)
	o.want(1, "deploy", "@all", "--max-fail", "0")
	o.want(1, "deploy", "n03")
	r = o.want(0, "plan", "@failed")
	if !strings.Contains(r.out, "n01") || !strings.Contains(r.out, "n03") || strings.Contains(r.out, "n00") {
		t.Errorf("the plan of @failed:\n%s", r)
	}
}

// Two nodes may be one account, each with a bundle of its own.
func TestTwoNodesOnOneAccount(t *testing.T) {
	t.Parallel()
	o := fleetOf(t, 1, "open = remote open_bundle\nwait = remote run sleep 0.3\nname = remote shell \"echo %(name)s >> names\"\nclose = remote close_bundle\n")
	ini, err := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	if err != nil {
		t.Fatal(err)
	}
	user, _ := o.node.Account(0)
	o.write("deploy.ini", strings.Replace(string(ini), "[jobs:", "[node:n01]\nadmin = "+user+"\nbundle = other-bundle\n[jobs:", 1))
	o.want(0, "deploy", "@all", "-f", "2")
	names, _ := os.ReadFile(o.at(0, "names"))
	if got := strings.Fields(string(names)); len(got) != 2 || got[0] == got[1] {
		t.Errorf("ran for %v", got)
	}
	if r := o.want(0, "history"); strings.Count(r.out, "OK") != 2 {
		t.Errorf("history:\n%s", r)
	}
	o.want(0, "history", "n01")
}

// Somebody at a terminal says whether the others follow the canaries.
func TestCanariesOnATerminal(t *testing.T) {
	t.Parallel()
	o := fleetOf(t, 3, plainList)
	for i, c := range []struct {
		answer string
		code   int
		taken  []int
	}{{"q\n", 7, []int{0}}, {"\n", 0, []int{0, 1, 2}}} {
		keyboard, shown, ended := o.terminalRun("deploy", "@all", "--canary", "1", "-f", "2")
		eventually(t, "a question", func() bool { return strings.Contains(shown.String(), "go on with the other 2? Enter") })
		if _, err := keyboard.Write([]byte(c.answer)); err != nil {
			t.Fatal(err)
		}
		if got := <-ended; got != c.code {
			t.Errorf("%q: got exit code %d, want %d", c.answer, got, c.code)
		}
		if got := o.has(3, "marks"); !slices.Equal(got, c.taken) {
			t.Errorf("answer %d: taken were %v, want %v", i, got, c.taken)
		}
	}
}

// Ctrl-C while a lock is waited for gives those back that were taken; so does
// a wait that is over.
func TestLocksAreGivenBackAtCtrlC(t *testing.T) {
	t.Parallel()
	o := fleetOf(t, 3, lockedList)
	o.want(0, "deploy", "n01", "--to", "open") // n01 is held from here on
	for _, c := range []struct {
		wait   string
		signal bool
		code   int
	}{{"1m", true, 130}, {"1s", false, 3}} {
		cmd, stdout, stderr := o.process("deploy", "@all", "--lock-all", "--lock-wait", c.wait)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the first lock", func() bool { return slices.Equal(o.has(3, "test-bundle"), []int{0, 1}) })
		if c.signal {
			time.Sleep(100 * time.Millisecond) // it waits for the second by then, or is about to
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != c.code {
			t.Errorf("got exit code %d, want %d\n%s%s", got, c.code, stdout, stderr)
		}
		if got := append(o.has(3, "test-bundle"), o.has(3, "marks")...); !slices.Equal(got, []int{1}) {
			t.Errorf("bundles and marks on %v, want the bundle that was held\n%s%s", got, stdout, stderr)
		}
		if !strings.Contains(stdout.String(), "lock given back: ") {
			t.Errorf("it is not said:\n%s%s", stdout, stderr)
		}
	}
	for _, node := range []string{"n00", "n02"} {
		if r := o.want(0, "status", node); !strings.Contains(r.out, "free") || strings.Contains(r.out, "doubt") {
			t.Errorf("%s", r)
		}
	}
}

// A line that goes while the others are waited for is taken up again.
func TestLockOfANodeWhoseLineGoes(t *testing.T) {
	t.Parallel()
	o := fleetOf(t, 2, lockedList)
	o.want(0, "deploy", "n01", "--to", "open")
	p, err := testnode.NewProxy(o.node.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // the test is over
	ini, err := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	if err != nil {
		t.Fatal(err)
	}
	o.write("deploy.ini", strings.Replace(string(ini), "[node:n00]\n", fmt.Sprintf("[node:n00]\nsshd.port = %d\nsshd.hostkey = %s\n", p.Port, o.node.HostKey), 1))
	cmd, stdout, stderr := o.process("deploy", "@all", "--lock-all", "--lock-wait", "2s", "-f", "2")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first lock", func() bool { return slices.Equal(o.has(2, "test-bundle"), []int{0, 1}) })
	p.CutAfter(1) // at the latest when the lock is given back
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 3 {
		t.Errorf("got exit code %d, want 3\n%s%s", got, stdout, stderr)
	}
	if !strings.Contains(stderr.String(), "the line to n00 is back") {
		t.Errorf("the line did not go:\n%s%s", stdout, stderr)
	}
	if got := o.has(2, "test-bundle"); !slices.Equal(got, []int{1}) {
		t.Errorf("bundles on %v\n%s%s", got, stdout, stderr)
	}
}

// A node that takes a connection and says nothing costs its own time only.
func TestOneNodeThatHangs(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() //nolint:errcheck // the test is over
	o := fleetOf(t, 6, plainList)
	ini, err := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(silent.Addr().String())
	o.write("deploy.ini", strings.Replace(string(ini), "[node:n01]\n", "[node:n01]\ntimeout.connect = 1s\nsshd.port = "+port+"\n", 1))
	r := o.want(4, "deploy", "@all", "-f", "2", "--max-fail", "0")
	if got := o.has(6, "marks"); !slices.Equal(got, []int{0, 2, 3, 4, 5}) || !strings.Contains(r.out, "5 OK, 1 ERROR   again: ") {
		t.Errorf("taken were %v\n%s", got, r)
	}
}

// An sshd with very few places for those who log in lets a whole fleet in: who is
// refused comes again.
func TestFleetOnASmallSSHD(t *testing.T) {
	t.Parallel()
	n := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxStartups 3:100:5"}})
	o := newOperator(t, &n.Node, "here = remote run true\n")
	o.want(0, "deploy", "web1") // the program is there
	var b strings.Builder
	b.WriteString("[DEFAULT]\njobs = release\n")
	for k, v := range n.Attrs() {
		fmt.Fprintf(&b, "%s = %s\n", k, v)
	}
	const nodes = 12
	for i := range nodes {
		fmt.Fprintf(&b, "[node:n%02d]\n", i)
	}
	o.write("deploy.ini", b.String()+"[jobs:release]\nhere = remote run true\n")
	_, status := endOf(t, o.want(0, "deploy", "@all", "-f", "12", "--json"))
	if len(status) != nodes {
		t.Errorf("nodes with a result: got %d, want %d", len(status), nodes)
	}
	for node, s := range status {
		if s != "OK" {
			t.Errorf("%s: got %s, want OK", node, s)
		}
	}
}
