package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

const testedList = `open  = remote open_bundle
make  = remote shell 'touch made; rm -f old'
close = remote close_bundle
`

const testedSuite = `[nodetest:web]
made = file made exists
old  = file old exists
home = dir .
gone = file never exists
`

// testedOperator has a node with a suite: of its checks, the first is OK after
// the list only, the second before it only, the third always, the last never.
func testedOperator(t *testing.T) *operator {
	t.Helper()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.write("deploy.ini", o.ini(testedList, map[string]string{"nodetest": "web"})+testedSuite)
	return o
}

func TestDeployTest(t *testing.T) {
	t.Parallel()
	o := testedOperator(t)
	// A first release: all that it brings is missing before.
	r := o.want(0, "deploy", "web1", "--test")
	for _, want := range []string{
		"checks of web, before: 1 OK, 3 FAILED", "known from here on: made, old, gone\n\n1/3  open",
		"checks of web, after: 2 OK, 2 known", "known from before: old, gone\n",
		"OK  web1  3 of 3 steps, 4 checks, 2 known  ",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	if strings.Contains(r.out, "want ") {
		t.Errorf("what is known is told at length:\n%s", r)
	}
	if err := os.WriteFile(filepath.Join(o.node.Home, "old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r = o.want(1, "deploy", "web1", "--test")
	for _, want := range []string{
		"checks of web, before: 3 OK, 1 FAILED", "known from here on: gone\n",
		"checks of web, after: 2 OK, 1 FAILED, 1 known", "FAILED    old ", "          want  ",
		"FAILED  web1  3 of 3 steps; the checks after them are not OK.\n  1 of 4 checks FAILED: old (it was not so before; 1 more known from before)\n",
		"  test again     conc -c " + filepath.Join(o.dir, "deploy.ini") + " nodetest web1 --only old\n",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	if strings.Contains(r.out, "FAILED    gone ") || o.bundle() {
		t.Errorf("a known failure is told as if it was one, or the bundle is open:\n%s", r)
	}
	for _, args := range [][]string{{"history"}, {"history", "web1"}} {
		h := o.want(0, args...)
		if lines := strings.Split(h.out, "\n"); !strings.Contains(lines[1], "FAILED") || !strings.Contains(lines[2], "OK") {
			t.Errorf("%s:\n%s", args, h)
		}
	}
	run := o.newestRun()
	if h := o.want(0, "history", "web1", run); !strings.Contains(h.out, "checks    web: 1 of 4 checks FAILED: old; 1 more known from before\n") {
		t.Errorf("history:\n%s", h)
	}
}

// newestRun gives the id of the newest run of this workstation, from the node's records.
func (o *operator) newestRun() string {
	o.t.Helper()
	past := events(o.t, o.want(0, "history", "--json").out)
	return past[0]["run"].(string)
}

func TestDeployTestForPrograms(t *testing.T) {
	t.Parallel()
	o := testedOperator(t)
	if err := os.WriteFile(filepath.Join(o.node.Home, "old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var tests []map[string]any
	all := events(t, o.want(1, "deploy", "web1", "--test", "--json").out)
	for i, e := range all {
		if e["type"] == "tests" {
			tests = append(tests, e)
		}
		if e["type"] == "step" && len(tests) != 1 {
			t.Errorf("line %d: a step, after %d suites", i, len(tests))
		}
	}
	if len(tests) != 2 || tests[0]["when"] != "before" || tests[1]["when"] != "after" || tests[1]["status"] != "FAILED" || tests[1]["known"] != 1.0 {
		t.Fatalf("got %v", tests)
	}
	old := tests[1]["checks"].([]any)[1].(map[string]any)
	if old["name"] != "old" || old["status"] != "FAILED" || old["want"] == nil || old["known"] != nil {
		t.Errorf("got %v", old)
	}
	for _, e := range all {
		if e["type"] == "node_end" && (e["status"] != "FAILED" || e["code"] != 1.0 || e["done"] != 3.0) {
			t.Errorf("got %v", e)
		}
	}
}

// The second suite says nothing of a run that did not come to its end.
func TestDeployTestOfARunThatFails(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.write("deploy.ini", o.ini("open = remote open_bundle\nno = remote run false\n", map[string]string{"nodetest": "web"})+testedSuite)
	r := o.want(1, "deploy", "web1", "--test")
	if strings.Contains(r.out, "after:") || !strings.Contains(r.err, "the checks of the suite web were not made again: the run is not OK") {
		t.Errorf("got\n%s", r)
	}
}

func TestDeployTestWithoutASuite(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "a = remote run true\n")
	r := o.want(5, "deploy", "web1", "--test")
	if !strings.Contains(r.err, `the node "web1" has no suite of checks`) || o.there(".conc") {
		t.Errorf("got\n%s", r)
	}
}

// The checks before the run use the connection that the run has.
func TestDeployTestDialsOnce(t *testing.T) {
	t.Parallel()
	o := testedOperator(t)
	proxy := o.behind(testedList, map[string]string{"nodetest": "web"})
	ini, err := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	if err != nil {
		t.Fatal(err)
	}
	o.write("deploy.ini", string(ini)+testedSuite)
	o.want(0, "deploy", "web1", "--test")
	if n := proxy.Accepted(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}
