package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// operator is somebody at a workstation, with a project that deploys to one node.
type operator struct {
	t    *testing.T
	dir  string // the project: deploy.ini and what it delivers
	home string
	env  environment
	node *testnode.Node
}

// newOperator writes a project whose node "web1" is n, with the job list given
// as lines of [jobs:release].
func newOperator(t *testing.T, n *testnode.Node, list string) *operator {
	t.Helper()
	home := t.TempDir()
	if err := os.CopyFS(filepath.Join(home, ".ssh"), os.DirFS(n.SSHDir)); err != nil {
		t.Fatal(err)
	}
	keys, _ := filepath.Glob(filepath.Join(home, ".ssh", "id_*"))
	for _, k := range keys {
		if err := os.Chmod(k, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{t: t, dir: t.TempDir(), home: home, node: n, env: environment{
		Home: home, StateDir: filepath.Join(home, "state", "conc"), Executable: exe,
		User: "alice", Hostname: "desk7", Getenv: func(string) string { return "" }, Now: time.Now,
	}}
	o.write("deploy.ini", o.ini(list, nil))
	return o
}

// ini gives a deploy.ini for the node, with further attributes.
func (o *operator) ini(list string, more map[string]string) string {
	attrs := o.node.Attrs()
	maps.Copy(attrs, more)
	var b strings.Builder
	b.WriteString("[DEFAULT]\njobs = release\n[node:web1]\n")
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		fmt.Fprintf(&b, "%s = %s\n", k, strings.ReplaceAll(attrs[k], "%", "%%"))
	}
	return b.String() + "[jobs:release]\n" + list
}

func (o *operator) write(name, text string) {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		o.t.Fatal(err)
	}
}

// ran is what a command line came to.
type ran struct {
	code     int
	out, err string
	took     time.Duration
}

// run runs one command line in the project, as a process would.
func (o *operator) run(args ...string) ran {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out, err bytes.Buffer
	p := &program{streams: Streams{In: strings.NewReader(""), Out: &out, Err: &err}, env: o.env}
	start := time.Now()
	code := p.main(ctx, append([]string{"-c", filepath.Join(o.dir, "deploy.ini")}, args...))
	return ran{code, out.String(), err.String(), time.Since(start)}
}

// want fails the test unless the command ended with code.
func (o *operator) want(code int, args ...string) ran {
	o.t.Helper()
	r := o.run(args...)
	if r.code != code {
		o.t.Fatalf("%s: got exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// events reads the JSON lines of a run.
func events(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(text) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("not a line of JSON: %q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// there tells whether a path is on the node, relative to its home.
func (o *operator) there(path string) bool {
	_, err := os.Lstat(filepath.Join(o.node.Home, path))
	return err == nil
}

func inProcess(t *testing.T, o testnode.Options) *testnode.Node {
	t.Helper()
	n, err := testnode.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestDeployRunsTheListOnBothHosts(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), `
open    = remote open_bundle
stage   = local  open_bundle
deliver = local  deliver app.txt
move    = remote run mv %(bundle)s/app.txt app.txt
close   = remote close_bundle
unstage = local  close_bundle
`)
	o.write("app.txt", "release 1\n")
	r := o.want(0, "deploy", "web1")
	for _, step := range []string{"open", "stage", "deliver", "move", "close", "unstage"} {
		if !strings.Contains(r.out, step) {
			t.Errorf("step %s is not on the screen:\n%s", step, r.out)
		}
	}
	if got, err := os.ReadFile(filepath.Join(o.node.Home, "app.txt")); err != nil || string(got) != "release 1\n" {
		t.Errorf("got app.txt %q, %v", got, err)
	}
	if o.there(o.node.Attrs()["bundle"]) {
		t.Error("the bundle is still open")
	}
	left, _ := filepath.Glob(filepath.Join(o.env.StateDir, "bundles", "*"))
	if len(left) != 0 {
		t.Errorf("the local bundle is still open: %v", left)
	}
}

func TestDeployStopsAtTheFirstStepThatIsNotOK(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), `
open  = remote open_bundle
bad   = remote shell "echo one; echo two >&2; exit 3"
later = remote run touch later
close = remote close_bundle
`)
	r := o.want(1, "deploy", "web1", "--json")
	all := events(t, r.out)
	last := all[len(all)-1]
	if last["type"] != "run_end" || last["code"] != 1.0 {
		t.Errorf("got last event %v, want run_end with code 1", last)
	}
	if o.there("later") {
		t.Error("a step after the failed one was run")
	}
	if !o.there(o.node.Attrs()["bundle"]) {
		t.Error("the bundle was not kept")
	}
	var statuses []string
	for _, e := range all {
		if e["type"] == "step" {
			statuses = append(statuses, fmt.Sprint(e["step"], " ", e["status"]))
		}
	}
	if got, want := strings.Join(statuses, ", "), "1 OK, 2 FAILED"; got != want {
		t.Errorf("got steps %s, want %s", got, want)
	}

	r = o.want(3, "deploy", "web1")
	for _, want := range []string{"BLOCKED", "alice@desk7", " unlock web1 --id "} {
		if !strings.Contains(r.out+r.err, want) {
			t.Errorf("the screen of a held node does not say %q:\n%s%s", want, r.out, r.err)
		}
	}
	_, id, _ := strings.Cut(r.out+r.err, "unlock web1 --id ")
	id = id[:8]
	o.want(0, "unlock", "web1", "--id", id, "-y")
	if o.there(o.node.Attrs()["bundle"]) {
		t.Error("the bundle is still there after unlock")
	}
	o.want(1, "deploy", "web1")
}
