package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode/sshdtest"
	"example.org/conc/jobs"
)

// eachFault are the faults that the matrix lets befall each step.
var eachFault = []fault{
	killed, agentKilled, reset, closed, hole, holeOfLength, ctrlC, ctrlCTwice, fullThere, fullHere,
}

// cell is one of the matrix.
type cell struct {
	step     string
	fault    fault
	backward bool // the workstation's bundle is closed before the node's
}

// few are the cells of the default suite.
var few = []cell{
	{step: "open", fault: agentKilled},
	{step: "deliver", fault: reset},
	{step: "unpack", fault: fullThere},
	{step: "migrate", fault: killed},
}

// TestEachStepEachFault takes one list, on a node with a real sshd, and lets each
// fault befall each of its steps: the process that is in the step is held still
// when its journal has the step's beginning, and let go when it is struck.
// Then the run is explained by status, and taken to its end by what that says.
//
//	CONC_MATRIX=1 go test ./internal/cli -run TestEachStepEachFault -count=1 -parallel 8 -timeout 1h
//
// Without CONC_MATRIX, a few of the cells are tested.
func TestEachStepEachFault(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("no /proc here")
	}
	cells := few
	if os.Getenv("CONC_MATRIX") != "" {
		cells = nil
		for _, f := range eachFault {
			for _, s := range eachStep("", false, 0) {
				cells = append(cells, cell{step: s.name, fault: f})
			}
			for _, s := range eachStep("", true, 0)[8:] {
				cells = append(cells, cell{step: s.name, fault: f, backward: true})
			}
		}
	}
	for _, c := range cells {
		name := c.step
		if c.backward {
			name += ", closed here first"
		}
		t.Run(fmt.Sprintf("%s/%s", c.fault, name), func(t *testing.T) {
			t.Parallel()
			newCell(t, c).exercise()
		})
	}
}

// eachStep is a list with every change of side that there is, and as many
// characters longer as padding says.
func eachStep(dir string, backward bool, padding int) []listedStep {
	work := func(host string, n int, more string) string {
		most := min(padding, 1000)
		padding -= most
		path := strings.Repeat("/", most) + filepath.Join(dir, "step")
		return strings.TrimSpace(fmt.Sprintf("%s timeout=20s run sh %s %d 0.2 %s", host, path, n, more))
	}
	list := []listedStep{
		{"open", "remote open_bundle", false},
		{"build", work("remote", 2, ""), true},
		{"stage", "local open_bundle", false},
		{"deliver", "local deliver " + filepath.Join(dir+".dist", "app.tar.gz"), false},
		{"unpack", "remote untar app.tar.gz", false},
		{"migrate", work("remote", 6, "app.tar.gz app/0 app/19"), true},
		{"check", work("local", 7, ""), true},
		{"restart", work("remote", 8, "app/0"), true},
		{"close", "remote close_bundle", false},
		{"unstage", "local close_bundle", false},
		{"tell", work("local", 11, ""), true},
	}
	if backward {
		list[8], list[9] = list[9], list[8]
	}
	return list
}

// cellRig is the rig of one cell.
type cellRig struct {
	*rig
	cell
}

func newCell(t *testing.T, c cell) *cellRig {
	t.Helper()
	disks := c.fault == fullThere || c.fault == fullHere
	if disks && !sshdtest.Root() {
		t.Skip("needs root, for a disk that can be full")
	}
	g := &cellRig{&rig{t: t, rand: rand.New(rand.NewPCG(1, 1)), long: true}, c}
	g.reachSSHD(disks)
	g.bringAgent()
	g.writeScript()
	g.packRelease()
	g.follow(eachStep(g.dir, c.backward, 0))
	at := 1 + slices.IndexFunc(g.list, func(l listedStep) bool { return l.name == c.step })
	if disks {
		g.follow(eachStep(g.dir, c.backward, g.untilFull(at)))
	}
	g.at = at
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(g.evidence())
		}
	})
	return g
}

// follow makes list the one that is deployed.
func (g *cellRig) follow(list []listedStep) {
	g.t.Helper()
	g.list = list
	reconnect := "60s"
	if g.fault == hole {
		reconnect = "1ms"
	}
	g.proxy = g.o.behind(g.text(), map[string]string{"timeout.reconnect": reconnect})
	if err := os.WriteFile(g.marks(), nil, 0o666); err != nil {
		g.t.Fatal(err)
	}
}

// page is what a disk of the rig gives a file at a time. On a full one, a journal
// may grow up to the end of its last page.
const page = 4096

// untilFull tells how much longer the plan must be for the journal on the disk to
// reach the end of a page in the step at: then its end cannot be recorded. It
// deploys once, to see.
func (g *cellRig) untilFull(at int) int {
	g.t.Helper()
	if code := g.command(noFault, []string{"deploy", "web1"}); code != 0 {
		g.t.Fatalf("got exit code %d\n%s", code, g.screen)
	}
	node, here := g.journals()
	begun := time.Time{}
	lines := func(path string, tell func(r jobs.Record, size int)) {
		text, err := os.ReadFile(path)
		if err != nil {
			g.t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var r jobs.Record
			if err := json.Unmarshal(line, &r); err != nil {
				g.t.Fatal(err)
			}
			tell(r, len(line))
		}
	}
	lines(node[0], func(r jobs.Record, _ int) {
		if r.Type == jobs.RecordBegin && r.Step == at {
			begun = r.Time
		}
	})
	path, size := node[0], 0
	if g.fault == fullHere {
		path = here[0]
	}
	lines(path, func(r jobs.Record, n int) {
		if !r.Time.After(begun) {
			size += n
		}
	})
	const room = 60 // not enough for a record; times are not all of one length
	return (2*page - room - size%page) % page
}

// bringAgent puts conc on the node, which takes an upload a second.
func (g *cellRig) bringAgent() {
	g.t.Helper()
	program, err := os.ReadFile(g.o.env.Executable)
	if err != nil {
		g.t.Fatal(err)
	}
	home, err := os.Stat(g.o.node.Home)
	if err != nil {
		g.t.Fatal(err)
	}
	uid := int(home.Sys().(*syscall.Stat_t).Uid)
	dir := filepath.Join(g.o.node.Home, ".conc", "bin")
	path := filepath.Join(dir, fmt.Sprintf("conc-%x", sha256.Sum256(program)))
	for _, err := range []error{
		os.MkdirAll(dir, 0o700), os.WriteFile(path, program, 0o700),
		os.Chown(path, uid, -1), os.Chown(dir, uid, -1), os.Chown(filepath.Dir(dir), uid, -1),
	} {
		if err != nil {
			g.t.Fatal(err)
		}
	}
}

// packRelease makes an archive of 20 files of 100 KB that do not compress.
func (g *cellRig) packRelease() {
	g.t.Helper()
	dist := g.dir + ".dist"
	if err := os.Mkdir(filepath.Join(dist, "app"), 0o755); err != nil {
		g.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dist, "app.tar.gz"))
	if err != nil {
		g.t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for i := range 20 {
		name := fmt.Sprintf("app/%d", i)
		data := make([]byte, 100_000)
		for i := range data {
			data[i] = byte(g.rand.Uint32())
		}
		if err := os.WriteFile(filepath.Join(dist, name), data, 0o644); err != nil {
			g.t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			g.t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			g.t.Fatal(err)
		}
	}
	for _, close := range []func() error{w.Close, z.Close, f.Close} {
		if err := close(); err != nil {
			g.t.Fatal(err)
		}
	}
}

// exercise lets the fault befall the step, and goes on until the list is done.
func (g *cellRig) exercise() {
	code := g.command(g.fault, []string{"deploy", "web1"})
	took := time.Since(g.struckAt)
	if !g.struck {
		g.t.Errorf("step %d was not struck", g.at)
	}
	if !g.inside {
		g.t.Log("struck after the step")
	}
	if g.fault == hole && took > 25*time.Second {
		g.t.Errorf("a black hole was told after %v, want 25 s at most", took)
	}
	at, again := g.at, 0
	g.at = 0
	for try := 1; !g.t.Failed(); try++ {
		g.settled()
		seen := g.status()
		g.wantProposed(seen, code)
		if code == 0 || seen.State == "free" && seen.Next == 0 && g.marked("begin") > 0 {
			break
		}
		if try == 1 {
			again = seen.Next
		}
		if try == 4 {
			g.t.Errorf("not at its end after %d commands", try)
		}
		switch command := g.goOn(seen); {
		case g.t.Failed():
		case command == nil:
			code = 0
		default:
			code = g.command(noFault, command)
		}
	}
	if g.t.Failed() {
		return
	}
	g.wantDone()
	for i, s := range g.list {
		n, most := g.marked(fmt.Sprintf("begin %d", i+1)), 1
		if i+1 == again && again >= at && again <= at+1 {
			most = 2 // it was cut short, and asked for again
		}
		if s.counted && (n < 1 || n > most) {
			g.t.Errorf("step %d %s was begun %d times, want %d at most", i+1, s.name, n, most)
		}
	}
}

// wantProposed makes sure that who reads the status, and the screen of a run that
// did not get to its end, is told what to type.
func (g *cellRig) wantProposed(seen statusJSON, code int) {
	g.t.Helper()
	text := g.o.want(0, "status", "web1").out
	g.story = append(g.story, text)
	wants := []string{"free"}
	if seen.Next > 0 {
		wants = []string{seen.Run, fmt.Sprintf("step web1 --from %d", seen.Next)}
		if seen.State != "free" {
			wants = append(wants, g.o.env.User+"@"+g.o.env.Hostname)
		}
	}
	for _, want := range wants {
		if !strings.Contains(text, want) {
			g.t.Errorf("status does not say %q:\n%s", want, text)
		}
	}
	if code > 0 && seen.Next > 0 && !strings.Contains(g.screen, "step web1 --from ") && !strings.Contains(g.screen, "status web1") {
		g.t.Errorf("the screen does not say what to type:\n%s", g.screen)
	}
}
