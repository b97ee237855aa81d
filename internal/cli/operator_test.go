package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// operator is somebody at a workstation, with a project that deploys to one node.
type operator struct {
	t    testing.TB
	dir  string // the project: deploy.ini and what it delivers
	home string
	env  environment
	node *testnode.Node

	app   App
	input string // what a command finds on standard input
}

// newOperator writes a project whose node "web1" is n, with the job list given
// as lines of [jobs:release].
func newOperator(t testing.TB, n *testnode.Node, list string) *operator {
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

// ini gives a deploy.ini for the node, with a job list and further attributes.
func (o *operator) ini(list string, more map[string]string) string {
	attrs := o.node.Attrs()
	maps.Copy(attrs, more)
	var b strings.Builder
	b.WriteString("[DEFAULT]\njobs = release\n[node:web1]\n")
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		fmt.Fprintf(&b, "%s = %s\n", k, attrs[k])
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

func (r ran) String() string { return r.out + r.err }

func (o *operator) args(args []string) []string {
	return append([]string{"-c", filepath.Join(o.dir, "deploy.ini")}, args...)
}

// run runs one command line in the project, in this process.
func (o *operator) run(args ...string) ran {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out, err bytes.Buffer
	p := &program{app: o.app, streams: Streams{In: strings.NewReader(o.input), Out: &out, Err: &err}, env: o.env}
	start := time.Now()
	code := p.main(ctx, o.args(args))
	return ran{code, out.String(), err.String(), time.Since(start)}
}

// want fails the test unless the command ended with code.
func (o *operator) want(code int, args ...string) ran {
	o.t.Helper()
	r := o.run(args...)
	if r.code != code {
		o.t.Fatalf("%s: got exit code %d, want %d\n%s", strings.Join(args, " "), r.code, code, r)
	}
	return r
}

// process is a command line in a process of its own, for what is about signals
// and memory.
func (o *operator) process(args ...string) (cmd *exec.Cmd, stdout, stderr *display) {
	cmd = exec.Command(o.env.Executable, o.args(args)...)
	cmd.Args[0] = "conc"
	cmd.Env = []string{"HOME=" + o.home, "XDG_STATE_HOME=" + filepath.Join(o.home, "state"), "PATH=" + os.Getenv("PATH")}
	stdout, stderr = &display{}, &display{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// events reads the JSON lines of a run.
func events(t testing.TB, text string) []map[string]any {
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

// bundle tells whether the node is held.
func (o *operator) bundle() bool { return o.there(o.node.Attrs()["bundle"]) }

// eventually waits for something to become true; it gives up only on what hangs.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func inProcess(t testing.TB, o testnode.Options) *testnode.Node {
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
