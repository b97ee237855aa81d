package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// read gives the marks that the steps have left, in order: "begin 3".
func (g *rig) read() []string {
	g.t.Helper()
	text, err := os.ReadFile(g.marks())
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")[:strings.Count(string(text), "\n")]
}

// marked counts the marks of a kind, or one mark: "begin", "begin 3".
func (g *rig) marked(mark string) int {
	n := 0
	for _, m := range g.read() {
		if m == mark || strings.HasPrefix(m, mark+" ") {
			n++
		}
	}
	return n
}

func (g *rig) begun(n int) bool { return g.marked(fmt.Sprintf("begin %d", n)) > 0 }
func (g *rig) ended(n int) bool { return g.marked(fmt.Sprintf("end %d", n)) > 0 }

// wantExplained compares what status says of each step with its marks.
func (g *rig) wantExplained(seen statusJSON) {
	g.t.Helper()
	if seen.State == "free" && seen.Next == 0 {
		return // before its first step, or after its last
	}
	if seen.State == "at work" || seen.State == "unknown" || seen.State == "held" {
		g.t.Errorf("status: got state %q of a run whose agent has ended", seen.State)
	}
	if len(seen.Steps) != len(g.list) {
		g.t.Errorf("status: got %d steps, want %d", len(seen.Steps), len(g.list))
		return
	}
	notOK := 0
	for i, s := range seen.Steps {
		n := i + 1
		if s.Status != jobs.OK && notOK == 0 {
			notOK = n
		}
		if notOK > 0 && n > notOK && s.Status != "" {
			g.t.Errorf("status: step %d is %s, and step %d before it is not OK", n, s.Status, notOK)
		}
		if !g.list[i].counted {
			continue
		}
		begun, ended := g.begun(n), g.ended(n)
		wrong := false
		switch {
		case s.Doubt: // anything may be the case
		case s.Status == jobs.OK:
			wrong = !ended
		case s.Status == "":
			wrong = begun
		case s.Status == jobs.Failed:
			wrong = ended || !begun
		}
		if wrong {
			g.t.Errorf("status: step %d is %q; in fact it began: %v, and got to its end: %v", n, s.Status, begun, ended)
		}
	}
	if seen.Next != notOK && (seen.State != "free" || seen.Next != notOK+1) { // a close in doubt, and the bundle is gone
		g.t.Errorf("status: the next step is %d, want %d", seen.Next, notOK)
	}
}

// wantDone checks a run that was taken to its end.
func (g *rig) wantDone() {
	g.t.Helper()
	last := 0
	for _, m := range g.read() {
		var kind string
		var n int
		if _, err := fmt.Sscan(m, &kind, &n); err != nil || n < last {
			g.t.Errorf("out of order: %q after step %d", m, last)
		}
		last = n
		if kind == "damaged" {
			g.t.Errorf("step %d found a delivered file damaged", n)
		}
	}
	for i, s := range g.list {
		if n := g.marked(fmt.Sprintf("end %d", i+1)); s.counted && n != 1 {
			g.t.Errorf("step %d got to its end %d times, want once", i+1, n)
		}
	}
	if g.o.bundle() {
		g.t.Error("the bundle is still open on the node")
	}
	if left, _ := filepath.Glob(filepath.Join(g.o.env.StateDir, "bundles", "*")); len(left) > 0 {
		g.t.Errorf("left on the workstation: %v", left)
	}
	g.wantNothingTemporary(g.o.node.Home)
	g.wantNothingTemporary(g.o.env.StateDir)
	g.wantJournalsToAgree()
}

func (g *rig) wantNothingTemporary(dir string) {
	g.t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".conc-") {
			g.t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		g.t.Error(err)
	}
}

// wantJournalsToAgree reads the records of the run as status does.
func (g *rig) wantJournalsToAgree() {
	g.t.Helper()
	node, here := g.journals()
	if len(node) == 0 || len(here) == 0 {
		g.t.Fatalf("got journals %v on the node and %v here", node, here)
	}
	read := func(path string) []jobs.Record {
		records, _, err := runner.ReadJournal(path)
		if err != nil {
			g.t.Error(err)
		}
		return records
	}
	// An earlier run may have ended before it took the lock.
	s := runner.Fold(runner.Merge(read(node[len(node)-1]), read(here[len(here)-1])))
	if len(s.Steps) != len(g.list) {
		g.t.Errorf("journals: got %d steps, want %d", len(s.Steps), len(g.list))
	}
	for _, step := range s.Steps {
		if step.Doubt && step.Name == "close" {
			continue // the agent was killed in it: the bundle is gone, which answers it
		}
		if step.Status != jobs.OK || step.Doubt {
			g.t.Errorf("journals: step %d is %q, in doubt %v; want OK", step.N, step.Status, step.Doubt)
		}
	}
}

// journals gives the paths of the journals, the oldest run's first.
func (g *rig) journals() (node, here []string) {
	node, _ = filepath.Glob(filepath.Join(g.o.node.Home, ".conc", "runs", "*", "journal"))
	here, _ = filepath.Glob(filepath.Join(g.o.env.StateDir, "runs", "*", "web1.journal"))
	return node, here
}

// evidence is all that is known of a run.
func (g *rig) evidence() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the list:\n%s\nthe marks:\n%s\n\nwhat happened:\n%s\n", g.text(), strings.Join(g.read(), "\n"), strings.Join(g.story, "\n"))
	node, here := g.journals()
	for _, path := range append(node, here...) {
		text, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s: %v\n%s\n", path, err, text)
	}
	return b.String()
}
