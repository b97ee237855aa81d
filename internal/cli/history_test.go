package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// shortID is the id of the one run whose directory is in the state directory.
func (o *operator) shortID() string {
	o.t.Helper()
	found, _ := filepath.Glob(filepath.Join(o.env.StateDir, "runs", "*"))
	if len(found) != 1 {
		o.t.Fatalf("got runs %v, want one", found)
	}
	return found[0][len(found[0])-8:]
}

func (r ran) mustSay(t *testing.T, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(r.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, r)
		}
	}
}

// A run that failed, had a step done by hand, and was gone on with from another
// workstation: what each of them and the node have on record of it.
func TestHistory(t *testing.T) {
	mark := t.TempDir()
	list := counted(mark, "c", "echo the wheel; printf 'is \\x1b[31mbroken'; exit 3")
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	o.write("deploy.ini", o.ini(list, map[string]string{"version": "1.4.2"}))
	o.want(0, "history").mustSay(t, "no run is on record")
	o.want(1, "deploy", "web1")
	run := o.shortID()

	before, _ := o.node.Sessions()
	o.want(0, "history").mustSay(t, run, "web1", "release", "1.4.2", "alice@desk7", "4/8", "FAILED")
	o.want(0, "history", run).mustSay(t, "run "+run+"  web1", "by alice@desk7", "FAILED, 4 of 8 steps", "log.jsonl",
		"4/8  b        local   OK", "5/8  c        remote  FAILED", "exit 3", "6/8  d        remote  not started")
	o.want(0, "history", strings.ToLower(run), "--step", "c").mustSay(t, "the wheel\nis ", `\x1b[31mbroken`+"\n")
	o.want(0, "history", run, "--step", "4").mustSay(t, "no output of step 4 b")
	o.want(2, "history", run, "--step", "nonsense")
	o.want(2, "history", "--step", "4")
	if after, _ := o.node.Sessions(); after != before {
		t.Error("the node was connected to")
	}

	bob := *o
	bob.env.User, bob.env.Hostname, bob.env.StateDir = "bob", "desk8", t.TempDir()
	bob.want(0, "mark", "web1", "c", "OK", "--note", "built by hand")
	bob.want(0, "step", "web1", "--from", "d", "--take-over")
	for _, who := range []*operator{o, &bob} {
		who.want(0, "history", "web1").mustSay(t, run, "8/8", "OK", "alice@desk7", "gone on with by bob@desk8; 1 step marked by hand")
		who.want(0, "history", "web1", run).mustSay(t, "gone on", "by bob@desk8, from step 6", "built by hand", "OK, 8 of 8 steps")
		r := who.want(0, "history", "web1", run, "--step", "c")
		if r.out != "the wheel\nis \\x1b[31mbroken\n" {
			t.Errorf("got the output %q", r.out)
		}
	}
	o.want(2, "history", "web1", "AAAAAAAA").mustSay(t, "no run AAAAAAAA is on record")

	all := events(t, o.want(0, "history", "web1", run, "--json").out)
	if len(all) != 1 || all[0]["type"] != "past_run" || all[0]["status"] != "OK" || len(all[0]["began"].([]any)) != 2 || len(all[0]["steps"].([]any)) != 8 {
		t.Errorf("got %v", all)
	}
	out := events(t, o.want(0, "history", run, "--step", "c", "--json").out)
	if len(out) != 1 || out[0]["output"] != "the wheel\nis \\x1b[31mbroken" {
		t.Errorf("got %v", out)
	}
}

// No more than the last 20 runs are listed, the newest first.
func TestHistoryIsBounded(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "a = remote run true\n")
	o.want(0, "deploy", "web1")
	first, _ := filepath.Glob(filepath.Join(o.env.StateDir, "runs", "*"))
	for i := range 30 {
		dir := filepath.Join(o.env.StateDir, "runs", fmt.Sprintf("00000000000000000000000%03d", i))
		if err := os.CopyFS(dir, os.DirFS(first[0])); err != nil {
			t.Fatal(err)
		}
	}
	r := o.want(0, "history")
	if n := strings.Count(r.out, "\n"); n != 1+historyRuns || strings.Contains(r.out, "00000003") || !strings.Contains(r.out, "00000029") {
		t.Errorf("got %d lines, want a head and %d of the newest runs:\n%s", n, historyRuns, r)
	}
	r = o.want(0, "history", "web1")
	if n := strings.Count(r.out, "\n"); n != 1+historyRuns {
		t.Errorf("of the node: got %d lines", n)
	}
}

// A node that does not answer: what is here is shown, and the error told.
func TestHistoryOfANodeThatIsDown(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "a = remote run true\n")
	o.want(0, "deploy", "web1")
	run := o.shortID()
	o.write("deploy.ini", o.ini("a = remote run true\n", map[string]string{"sshd.port": "1"}))
	o.want(4, "history", "web1").mustSay(t, run, "1/1", "web1")
}

// Damage in one run's records does not hide the others.
func TestHistoryWithDamage(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "a = remote run true\n")
	o.want(0, "deploy", "web1")
	run := o.shortID()
	dir := filepath.Join(o.env.StateDir, "runs", "00000000000000000000000001")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "web1.journal")
	if err := os.WriteFile(filepath.Join(dir, "web1.journal"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.want(0, "history").mustSay(t, run, "damaged")
}

// A run that was gone on with as another release is listed as the one that it
// is now; the run's own page says what it was.
func TestHistoryHasTheLastRelease(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.write("deploy.ini", o.ini("open = remote open_bundle\na = remote run test %(version)s = 1.5\n", map[string]string{"version": "1.4"}))
	o.want(1, "deploy", "web1")
	run := o.shortID()
	o.want(0, "--set", "version=1.5", "step", "web1", "--from", "a", "--changed")
	for _, args := range [][]string{{"history"}, {"history", "web1"}} {
		if r := o.want(0, args...); !strings.Contains(r.out, "1.5") || strings.Contains(r.out, "1.4") {
			t.Errorf("%v: got\n%s", args, r)
		}
	}
	o.want(0, "history", "web1", run).mustSay(t, "release  1.5", "from step 2; the version was 1.4, and is 1.5")
	e := events(t, o.want(0, "history", "--json").out)[0]
	if began := e["began"].([]any); e["release"] != "1.5" || began[0].(map[string]any)["release"] != "1.4" {
		t.Errorf("got %v", e)
	}
}

// A log that is no file is waited for by nobody.
func TestLogThatIsNoFile(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\na = remote run false\n")
	o.want(1, "deploy", "web1")
	found, _ := filepath.Glob(filepath.Join(o.env.StateDir, "runs", "*", "log.jsonl"))
	if len(found) != 1 || os.Remove(found[0]) != nil || syscall.Mkfifo(found[0], 0o600) != nil {
		t.Fatalf("got logs %v", found)
	}
	run := o.shortID()
	for code, args := range map[int][]string{0: {"history"}, 6: {"step", "web1", "--from", "a"}} {
		if r := o.want(code, args...); r.took > time.Minute {
			t.Errorf("%v took %s", args, r.took)
		} else {
			r.mustSay(t, "it is not a regular file")
		}
	}
	o.want(0, "status", "web1").mustSay(t, "FAILED")
	o.want(6, "step").mustSay(t, "name the node")
	o.want(0, "unlock", "web1", "--id", run, "-y")
}
