package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// suites are two: of what is on the node, and of what is beside deploy.ini.
const suites = `[nodetest:web]
made = file made contains %(version)s
home = dir .
[nodetest:outside]
ini = file deploy.ini contains node:web1
`

func suiteOperator(t *testing.T, list string) *operator {
	t.Helper()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.write("deploy.ini", o.ini(list, map[string]string{"nodetest": "web", "version": "it's 35"})+suites)
	return o
}

func TestASuiteAsAStep(t *testing.T) {
	t.Parallel()
	o := suiteOperator(t, `open  = remote open_bundle
make  = remote shell "echo it\\'s 35 >made"
here  = remote nodetest web
own   = remote nodetest
there = local nodetest outside
spoil = remote shell "echo no >made"
again = remote nodetest web
close = remote close_bundle
`)
	r := o.want(1, "deploy", "web1")
	for _, want := range []string{
		"3/8  here      remote  OK", "2 checks\n", "5/8  there     local   OK", "1 check\n",
		"7/8  again     remote  FAILED", "1 of 2 checks FAILED: made\n",
		"       | OK        home\n       | FAILED    made\n       |           want  contains \"it's 35\"\n",
		"       look again: conc nodetest web1 --suite web --only made\n",
		"  ran there      conc nodetest web1 --suite web ",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	// What was changed of the suite meanwhile is told, check by check.
	text, err := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	if err != nil {
		t.Fatal(err)
	}
	o.write("deploy.ini", strings.Replace(string(text), "home = dir .", "home = sudo dir /", 1))
	r = o.want(3, "step", "web1", "--from", "7")
	for _, want := range []string{
		"  step 3, here = nodetest web (2 checks):\n      was home = dir .\n      is  home = sudo dir /\n",
		"  step 7, again = nodetest web (2 checks):\n",
	} {
		if !strings.Contains(r.err, want) || strings.Contains(r.err, "step 5") {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
}

func TestPlanOfASuiteAsAStep(t *testing.T) {
	t.Parallel()
	o := suiteOperator(t, "check = remote sudo timeout=2m retry=3 nodetest\nthere = local nodetest outside\n")
	if r := o.want(0, "plan", "web1"); !strings.Contains(r.out, "sudo timeout=2m retry=3 nodetest web (2 checks)\n") {
		t.Errorf("got\n%s", r)
	}
	r := o.want(0, "plan", "web1", "--by-hand")
	if !strings.Contains(r.out, "\nconc nodetest web1 --suite web ") || !strings.Contains(r.out, "# no shell lines: nodetest outside (1 check)\n") {
		t.Errorf("got\n%s", r)
	}
	if r := o.want(0, "plan", "web1", "--json"); !strings.Contains(r.out, `"args":["web","made = file made contains '`) {
		t.Errorf("got\n%s", r)
	}
	if r := o.want(0, "ops", "nodetest"); !strings.Contains(r.out, "nodetest [SUITE]\n") {
		t.Errorf("got\n%s", r)
	}
	o.write("deploy.ini", o.ini("check = remote nodetest wbe\n", nil)+suites)
	if r := o.want(5, "deploy", "web1"); !strings.Contains(r.err, `no suite is called "wbe"; did you mean "web"?`) || o.there(".conc") {
		t.Errorf("got\n%s", r)
	}
}

// A list in Go names a suite of deploy.ini.
func TestASuiteInAListInGo(t *testing.T) {
	t.Parallel()
	o := suiteOperator(t, "")
	if err := os.WriteFile(filepath.Join(o.node.Home, "made"), []byte("it's 35"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.app.Lists = map[string]jobs.List{"go": {{Name: "check", Host: jobs.Remote, Op: nodetest.SuiteOp{Name: "web"}}}}
	o.write("deploy.ini", o.ini("a = remote run true\n", map[string]string{"nodetest": "web", "version": "it's 35"})+suites)
	if r := o.want(0, "deploy", "web1", "--jobs", "go"); !strings.Contains(r.out, "2 checks\n") {
		t.Errorf("got\n%s", r)
	}
}

// Ctrl-C ends the checks before the run, and those after it.
func TestDeployTestIsInterrupted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, suite, list, want string }{
		{"before", "slow = command -- sh -c 'touch began; sleep 60'\n", "a = remote run true\n", "interrupted before the first step"},
		{"after", "slow = command -- sh -c 'test -e done || exit 0; touch began; sleep 60'\n", "a = remote shell 'touch done'\n", "interrupted while the checks after the last step were made"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newOperator(t, inProcess(t, testnode.Options{}), "")
			o.write("deploy.ini", o.ini(tt.list, map[string]string{"nodetest": "web"})+"[nodetest:web]\n"+tt.suite)
			cmd, out, errs := o.process("deploy", "web1", "--test")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the check is made", func() bool { return o.there("began") })
			begun := time.Now()
			_ = cmd.Process.Signal(syscall.SIGINT)
			_ = cmd.Wait()
			if cmd.ProcessState.ExitCode() != 130 || !strings.Contains(out.String(), tt.want) || time.Since(begun) > 20*time.Second {
				t.Errorf("got %d after %v\n%s%s", cmd.ProcessState.ExitCode(), time.Since(begun), out, errs)
			}
			if o.there("done") != (tt.name == "after") {
				t.Error("the step was run, or was not")
			}
		})
	}
}

// The line that went in between is got back, for the checks after the run too.
func TestDeployTestAfterTheLineWasBack(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	list := "open = remote open_bundle\nclose = remote close_bundle\nwait = local shell 'touch here; while test -e here; do sleep 0.02; done'\n"
	proxy := o.behind(list, map[string]string{"nodetest": "web", "timeout.reconnect": "20s"})
	text, err := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	if err != nil {
		t.Fatal(err)
	}
	o.write("deploy.ini", string(text)+"[nodetest:web]\nhome = dir .\n")
	done := make(chan ran, 1)
	go func() { done <- o.run("deploy", "web1", "--test") }()
	here := filepath.Join(o.dir, "here")
	eventually(t, "the local step", func() bool { _, err := os.Stat(here); return err == nil })
	proxy.CutAfter(0)
	if err := os.Remove(here); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.code != 0 || !strings.Contains(r.out, "checks of web, after: 1 OK") || proxy.Accepted() != 2 {
		t.Errorf("got %d, %d connections\n%s", r.code, proxy.Accepted(), r)
	}
}

// What a check stands on is revealed where it is made, and nowhere else.
func TestSecretsOfASuite(t *testing.T) {
	t.Parallel()
	const secret = "it's \"hunter2\" = $x"
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.env.Getenv = func(key string) string { return map[string]string{"CONC_SECRET_DB": secret}[key] }
	if err := os.WriteFile(filepath.Join(o.node.Home, "has"), []byte("pw="+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.write("deploy.ini", o.ini("check = remote nodetest web\nspoil = remote shell 'echo no >has'\nagain = remote nodetest web\n",
		map[string]string{"nodetest": "web", "pw": "secret:db"})+"[nodetest:web]\nhas = file has contains %(pw)s\nlacks = file has lacks %(pw)s\n")
	var said strings.Builder
	for _, args := range [][]string{{"deploy", "web1", "-v"}, {"deploy", "web1", "--test", "--json", "-v"}, {"plan", "web1", "--json"}} {
		r := o.run(args...)
		said.WriteString(r.String())
		if r.code == 5 || strings.Contains(r.String(), "hunter2") {
			t.Errorf("%s: got %d\n%s", args, r.code, r)
		}
	}
	if !strings.Contains(said.String(), "1 of 2 checks FAILED: lacks") || !strings.Contains(said.String(), "          want  lacks \"********\"") {
		t.Errorf("got\n%s", said.String())
	}
	for _, root := range []string{filepath.Join(o.node.Home, ".conc"), o.env.StateDir} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || strings.Contains(path, "/bin/") {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), "hunter2") {
				t.Errorf("the secret is in %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// Several nodes at once each have their own.
func TestDeployTestOfSeveralNodes(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	more := map[string]string{"nodetest": "web", "mark": "mine"}
	first := o.ini("open = remote open_bundle\ngone = remote shell 'rm -f %(mark)s'\nclose = remote close_bundle\n", more)
	more["mark"], more["bundle"] = "other", "other-bundle"
	second := o.ini("", more)
	second = strings.Replace(second[strings.Index(second, "[node:"):strings.Index(second, "[jobs:")], "web1", "web2", 1)
	o.write("deploy.ini", first+second+"[nodetest:web]\nthere = file %(mark)s exists\n")
	if err := os.WriteFile(filepath.Join(o.node.Home, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.want(1, "deploy", "web1", "web2", "--test", "--lock-all", "--max-fail", "0")
	if err := os.WriteFile(filepath.Join(o.node.Home, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := o.want(1, "deploy", "web1", "web2", "--test", "-f", "2", "--max-fail", "0")
	for _, want := range []string{
		"web1  checks of web, after: 1 FAILED", "web1  FAILED    there ", "web1            want  ",
		"web2  checks of web, before: 1 FAILED", "web2    known from here on: there\n", "web2  checks of web, after: 1 known",
		"web1  FAILED  3/3", "1 of 1 check FAILED: there", "1 OK, 1 FAILED   again: ",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
}

// A check with sudo is made as root, wherever it stands; what sudo wants is
// proved before the lock is taken.
func TestASuiteWithSudo(t *testing.T) {
	t.Parallel()
	const suite = "[nodetest:web]\nown = sudo file root-only contains 35\nwho = command stdout lacks uid=0 -- id\n"
	o, n, log := sudoNode(t, withPassword, "")
	o.write("deploy.ini", o.ini("open = remote open_bundle\ncheck = remote nodetest web\nclose = remote close_bundle\n", map[string]string{"nodetest": "web"})+suite)
	if err := os.WriteFile(filepath.Join(n.Home, "root-only"), []byte("35\n"), 0o600); err != nil { // root's
		t.Fatal(err)
	}
	if r := o.want(6, "deploy", "web1"); o.bundle() || !strings.Contains(r.String(), "sudo wants a password") {
		t.Errorf("got\n%s", r)
	}
	r := o.want(0, "deploy", "web1", "--test", "--sudo-password-file", o.passwordFile())
	for _, want := range []string{"checks of web, before: 2 OK", "2/3  check", "checks of web, after: 2 OK"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	if got := strings.Count(log(), "COMMAND="); got != 3 || strings.Contains(r.String(), "cánary") { // the probe of each run, and the password
		t.Errorf("sudo was called %d times, want 3, or the password is in the output:\n%s", got, r)
	}
}

func TestALocalSuiteWithSudo(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withPassword, "open = remote open_bundle\nown = local nodetest outside\nclose = remote close_bundle\n"+
		"[nodetest:outside]\nroots = sudo file root-only contains 35\nmine = command stdout contains desk -- pwd\n")
	if err := os.WriteFile(filepath.Join(d.dir, "root-only"), []byte("35\n"), 0o600); err != nil { // root's
		t.Fatal(err)
	}
	if out := d.at(6, "deploy web1"); d.bundle() || !strings.Contains(out, "--local-sudo-password-file") {
		t.Errorf("got\n%s", out)
	}
	if out := d.at(0, "deploy web1 --local-sudo-password-file password"); !strings.Contains(out, "2 checks") || strings.Contains(out, "cánary") {
		t.Errorf("got\n%s", out)
	}
}
