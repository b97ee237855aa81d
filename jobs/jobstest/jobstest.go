// Package jobstest holds the conformance suite of the ops: cases that must end
// the same way on either host, however the host is reached. The tests of jobs
// run it in this process; those of the agent, over a pipe and over ssh.
package jobstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
)

// Host is an end that steps can be run on.
type Host struct {
	Host jobs.Host
	// Perform runs the plan's one step in the home, whose bundle is home/BundleName,
	// for Owner, with Secret. It returns the result and all of the output.
	Perform func(t *testing.T, plan *jobs.Plan, home string) (jobs.Result, string)
}

// BundleName is the bundle, below the home.
const BundleName = "shop-bundle"

// Owner is who runs the cases.
func Owner() bundle.Owner {
	return bundle.Owner{V: 1, Run: "01JCONFORMANCE00000000000A", User: "alice", Host: "desk7", Node: "web1", List: "conformance"}
}

// Secret knows one secret, "db".
func Secret(name string) (string, error) {
	if name != "db" {
		return "", os.ErrNotExist
	}
	return "hunter2-hunter2", nil
}

// Case is one op, and how it must end.
type Case struct {
	Name    string
	Words   []string
	Files   map[string]string // made in the home before; a name that ends in / is a directory
	Timeout time.Duration     // 0 is a minute

	Want    jobs.Status
	Exit    int
	Signal  int
	Message string // part of the message
	Output  string // all of it
	After   string // a path below the home that must be there afterwards; "!x" must not
}

// Cases is the suite.
func Cases() []Case {
	sh := func(line string) []string { return []string{"shell", line} }
	return []Case{
		{Name: "run", Words: []string{"run", "printf", "%s|", "a b", "$HOME"}, Want: jobs.OK, Output: "a b|$HOME|"},
		{Name: "run starts at home", Words: []string{"run", "bin/x"}, Files: map[string]string{"bin/x": "#!/bin/sh\ncat here\n", "here": "yes"}, Want: jobs.OK, Output: "yes"},
		{Name: "run, not there", Words: []string{"run", "no-such-program"}, Want: jobs.Errored, Message: "could not be run"},
		{Name: "exit 3", Words: sh("exit 3"), Want: jobs.Failed, Exit: 3, Message: "exit 3"},
		{Name: "killed", Words: sh("kill -9 $$"), Want: jobs.Failed, Signal: 9, Message: "signal 9 (killed)"},
		{Name: "stderr is no failure", Words: sh("echo oops >&2"), Want: jobs.OK, Output: "oops\n"},
		{Name: "stdin is empty", Words: []string{"run", "cat"}, Want: jobs.OK},
		{Name: "any bytes", Words: sh(`printf '\000\033[2J\377\r\n'`), Want: jobs.OK, Output: "\x00\x1b[2J\xff\r\n"},
		{Name: "environment", Words: sh(`echo $CONC_NODE $CONC_STEP ${CONC_BUNDLE##*/} $CONC_RUN`), Want: jobs.OK, Output: "web1 1 " + BundleName + " " + Owner().Run + "\n"},
		{Name: "a secret", Words: sh("test " + config.SecretToken("db") + " = hunter2-hunter2 && echo it is " + config.SecretToken("db")), Want: jobs.OK, Output: "it is " + config.Masked + "\n"},
		{Name: "over its limit", Words: sh("echo begun; sleep 60"), Timeout: 300 * time.Millisecond, Want: jobs.TimedOut, Message: "over its limit of 300ms", Output: "begun\n"},
		{Name: "port, over its limit", Words: []string{"wait_port", "127.0.0.1:1"}, Timeout: 100 * time.Millisecond, Want: jobs.TimedOut, Message: "refused"},
		{Name: "open_bundle", Words: []string{"open_bundle"}, Want: jobs.OK, After: BundleName + "/" + bundle.OwnerFile},
		{Name: "open_bundle, held", Words: []string{"open_bundle"}, Files: map[string]string{BundleName + "/": ""}, Want: jobs.Blocked, Message: "owner unknown"},
		{Name: "close_bundle, not ours", Words: []string{"close_bundle"}, Files: map[string]string{BundleName + "/x": ""}, Want: jobs.Errored, Message: "lock lost", After: BundleName + "/x"},
		{Name: "close_bundle, none", Words: []string{"close_bundle"}, Want: jobs.Errored, Message: "lock lost"},
		{Name: "mkdir", Words: []string{"mkdir", "a/b"}, Want: jobs.OK, After: "a/b"},
		{Name: "remove", Words: []string{"remove", "a"}, Files: map[string]string{"a/b/c": "x"}, Want: jobs.OK, After: "!a"},
		{Name: "untar, none", Words: []string{"untar", "bundle:x-*.tar.gz"}, Files: map[string]string{BundleName + "/": ""}, Want: jobs.Blocked},
		{Name: "untar, several", Words: []string{"untar", "bundle:x-*.tar"}, Files: map[string]string{BundleName + "/x-1.tar": "", BundleName + "/x-2.tar": ""}, Want: jobs.Blocked, Message: "x-1.tar, x-2.tar"},
		{Name: "untar, no archive", Words: []string{"untar", "bundle:x-*.tar.gz"}, Files: map[string]string{BundleName + "/x-1.tar.gz": "nonsense"}, Want: jobs.Failed},
	}
}

// Run runs every case on a host.
func Run(t *testing.T, h Host) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			home := t.TempDir()
			for name, text := range c.Files {
				plant(t, filepath.Join(home, name), text, strings.HasSuffix(name, "/"))
			}
			r, out := h.Perform(t, c.plan(t, h.Host), home)
			if r.Status != c.Want || r.Exit != c.Exit || r.Signal != c.Signal || !strings.Contains(r.Message, c.Message) || r.Step != 1 {
				t.Errorf("got %+v, want %s, exit %d, signal %d, %q", r, c.Want, c.Exit, c.Signal, c.Message)
			}
			if out != c.Output {
				t.Errorf("got output %q, want %q", out, c.Output)
			}
			if r.Bytes != int64(len(c.Output)) {
				t.Errorf("got %d bytes counted, want %d", r.Bytes, len(c.Output))
			}
			path, gone := strings.CutPrefix(c.After, "!")
			if _, err := os.Lstat(filepath.Join(home, path)); (err == nil) == gone {
				t.Errorf("afterwards %s: %v", c.After, err)
			}
		})
	}
}

// plan is the plan of a case: its one step.
func (c Case) plan(t *testing.T, host jobs.Host) *jobs.Plan {
	t.Helper()
	node := config.NewNode("web1", map[string]string{"bundle": BundleName, "admin": "deploy"})
	spec := jobs.Spec{Name: c.Name, Host: host, Timeout: time.Minute, Words: c.Words}
	if c.Timeout > 0 {
		spec.Timeout = c.Timeout
	}
	plan, err := jobs.Planner{Catalogue: jobs.Stock()}.Rebuild(node, "conformance", []jobs.Spec{spec})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// plant makes a file that can be run, or a directory.
func plant(t *testing.T, path, text string, dir bool) {
	t.Helper()
	if dir {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
