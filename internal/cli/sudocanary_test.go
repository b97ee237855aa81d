package cli

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/config"
	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

// canary is what the password is known by, wherever it turns up.
const canary = "cánary"

// nowhere makes sure that the canary is in no file below dirs, but for those
// called secret, and for conc's own, which is this test.
func nowhere(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "conc") || d.Name() == "secret" {
				return err
			}
			text, err := os.ReadFile(path)
			if bytes.Contains(text, []byte(canary)) || bytes.Contains(text, []byte(`c\u00e1nary`)) {
				t.Errorf("the password is in %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// hoard puts the password into a file of the node's, and moves the operator's
// own out of what is searched.
func hoard(t *testing.T, o *operator, n *sshdtest.Node) (password string) {
	t.Helper()
	path := filepath.Join(n.Home, "secret")
	if err := os.WriteFile(path, []byte("x"+sudoPassword+"y\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	password = filepath.Join(t.TempDir(), "secret")
	if err := os.Rename(o.passwordFile(), password); err != nil {
		t.Fatal(err)
	}
	return password
}

// What a step comes upon elsewhere and prints is masked where it is the sudo
// password, also in pieces: in all that is kept, and all that is shown.
func TestSudoPasswordIsMasked(t *testing.T) {
	t.Parallel()
	o, n, _ := sudoNode(t, withPassword, "")
	password := hoard(t, o, n)
	const halves = `"head -c 9 secret; sleep 0.1; tail -c +10 secret >&2"`
	o.write("deploy.ini", o.ini(`
all   = remote run cat secret
root  = remote sudo run cat secret
parts = remote shell `+halves+`
both  = remote sudo shell `+halves+`
here  = local run cat `+password+`
bad   = remote sudo shell "tr -d '\\n' <secret; exit 3"
`, nil))
	for _, flags := range []string{"-v --json", "-v"} {
		r := o.want(1, append([]string{"deploy", "web1", "--sudo-password-file", password}, strings.Fields(flags)...)...)
		if got := strings.Count(r.String(), config.Masked); got < 6 || strings.Contains(r.String(), canary) {
			t.Errorf("%s: the password is masked %d times, want 6 at least, or it is not:\n%s", flags, got, r)
		}
	}
	o.want(0, "history", "web1")
	nowhere(t, n.Home, o.home, o.dir)
}

// A node whose sudo asks for none is not given the password, and cannot mask
// it; what comes from there is masked on the workstation.
func TestSudoPasswordOfAnotherNodeIsMasked(t *testing.T) {
	t.Parallel()
	o, n, _ := sudoNode(t, "conctest ALL=(ALL:ALL) NOPASSWD: ALL", "")
	password := hoard(t, o, n)
	o.write("deploy.ini", o.ini("one = remote sudo shell \"head -c 9 secret; sleep 0.1; tail -c +10 secret\"\ntwo = remote shell \"tr -d '\\\\n' <secret; exit 3\"\n", nil))
	r := o.want(1, "deploy", "web1", "-v", "--json", "--sudo-password-file", password)
	if strings.Count(r.String(), "x"+config.Masked+"y") < 2 || strings.Contains(r.String(), canary) {
		t.Errorf("the password is on the screen:\n%s", r)
	}
	nowhere(t, o.home, o.dir)
}

// No process that holds the sudo password, or a secret, leaves a core file, or
// lets another process of its account look into it.
func TestNoCoreHoldsASecret(t *testing.T) {
	for name, c := range map[string]struct {
		step string
		pids int
	}{
		"sudo":   {"sudo run sleep 66.37", 3}, // the workstation, the agent, and root's
		"secret": {`shell "sleep 66.37; : %(token)s"`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			n, o := coreNode(t)
			o.write("deploy.ini", o.ini("long = remote "+c.step+"\n", map[string]string{"token": "secret:token"}))
			cmd, stdout, stderr := o.process("deploy", "web1", "--sudo-password-file", o.passwordFile())
			cmd.Dir, cmd.Env = o.home, append(cmd.Env, "GOTRACEBACK=crash", "CONC_SECRET_TOKEN=abc")
			cmd.Args = append([]string{"sh", "-c", `ulimit -c unlimited; exec -a conc "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
			if cmd.Path, cmd.Err = exec.LookPath("bash"); cmd.Err != nil {
				t.Skip(cmd.Err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the step runs", func() bool { return running(t, "sleep\x0066.37") })
			pids := []int{cmd.Process.Pid}
			for _, pid := range n.Processes("agent") {
				if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); bytes.HasPrefix(text, []byte(".conc/bin")) {
					pids = append(pids, pid)
				}
			}
			var left []int
			scanProcesses(func(path, content string) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
				switch {
				case strings.HasPrefix(content, n.Home):
					pids = append(pids, pid)
				case strings.HasPrefix(content, "sleep\x0066.37"):
					left = append(left, pid)
				}
			}, "cmdline")
			if len(pids) != c.pids {
				t.Errorf("got the processes %v, want %d", pids, c.pids)
			}
			for _, pid := range pids {
				if err := syscall.Kill(pid, syscall.SIGABRT); err != nil {
					t.Error(err)
				}
			}
			_ = cmd.Wait()
			ws, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if ws.Signal() != syscall.SIGABRT || ws.CoreDump() {
				t.Errorf("the workstation ended by signal %v, core dumped %v\n%s%s", ws.Signal(), ws.CoreDump(), stdout, stderr)
			}
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			eventually(t, "no agent is left", func() bool { return len(n.Processes("agent")) == 0 })
			for _, dir := range []string{n.Home, o.home, o.dir} {
				if cores, _ := filepath.Glob(filepath.Join(dir, "core*")); len(cores) > 0 {
					t.Errorf("there is %v", cores)
				}
			}
		})
	}
}

// coreNode is a node whose agents dump core where a Go program can at all.
func coreNode(t *testing.T) (*sshdtest.Node, *operator) {
	t.Helper()
	o, n, _ := sudoNodeWith(t, "Defaults env_keep += GOTRACEBACK\n"+withPassword, "",
		sshdtest.Options{Shell: "/bin/bash", RC: "export GOTRACEBACK=crash; ulimit -c unlimited"})
	return n, o
}

// A line that goes in a step with sudo, and is back: the step ends as it does
// without sudo, and what comes after it needs no password to be typed again.
func TestSudoStepWhileTheLineIsGone(t *testing.T) {
	t.Parallel()
	for how, harm := range map[string]func(*testnode.Proxy){
		"finish": func(p *testnode.Proxy) { p.CutAfter(0) },
		"kill":   func(p *testnode.Proxy) { p.CutAfter(0) },
		"later": func(p *testnode.Proxy) {
			p.Refuse(true)
			p.CutAfter(0)
			time.AfterFunc(time.Second, func() { p.Refuse(false) })
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			o, n, log := sudoNode(t, withPassword, "")
			more := map[string]string{}
			nap := "1.11"
			if how == "kill" {
				more["on_disconnect"], nap = how, "67.37"
			}
			p := o.behind(`
open  = remote open_bundle
long  = remote sudo shell "echo before; touch started; sleep `+nap+`; echo after; id -u >>made"
next  = remote sudo shell "id -u >>made"
close = remote close_bundle
`, more)
			done := make(chan ran, 1)
			go func() { done <- o.run("deploy", "web1", "-v", "--json", "--sudo-password-file", o.passwordFile()) }()
			eventually(t, "the step runs", func() bool { return o.there("started") })
			if err := os.Remove(o.passwordFile()); err != nil { // it is not read again
				t.Fatal(err)
			}
			harm(p)
			r := <-done
			made, _ := os.ReadFile(filepath.Join(n.Home, "made"))
			if how == "kill" {
				if long := stepOf(t, r, 2); r.code != 7 || long["status"] != "STOPPED" || len(made) > 0 || !o.bundle() {
					t.Errorf("got exit code %d, made %q; want a step that was ended\n%s", r.code, made, r)
				}
				eventually(t, "root's child is ended", func() bool { return !running(t, "sleep\x0067.37") })
			} else {
				if allOK(t, r); string(made) != "0\n0\n" || o.bundle() {
					t.Errorf("got %q, want two steps of root's", made)
				}
				if !strings.Contains(r.String(), "after the line was back") {
					t.Errorf("it is not said when the step's end was learnt:\n%s", r)
				}
			}
			if strings.Contains(log(), "incorrect") || strings.Contains(r.String(), canary) {
				t.Errorf("sudo's log:\n%s\n%s", log(), r)
			}
			eventually(t, "no agent is left", func() bool { return len(n.Processes("agent")) == 0 })
		})
	}
}
