package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/conc/config"
	"example.org/conc/internal/rehearsal"
	"example.org/conc/internal/testnode"
	"example.org/conc/jobs"
)

// rehearser is an operator with a project whose node nobody ever reaches.
func rehearser(t *testing.T, list string) *operator {
	t.Helper()
	o := newOperator(t, &testnode.Node{SSHDir: t.TempDir()}, "")
	o.write("deploy.ini", `[DEFAULT]
bundle = shop-bundle
jobs = release
[node:web1]
sshd.ip = 192.0.2.11
sshd.jump = ops@192.0.2.1:22
admin = shop
[jobs:release]
`+list)
	o.write("big", strings.Repeat("0123456789abcdef", 8<<10))
	o.write("shop.conf.tmpl", "name = {{attr \"name\"}}\n")
	return o
}

// rehearsed runs rehearse --json, and reads what it says.
func (o *operator) rehearsed(code int, args ...string) rehearsalJSON {
	o.t.Helper()
	r := o.want(code, append([]string{"rehearse", "web1", "--json"}, args...)...)
	var j rehearsalJSON
	line, _, _ := strings.Cut(r.out, "\n")
	if err := json.Unmarshal([]byte(line), &j); err != nil {
		o.t.Fatalf("%v\n%s", err, r)
	}
	return j
}

func TestRehearse(t *testing.T) {
	t.Parallel()
	o := rehearser(t, `open = remote open_bundle
deliver = local deliver big shop.conf.tmpl
conf = remote template shop.conf.tmpl shop.conf
restart = remote sudo run systemctl restart shop
look = local hold "is it well?"
close = remote close_bundle
[rehearse]
stub = systemctl
files = node
`)
	o.write("node/shop.conf", "name = old\n")
	j := o.rehearsed(0, "--fault", "kill", "--fault", "full")
	if len(j.Violations) > 0 || len(j.Steps) != 6 {
		t.Errorf("got %+v", j)
	}
	if got := j.Steps[2].Faults["full"]; got != "ok" {
		t.Errorf("template, full: got %q, want ok", got)
	}
	// The node's disk, too, while the workstation delivers.
	if got := j.Steps[1].Faults["full"]; got != "ok" {
		t.Errorf("deliver, full: got %q, want ok", got)
	}
	if got := j.Steps[3].Faults["full"]; got != "-" {
		t.Errorf("a step that writes no file, full: got %q, want -", got)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "conc-rehearse-*", "x")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A copy that is not atomic is named, by the files that it tears.
func TestRehearseFindsATornFile(t *testing.T) {
	t.Parallel()
	o := rehearser(t, `open = remote open_bundle
deliver = local deliver big
copy = remote run cp shop-bundle/big target
after = remote run true
close = remote close_bundle
`)
	j := o.rehearsed(1, "--fault", "kill", "--fault", "full")
	for _, v := range j.Violations {
		if v.Step != 3 || v.Name != "copy" || !slices.Contains(v.Paths, "target") {
			t.Errorf("got %+v, want one of copy, of target", v)
		}
	}
	if f := j.Steps[2].Faults; f["kill"] != "violation" || f["full"] != "violation" {
		t.Errorf("copy: got %v", f)
	}
	if f := j.Steps[3].Faults; f["kill"] != "ok" {
		t.Errorf("the step after it: got %v", f)
	}
}

func TestRehearseOtherFindings(t *testing.T) {
	t.Parallel()
	t.Run("a bundle that stays open", func(t *testing.T) {
		t.Parallel()
		j := rehearser(t, "open = remote open_bundle\nwork = remote run true\n").rehearsed(1, "--fault", "fail")
		if len(j.Violations) != 1 || !strings.Contains(j.Violations[0].Message, "still open") {
			t.Errorf("got %+v", j.Violations)
		}
	})
	t.Run("the workstation's bundle stays open", func(t *testing.T) {
		t.Parallel()
		j := rehearser(t, "open = remote open_bundle\nstage = local open_bundle\nclose = remote close_bundle\n").rehearsed(1, "--fault", "fail")
		if len(j.Violations) != 1 || !strings.Contains(j.Violations[0].Message, "workstation is still open") {
			t.Errorf("got %+v", j.Violations)
		}
	})
	t.Run("a lock that is let go too early", func(t *testing.T) {
		t.Parallel()
		j := rehearser(t, "open = remote open_bundle\nclose = remote close_bundle\nlate = remote run mkdir late\nlook = remote run true\n").rehearsed(1, "--fault", "fail")
		if len(j.Violations) != 1 || j.Violations[0].Name != "late" || !strings.Contains(j.Violations[0].Message, "no bundle is open") {
			t.Errorf("got %+v", j.Violations)
		}
	})
	t.Run("a lock that is never taken", func(t *testing.T) {
		t.Parallel()
		j := rehearser(t, "restart = remote run systemctl restart shop\n[rehearse]\nstub = systemctl\n").rehearsed(1, "--fault", "fail")
		if len(j.Violations) != 1 || j.Violations[0].Name != "restart" || !slices.Contains(j.Violations[0].Paths, "called: systemctl restart shop") {
			t.Errorf("got %+v", j.Violations)
		}
	})
	t.Run("an exit status that is swallowed", func(t *testing.T) {
		t.Parallel()
		j := rehearser(t, `open = remote open_bundle
stop = remote sudo run systemctl stop shop
start = remote shell "systemctl start shop || true"
tell = local shell "announce shop | cat"
close = remote close_bundle
[rehearse]
stub = systemctl announce
`).rehearsed(1, "--fault", "fail")
		var named []string
		for _, v := range j.Violations {
			named = append(named, v.Name)
		}
		if !slices.Equal(named, []string{"start", "tell"}) || j.Steps[1].Faults["fail"] != "ok" {
			t.Errorf("got %+v", j)
		}
	})
	t.Run("a list that does not get to its end", func(t *testing.T) {
		t.Parallel()
		r := rehearser(t, "open = remote open_bundle\nwork = remote run false\nclose = remote close_bundle\n").want(1, "rehearse", "web1", "--fault", "fail")
		if !strings.Contains(r.err, "step 2 work") {
			t.Errorf("the step is not named:\n%s", r)
		}
	})
	t.Run("no such fault", func(t *testing.T) {
		t.Parallel()
		rehearser(t, "open = remote open_bundle\n").want(2, "rehearse", "--fault", "fire")
	})
	t.Run("not repeated behind one's back", func(t *testing.T) {
		t.Parallel()
		j := rehearser(t, "open = remote open_bundle\nadd = remote run sync-it\nclose = remote close_bundle\n[rehearse]\nstub = sync-it\n").
			rehearsed(0, "--fault", "kill")
		if len(j.Violations) > 0 {
			t.Errorf("got %+v", j.Violations)
		}
	})
}

// The table is what the plan and the verdicts are, within 80 columns.
func TestRehearsalText(t *testing.T) {
	plan := &jobs.Plan{Node: config.NewNode("web1", nil), List: "release", Steps: []jobs.Step{
		{N: 1, Job: jobs.Job{Name: "open", Host: jobs.Remote}},
		{N: 2, Job: jobs.Job{Name: "a step with a name that is far too long", Host: jobs.Local}},
	}}
	ok := rehearsal.Stood
	r := &rehearsal.Report{Plan: plan, Faults: rehearsal.Faults, Verdicts: [][]rehearsal.Verdict{
		{ok, ok, ok, ok, ok, ok, rehearsal.Nothing}, {ok, ok, ok, rehearsal.Broken, ok, ok, ok},
	}, Violations: []rehearsal.Violation{{Step: 2, Name: "a step with a name that is far too long", Fault: rehearsal.Kill, Text: "it is torn", Paths: []string{"etc/\x1bconf"}}}}
	want := `web1  list release, 2 steps

                                   fail  hang  cut   kill  gone  stop  full
  1  remote  open                  ok    ok    ok    ok    ok    ok    -
  2  local   a step with a name …  ok    ok    ok    NO    ok    ok    ok

step 2 a step with a name that is far too long, kill:
  it is torn
    etc/\x1bconf

1 violation
`
	if got := rehearsalText(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The article's list stands every fault at each of its steps. It takes minutes:
//
//	CONC_MATRIX=1 go test ./internal/cli -run TestRehearseTheArticle -count=1 -timeout 1h
func TestRehearseTheArticle(t *testing.T) {
	if os.Getenv("CONC_MATRIX") == "" {
		t.Skip("without CONC_MATRIX")
	}
	o := rehearser(t, "")
	o.node.Host, o.node.Port, o.node.User, o.node.OpKey = "192.0.2.11", 22, "shop", "shop"
	o.article()
	cmd, out, errs := o.process("rehearse", "web1") // for longer than any other command line may take
	start := time.Now()
	err := cmd.Run()
	t.Logf("%v\n%s%s", time.Since(start), out, errs)
	if err != nil {
		t.Errorf("got %v, want no violation", err)
	}
}

// With one node at a time a list may use what there is one of on this machine: a
// port, here a directory.
func TestRehearseOneNodeAtATime(t *testing.T) {
	t.Parallel()
	o := rehearser(t, `open = remote open_bundle
only = remote shell "mkdir %(one)s && sleep 0.2 && rmdir %(one)s"
close = remote close_bundle
`)
	o.rehearsed(0, "--forks", "1", "--fault", "fail", "--fault", "cut", "--set", "one="+filepath.Join(t.TempDir(), "port"))
}

// A number of nodes that is typed is judged, and none is not "as many as you like".
func TestRehearseRefusesNoNodes(t *testing.T) {
	t.Parallel()
	o := rehearser(t, "open = remote open_bundle\nclose = remote close_bundle\n")
	for _, args := range [][]string{{"--forks", "0"}, {"--forks=-1"}, {"--limit", "0s"}} {
		r := o.want(exitUsage, append([]string{"rehearse", "web1"}, args...)...)
		if !strings.Contains(r.err, "--forks is at least 1, and --limit over 0") {
			t.Errorf("%v: got\n%s", args, r)
		}
	}
}

// What comes into the folder meanwhile, such as this command's own output, is no
// difference that a step makes.
func TestRehearseInAFolderThatIsWrittenTo(t *testing.T) {
	t.Parallel()
	o := rehearser(t, "open = remote open_bundle\nclose = remote close_bundle\n")
	progress, err := os.Create(filepath.Join(o.dir, "progress"))
	if err != nil {
		t.Fatal(err)
	}
	defer progress.Close()
	cmd, stdout, _ := o.process("rehearse", "web1", "--fault", "fail", "--fault", "gone", "--forks", "1")
	cmd.Stderr = progress
	if err := cmd.Run(); err != nil {
		t.Errorf("%v\n%s", err, stdout)
	}
}

// Ctrl-C ends a rehearsal, in words for people, and what was made for it is gone.
func TestRehearseInterrupted(t *testing.T) {
	t.Parallel()
	o := rehearser(t, "open = remote open_bundle\nwait = remote run sleep 600\nclose = remote close_bundle\n")
	tmp := t.TempDir()
	cmd, stdout, stderr := o.process("rehearse", "web1")
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is under way", func() bool {
		made, _ := filepath.Glob(filepath.Join(tmp, "conc-rehearse-*", "0*", "node"))
		return len(made) > 0
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != exitInterrupted || !strings.Contains(stderr.String(), "interrupted: there is no verdict") {
		t.Errorf("got exit code %d\n%s%s", got, stdout, stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "conc-rehearse-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A list that goes back needs a release to go back from.
func TestRehearseWhatComesBefore(t *testing.T) {
	t.Parallel()
	o := rehearser(t, `open = remote open_bundle
make = remote run mkdir %(made)s
close = remote close_bundle
[jobs:back]
open = remote open_bundle
gone = remote run rmdir 1.0
next = remote run rmdir 1.1
close = remote close_bundle
[rehearse]
before back = release made=1.0 release made=1.1
`)
	if j := o.rehearsed(0, "--jobs", "back", "--fault", "kill", "--set", "made=nothing"); len(j.Violations) > 0 {
		t.Errorf("got %+v", j)
	}
	ini, err := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	if err != nil {
		t.Fatal(err)
	}
	o.write("deploy.ini", strings.Replace(string(ini), "made=1.1", "made=/no/1.1", 1))
	if r := o.want(1, "rehearse", "web1", "--jobs", "back", "--set", "made=nothing"); !strings.Contains(r.err, "the list release, which comes before") {
		t.Errorf("got\n%s", r)
	}
}
