package cli

import (
	"bytes"
	"debug/elf"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

// beginner is somebody in an empty folder, with conc's sources beside it.
type beginner struct {
	*operator
	path string // the PATH of the commands
	says string // the file with what the node's uname prints
	at   string // the attributes of the node in deploy.ini
}

func newBeginner(t *testing.T) *beginner {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds programs")
	}
	bin := t.TempDir()
	n := &beginner{path: os.Getenv("PATH"), says: filepath.Join(bin, "says")}
	uname := "#!/bin/sh\ncat " + n.says + "\n"
	if err := os.WriteFile(filepath.Join(bin, "uname"), []byte(uname), 0o755); err != nil {
		t.Fatal(err)
	}
	n.operator = newOperator(t, inProcess(t, testnode.Options{Env: []string{"PATH=" + bin + ":" + n.path}}), "")
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	n.dir = filepath.Join(t.TempDir(), "hello")
	if err := errors.Join(os.Mkdir(n.dir, 0o755), os.Symlink(root, filepath.Join(n.dir, "..", "conc"))); err != nil {
		t.Fatal(err)
	}
	return n
}

// sh runs one line in the folder, as it is typed. It needs no network.
func (n *beginner) sh(line string) ran {
	n.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir = n.dir
	cmd.Env = []string{
		"HOME=" + n.home, "XDG_STATE_HOME=" + filepath.Join(n.home, "state"), "XDG_CACHE_HOME=" + filepath.Join(n.home, "cache"),
		"PATH=" + n.path, "TMPDIR=" + n.t.TempDir(), "GOPROXY=off", "GOTOOLCHAIN=local", "GOFLAGS=-trimpath -ldflags=-s", // or what it stands on is built anew for each folder
		"GOCACHE=" + goEnv(n.t.(*testing.T), "GOCACHE"), "GOMODCACHE=" + goEnv(n.t.(*testing.T), "GOMODCACHE"),
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return ran{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
}

// must fails the test unless a line ended with code.
func (n *beginner) must(code int, line string) ran {
	n.t.Helper()
	r := n.sh(line)
	if r.code != code {
		n.t.Fatalf("%s: got exit code %d, want %d\n%s", line, r.code, code, r)
	}
	return r
}

// follow does what a page of the manual says, from its top: it writes the files
// that have a caption, and types the lines that begin with a dollar.
func (n *beginner) follow(page string) {
	n.t.Helper()
	n.at = attributes(n.node)
	for _, block := range strings.Split(manualPage(n.t.(*testing.T), page), ".. code-block:: ")[1:] {
		language, rest, _ := strings.Cut(block, "\n")
		caption := ""
		if first, after, _ := strings.Cut(rest, "\n"); strings.HasPrefix(first, "   :caption: ") {
			caption, rest = strings.TrimPrefix(first, "   :caption: "), after
		}
		text := unindented(strings.TrimPrefix(rest, "\n"))
		switch {
		case language == "console":
			for line := range strings.Lines(text) {
				if typed, ok := strings.CutPrefix(line, "$ "); ok {
					n.must(0, typed)
					// Whoever works on conc while this test runs changes what it stands on.
					_ = os.Chtimes(filepath.Join(n.dir, "hello"), time.Time{}, time.Now().Add(time.Hour))
				}
			}
		case caption == "deploy.ini, at its end":
			was, err := os.ReadFile(filepath.Join(n.dir, "deploy.ini"))
			if err != nil {
				n.t.Fatal(err)
			}
			n.write("deploy.ini", strings.TrimSpace(string(was))+"\n"+text)
		case caption != "":
			n.write(caption, strings.Replace(text, "sshd.ip = 192.0.2.11\n", n.at, 1))
		}
	}
}

// attributes are the lines of deploy.ini that say where a node is.
func attributes(node *testnode.Node) string {
	var lines strings.Builder
	attrs := node.Attrs()
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		if key != "bundle" {
			lines.WriteString(key + " = " + attrs[key] + "\n")
		}
	}
	return lines.String()
}

// goesTo has the beginner use another node from now on.
func (n *beginner) goesTo(node *testnode.Node) {
	n.t.Helper()
	ini := n.read(filepath.Join(n.dir, "deploy.ini"))
	if !strings.Contains(ini, n.at) {
		n.t.Fatalf("deploy.ini does not say\n%s", n.at)
	}
	n.write("deploy.ini", strings.Replace(ini, n.at, attributes(node), 1))
	n.node, n.at = node, attributes(node)
	ssh := filepath.Join(n.home, ".ssh")
	if err := errors.Join(os.RemoveAll(ssh), os.CopyFS(ssh, os.DirFS(node.SSHDir)), os.Chmod(filepath.Join(ssh, filepath.Base(node.KeyFile)), 0o600)); err != nil {
		n.t.Fatal(err)
	}
}

// wantGreetings looks for what the page's op has written, on both hosts.
func (n *beginner) wantGreetings() {
	n.t.Helper()
	for file, want := range map[string]string{
		filepath.Join(n.node.Home, "hello.txt"):    "hello, web1\nhello, web1\nhello, web1\n",
		filepath.Join(n.dir, "hello.txt"):          "hello, me\n",
		filepath.Join(n.node.Home, "farewell.txt"): "hello, and good bye\nhello, and good bye\n",
	} {
		if got := n.read(file); got != want {
			n.t.Errorf("%s: got %q, want %q", file, got, want)
		}
	}
}

func (n *beginner) read(file string) string {
	n.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		n.t.Fatal(err)
	}
	return string(text)
}

// platform makes the node one that says it is of another platform, and has never
// been deployed to.
func (n *beginner) platform(uname string) {
	n.t.Helper()
	if err := errors.Join(os.WriteFile(n.says, []byte(uname+"\n"), 0o644), os.RemoveAll(filepath.Join(n.node.Home, ".conc", "bin"))); err != nil {
		n.t.Fatal(err)
	}
}

// agents gives for which machines the node has agents.
func (n *beginner) agents() (machines []elf.Machine) {
	n.t.Helper()
	files, _ := filepath.Glob(filepath.Join(n.node.Home, ".conc", "bin", "conc-*"))
	for _, name := range files {
		f, err := elf.Open(name)
		if err != nil {
			n.t.Fatal(err)
		}
		machines = append(machines, f.Machine)
		_ = f.Close()
	}
	return machines
}

// A newcomer who follows the page has an op, a list and a check of their own
// running on a node.
func TestYourOwnDeployProgram(t *testing.T) {
	t.Parallel()
	n := newBeginner(t)
	own, err := exec.Command("uname", "-s", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	n.platform(strings.TrimSpace(string(own)))
	n.follow("program.rst")

	n.wantGreetings()
	n.must(0, "./hello nodetest web1").wantLines(t, "right", "there")
	n.must(0, "./hello ops greet").wantLines(t, "greet FILE whom=NAME [times=N]", "write a greeting into a file")
	n.must(0, "./hello ops greeting").wantLines(t, "greeting FILE whom=NAME [times=N]")
	n.must(0, "./hello history --json").wantLines(t, `"program":{"name":"hello"`)
	n.must(0, "./hello version").wantLines(t, "hello, conc "+Version)

	ini := n.read(filepath.Join(n.dir, "deploy.ini"))
	for slip, want := range map[string]string{"tiems=3": `unknown argument "tiems"; did you mean "times"?`, "times=11": "times is from 1 to 10"} {
		n.write("deploy.ini", strings.Replace(ini, "whom=%(name)s times=3", "whom=%(name)s "+slip, 1))
		if r := n.must(5, "./hello plan web1"); !strings.Contains(r.err, `deploy.ini:`) || !strings.Contains(r.err, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	n.write("deploy.ini", ini)
	t.Run("over sshd", n.testOverSSHD)
	if os.Getenv("CONC_PLATFORMS") == "1" { // it takes minutes where nothing is in Go's cache
		t.Run("another platform", n.testPlatforms)
	}
}

// What the page has led to, on a node with an sshd and an account of its own.
func (n *beginner) testOverSSHD(t *testing.T) {
	demo := n.node
	n.goesTo(&sshdtest.Start(t, sshdtest.Options{}).Node)
	defer n.goesTo(demo)
	if err := os.Remove(filepath.Join(n.dir, "hello.txt")); err != nil {
		t.Fatal(err)
	}
	n.must(0, "./hello trust web1")
	n.must(0, "./hello deploy web1")
	n.must(0, "./hello nodetest web1").wantLines(t, "right", "there")
	n.must(0, "./hello deploy web1 --jobs farewell")
	n.wantGreetings()
}

// A node of another platform gets a program that is built for that, or a refusal
// that names the command to run.
func (n *beginner) testPlatforms(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("it needs a machine that runs programs of two platforms")
	}
	withGo := n.path
	n.platform("Linux aarch64")
	n.path = "/bin" // where no go is
	if _, err := exec.LookPath("/bin/go"); err == nil {
		t.Skip("there is a go in /bin")
	}
	n.must(0, `rm -rf "$XDG_CACHE_HOME"`) // of the page's own build-agent
	r := n.must(6, "./hello deploy web1")
	if !strings.Contains(r.String(), "hello build-agent --os linux --arch arm64") || !strings.Contains(r.String(), "there is no go on this workstation") ||
		len(n.agents()) > 0 {
		t.Errorf("the refusal does not name the command:\n%s", r)
	}
	n.path = withGo

	n.platform("Linux i686")
	n.must(0, "./hello deploy web1")
	if got := n.agents(); len(got) != 1 || got[0] != elf.EM_386 {
		t.Errorf("got agents for %v", got)
	}
	r = n.must(0, "./hello deploy web1")
	if strings.Contains(r.err, "building") {
		t.Errorf("it is built again:\n%s", r)
	}
	// It says that it is arm64, and is not: the kernel's words are nobody's help.
	n.platform("Linux aarch64")
	r = n.must(6, "./hello deploy web1")
	if got := n.agents(); len(got) != 1 || got[0] != elf.EM_AARCH64 {
		t.Errorf("got agents for %v", got)
	}
	if !strings.Contains(r.err, "building the agent for linux/arm64") || !strings.Contains(r.String(), "it does not run a program that is built for that") ||
		!strings.Contains(r.String(), "hello build-agent --os") || strings.Contains(strings.ToLower(r.String()), "exec format") {
		t.Errorf("got\n%s", r)
	}
	// Sources that have changed since are another program.
	old := time.Now().Add(-24 * 365 * 10 * time.Hour)
	if err := os.Chtimes(filepath.Join(n.dir, "hello"), old, old); err != nil {
		t.Fatal(err)
	}
	if r = n.must(6, "./hello build-agent --arch riscv64"); !strings.Contains(r.err, "have changed since this program was built") {
		t.Errorf("got\n%s", r)
	}
	n.must(2, "./hello build-agent")
	n.must(2, "./hello build-agent --arch amd64")
	n.must(2, "./hello build-agent --arch ../x")
}
