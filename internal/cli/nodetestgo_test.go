package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// codeBlock gives the first block of a language in a page of the manual.
func codeBlock(t *testing.T, page, language string) string {
	t.Helper()
	_, rest, ok := strings.Cut(manualPage(t, page), ".. code-block:: "+language+"\n\n")
	if !ok {
		t.Fatalf("%s has no block of %s", page, language)
	}
	return unindented(rest)
}

func manualPage(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "manual", page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// unindented gives the block that a text begins with, without its indentation.
func unindented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		code, ok := strings.CutPrefix(line, "   ")
		if !ok && line != "\n" {
			break
		}
		if !ok {
			code = "\n"
		}
		b.WriteString(code)
	}
	return b.String()
}

// compiled is for what all projects' tests stand on, which may take minutes on a
// machine that has built nothing before.
var compiled sync.Once

// goProject makes a module of its own in the project, which requires conc, and
// gives the folder of its package smoke. It needs no network.
func (o *operator) goProject(files map[string]string) (smoke string) {
	o.t.Helper()
	if testing.Short() {
		o.t.Skip("it builds programs")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		o.t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		o.t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		o.t.Fatal(err)
	}
	text := strings.Replace(string(mod), "module example.org/conc\n", "module example.org/shop\n", 1)
	o.write("go.mod", text+"\nrequire example.org/conc v0.0.0\n\nreplace example.org/conc => "+root+"\n")
	o.write("go.sum", string(sum))
	for name, text := range files {
		o.write(filepath.Join("smoke", name), text)
	}
	compiled.Do(func() {
		cmd := exec.Command("go", "build", "example.org/conc/nodetest", "testing")
		cmd.Dir = o.dir
		cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			o.t.Errorf("%v\n%s", err, out)
		}
	})
	return filepath.Join(o.dir, "smoke")
}

// oddTests are beside the manual's own.
const oddTests = `package smoke

import (
	"os"
	"testing"
	"time"

	"example.org/conc/nodetest"
)

func TestRootsOwn(t *testing.T) {
	dir := os.TempDir()+"/root/deep"
	if r := nodetest.Sudo(t, "mkdir", "-p", dir); r.Exit != 0 {
		t.Error(r)
	}
}

func TestSub(t *testing.T) {
	t.Run("bad one", func(t *testing.T) { t.Error("this is \x1b[31mwrong") })
}

func TestHang(t *testing.T) {
	if err := os.WriteFile(t.TempDir()+"/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
}
`

// manualProject is the manual's own example. The node's "kernel parameter" is a
// file that only root can read where sudo is to be tested.
func (o *operator) manualProject(parameter string) (smoke string) {
	o.t.Helper()
	smoke = o.goProject(map[string]string{
		"smoke_test.go":   codeBlock(o.t.(*testing.T), "nodetest-go.rst", "go"),
		"odd_test.go":     oddTests,
		"testdata/schema": "7\n",
	})
	o.env.Getenv = func(name string) string {
		return map[string]string{"CONC_SECRET_DB": "s3cret-word"}[name]
	}
	attrs := map[string]string{"firewall.parameter": parameter}
	for line := range strings.Lines(codeBlock(o.t.(*testing.T), "nodetest-go.rst", "ini")) {
		key, value, ok := strings.Cut(line, "=")
		if key, value = strings.TrimSpace(key), strings.TrimSpace(value); ok && attrs[key] == "" {
			attrs[key] = strings.Replace(value, "/srv/", o.node.Home+"/", 1)
		}
	}
	for name, text := range map[string]string{"shop/schema": "7\n", "shop/shop.conf": "password=s3cret-word"} {
		path := filepath.Join(o.node.Home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			o.t.Fatal(err)
		}
	}
	text := o.ini("a = remote run true\n", attrs)
	_, again, _ := strings.Cut(text, "[node:web1]\n")
	again, _, _ = strings.Cut(again, "[jobs:")
	o.write("deploy.ini", text+"[node:web2]\n"+again+
		"[nodetest:web]\nSuite = dir /\nfirewall = sudo file "+parameter+" contains 35\n")
	return smoke
}

// wantLines fails the test unless each is somewhere in what was shown.
func (r ran) wantLines(t *testing.T, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
}

// leavesNothing looks whether all that Go tests need is gone from the node.
func (o *operator) leavesNothing() {
	o.t.Helper()
	rooms := func() []string {
		found, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc/tests/*"))
		return found
	}
	for end := time.Now().Add(15 * time.Second); len(rooms()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			o.t.Fatalf("left on the node: %v", rooms())
		}
	}
}

func TestGoTests(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	parameter := filepath.Join(o.node.Home, "ip_pkt_list_tot")
	if err := os.WriteFile(parameter, []byte("35\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	smoke := o.manualProject(parameter)
	r := o.want(1, "nodetest", "web1", "web2", "-f", "2", smoke, "--secret", "db.password", "--level", "functional",
		"--only", "TestS*", "--only", "TestPassword", "--only", "TestFirewall", "--only", "Suite", "--suite", "web")
	r.wantLines(t,
		"= "+o.node.User+"@", "1 check, and Go tests of "+smoke,
		"SKIPPED   smoke: TestSchema", "its level is migration",
		"OK        smoke: TestPassword ",
		"FAILED    smoke: TestSub ",
		"FAILED    smoke: TestSub/bad_one ", `odd_test.go:19: this is \x1b[31mwrong`,
	)
	if os.Geteuid() == 0 {
		r.wantLines(t, "OK        smoke: TestFirewall ")
	} else {
		r.wantLines(t, "SKIPPED   smoke: TestFirewall", "conc nodetest --sudo")
	}
	if n, built := strings.Count(r.out, "OK        smoke: TestPassword "), strings.Count(r.err, "building the tests of "); n != 2 || built != 1 {
		t.Errorf("got results of %d nodes and %d builds, want 2 and 1\n%s", n, built, r)
	}
	if strings.Contains(r.out, "TestHang") || strings.Contains(r.String(), "s3cret-word") {
		t.Errorf("got\n%s", r)
	}
	o.leavesNothing()
}

func TestGoTestsAreCleanedUpAfter(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	smoke := o.manualProject("/")
	// What a killed agent has left is swept.
	left := filepath.Join(o.node.Home, ".conc/tests/run-1")
	if err := os.MkdirAll(filepath.Join(left, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(left, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	// Ctrl-C, and a workstation that is no more.
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGKILL: -1} {
		cmd, out, errs := o.process("nodetest", "web1", smoke, "--only", "TestHang")
		cmd.Env = append(cmd.Env, "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "TMPDIR="+t.TempDir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running := func() bool {
			found, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc/tests/*/tmp/TestHang*/*/x"))
			return len(found) > 0
		}
		for end := time.Now().Add(time.Minute); !running(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Fatalf("the test does not begin\n%s%s", out, errs)
			}
		}
		if o.there(".conc/tests/run-1") {
			t.Error("what an agent had left is still there")
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != code {
			t.Errorf("%v: got exit code %d, want %d\n%s%s", signal, cmd.ProcessState.ExitCode(), code, out, errs)
		}
		o.leavesNothing()
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestGoTestsThatCannotBeBuilt(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.write("go.mod", "module example.org/shop\n\ngo 1.26\n")
	o.write("bad/a_test.go", "package bad\n\nfunc broken( {}\n")
	o.write("none/a.go", "package none\n")
	at := func(name string) string { return filepath.Join(o.dir, name) }
	r := o.want(6, "nodetest", "web1", at("bad"))
	r.wantLines(t, "a_test.go:3", "cannot be built", "go test -c")
	r = o.want(6, "nodetest", "web1", at("none"))
	r.wantLines(t, "has no tests", "_test.go")
	for _, args := range [][]string{
		{at("missing")},
		{at("none"), "--level", "x"},
		{at("none"), "--only", "["},
		{at("none"), "--timeout", "x"},
		{at("none"), "--secret", "x"},
		{"--sudo"},
		{"--secret", "x"},
	} {
		o.want(2, append([]string{"nodetest", "web1"}, args...)...)
	}
	o.want(2, "nodetest", at("none"))
	o.leavesNothing()
}

// The article's own example: a parameter that is read with sudo, in both ways.
func TestGoTestsWithSudo(t *testing.T) {
	t.Parallel()
	o, n, log := sudoNode(t, withPassword, "")
	parameter := filepath.Join(n.Home, "ip_pkt_list_tot")
	if err := os.WriteFile(parameter, []byte("35\n"), 0o600); err != nil { // root's
		t.Fatal(err)
	}
	smoke := o.manualProject(parameter)
	r := o.want(0, "nodetest", "web1", smoke, "--only", "TestFirewall")
	r.wantLines(t, "SKIPPED   smoke: TestFirewall", "conc nodetest --sudo")
	if strings.Contains(log(), "COMMAND=") {
		t.Errorf("sudo was called without being allowed:\n%s", log())
	}
	r = o.want(0, "nodetest", "web1", smoke, "--only", "TestFirewall", "--only", "TestRootsOwn", "--only", "firewall", "--suite", "web",
		"--sudo", "--sudo-password-file", o.passwordFile())
	r.wantLines(t, "OK        firewall ", "OK        smoke: TestFirewall ", "OK        smoke: TestRootsOwn ")
	if strings.Contains(r.String(), "cánary") {
		t.Errorf("the password is in\n%s", r)
	}
	o.leavesNothing()
	eventually(t, "no agent is left", func() bool { return len(n.Processes("agent")) == 0 })
}
