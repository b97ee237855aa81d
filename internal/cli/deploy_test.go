package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

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
			t.Errorf("step %s is not on the screen:\n%s", step, r)
		}
	}
	if got, err := os.ReadFile(filepath.Join(o.node.Home, "app.txt")); err != nil || string(got) != "release 1\n" {
		t.Errorf("got app.txt %q, %v", got, err)
	}
	if o.bundle() {
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
	if !o.bundle() {
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
}

func TestHeldNodeIsBlockedUntilItIsUnlocked(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), `
open  = remote open_bundle
stage = local  open_bundle
bad   = remote run false
`)
	o.want(1, "deploy", "web1", "-m", "back at 15:00")
	before := testTree(t, o.node.Home)
	r := o.want(3, "deploy", "web1")
	for _, want := range []string{"BLOCKED", "alice@desk7", "back at 15:00", "3/3 bad (FAILED"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("the screen of a held node does not say %q:\n%s", want, r)
		}
	}
	if after := testTree(t, o.node.Home); after != before {
		t.Errorf("a BLOCKED deploy changed the node: before\n%s\nafter\n%s", before, after)
	}
	id := regexp.MustCompile(`unlock web1 --id (\w{8})\b`).FindStringSubmatch(r.String())
	if id == nil {
		t.Fatalf("the screen does not say how to unlock:\n%s", r)
	}
	o.want(3, "unlock", "web1", "--id", "AAAAAAAA", "-y")
	o.want(3, "unlock", "web1", "--id", id[1]) // there is no terminal to confirm on
	if !o.bundle() {
		t.Fatal("unlocked without the right id and a yes")
	}
	o.want(0, "unlock", "web1", "--id", id[1], "-y")
	if o.bundle() {
		t.Error("the bundle is still there after unlock")
	}
	o.want(1, "deploy", "web1")
}

// testTree is what the node holds, but for conc's own files.
func testTree(t *testing.T, home string) string {
	t.Helper()
	list, err := testnode.Tree(home)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range list {
		if !strings.HasPrefix(f, ".conc/") {
			b.WriteString(f + "\n")
		}
	}
	return b.String()
}

func TestDeployWaitsForTheLock(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), `
open  = remote open_bundle
work  = remote shell "while [ ! -e %(bundle)s/go ]; do sleep 0.05; done"
close = remote close_bundle
`)
	first, out, errs := o.process("deploy", "web1")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bundle is open", o.bundle)
	o.want(3, "deploy", "web1", "--lock-wait", "1s")

	bundle := filepath.Join(o.node.Home, o.node.Attrs()["bundle"])
	done := make(chan ran)
	go func() { done <- o.run("deploy", "web1", "--lock-wait", "1m") }()
	time.Sleep(300 * time.Millisecond)
	if err := os.WriteFile(filepath.Join(bundle, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("the holder: %v\n%s%s", err, out, errs)
	}
	// The second has the lock now, and waits for its own sign.
	eventually(t, "the second deploy has the lock", o.bundle)
	if err := os.WriteFile(filepath.Join(bundle, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.code != 0 {
		t.Errorf("got exit code %d after the wait\n%s", r.code, r)
	}
}

func TestDeploysStartedAtOnce(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\n")
	const n = 8
	codes := make(chan int, n)
	for range n {
		go func() { codes <- o.run("deploy", "web1").code }()
	}
	count := map[int]int{}
	for range n {
		count[<-codes]++
	}
	if count[0] != 1 || count[3] != n-1 {
		t.Errorf("got exit codes %v, want one 0 and %d times 3", count, n-1)
	}
}

func TestInterruptedDeploy(t *testing.T) {
	for _, c := range []struct {
		name    string
		host    string
		signals int
		done    bool // the running step gets to its end
	}{
		{"once in a remote step", "remote", 1, true},
		{"twice in a remote step", "remote", 2, false},
		{"once in a local step", "local", 1, true},
		{"twice in a local step", "local", 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark := t.TempDir()
			o := newOperator(t, inProcess(t, testnode.Options{}), fmt.Sprintf(`
open  = remote open_bundle
work  = %s shell "touch %s/started; while [ ! -e %[2]s/go ]; do sleep 0.05; done; touch %[2]s/done"
later = remote run touch %[2]s/later
`, c.host, mark))
			has := func(name string) bool { _, err := os.Stat(filepath.Join(mark, name)); return err == nil }
			cmd, out, errs := o.process("deploy", "web1")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the step runs", func() bool { return has("started") })
			press(t, cmd, errs, c.signals)
			if c.done {
				eventually(t, "Ctrl-C is heard", func() bool { return strings.Contains(errs.String(), "stopping after this step") })
				time.Sleep(200 * time.Millisecond) // until the node knows, too
				put(t, mark, "go")
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != 130 {
				t.Errorf("got exit code %d, want 130\n%s%s", got, out, errs)
			}
			if !strings.Contains(out.String(), "STOPPED") {
				t.Errorf("STOPPED is not on the screen:\n%s", out)
			}
			if has("done") != c.done || has("later") {
				t.Errorf("got done %v, later %v, want %v, false", has("done"), has("later"), c.done)
			}
			if !o.bundle() {
				t.Error("the bundle was not kept")
			}
		})
	}
}

func TestStepOverItsLimit(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), `
slow  = remote timeout=1s shell "echo $$ >pid; sleep 60"
`)
	r := o.want(124, "deploy", "web1")
	if !strings.Contains(r.out, "TIMED OUT") {
		t.Errorf("TIMED OUT is not on the screen:\n%s", r)
	}
	text, err := os.ReadFile(filepath.Join(o.node.Home, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process group is gone", func() bool { return syscall.Kill(-pid, 0) == syscall.ESRCH })
}

func TestSecretsOfAList(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.write("deploy.ini", o.ini(`
here  = local  shell "echo local %(db.password)s | tee seen"
there = remote shell "echo remote %(db.password)s | tee seen"
`, map[string]string{"db.password": "secret:db-web1"}))
	r := o.want(6, "deploy", "web1")
	if !strings.Contains(r.String(), "CONC_SECRET_DB_WEB1") {
		t.Errorf("nothing says where the secret may come from:\n%s", r)
	}
	o.env.Getenv = func(k string) string {
		if k == "CONC_SECRET_DB_WEB1" {
			return "canary-7"
		}
		return ""
	}
	r = o.want(0, "deploy", "web1", "-v")
	if strings.Contains(r.String(), "canary-7") || !strings.Contains(r.String(), "remote ********") {
		t.Errorf("the secret is not masked:\n%s", r)
	}
	for _, file := range []string{filepath.Join(o.dir, "seen"), filepath.Join(o.node.Home, "seen")} {
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "canary-7") {
			t.Errorf("the step did not get the secret: %s: %q, %v", file, text, err)
		}
	}
	for _, dir := range []string{o.env.StateDir, filepath.Join(o.node.Home, ".conc", "runs")} {
		err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), "canary-7") {
				t.Errorf("%s holds the secret", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if r := o.want(0, "plan", "web1"); strings.Contains(r.out, "db-web1") && strings.Contains(r.out, "\x00") {
		t.Errorf("the plan shows a token:\n%s", r)
	}
}

func TestSeveralNodes(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	attrs := o.node.Attrs()
	ini := "[DEFAULT]\njobs = release\n"
	for k, v := range attrs {
		if k != "bundle" {
			ini += k + " = " + v + "\n"
		}
	}
	for i := 1; i <= 4; i++ {
		ini += fmt.Sprintf("[node:n%d]\nbundle = bundle-%[1]d\n", i)
	}
	o.write("deploy.ini", ini+`[jobs:release]
open  = remote open_bundle
work  = remote shell "test ! -e fail-%(name)s"
close = remote close_bundle
`)
	o.want(0, "deploy", "n*", "-f", "4")
	if err := os.WriteFile(filepath.Join(o.node.Home, "fail-n2"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := o.want(1, "deploy", "n*")
	for _, want := range []string{"--max-fail 1 reached", "1 OK", "1 FAILED", "2 not started"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, r)
		}
	}
	// n2 is held by the run that failed; the others are free.
	r = o.want(3, "deploy", "n*", "--max-fail", "0")
	if !strings.Contains(r.String(), "3 OK") || !strings.Contains(r.String(), "1 BLOCKED") {
		t.Errorf("want 3 OK and 1 BLOCKED:\n%s", r)
	}
}
