package cli

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode/sshdtest"
)

// desk is a workstation whose account is not root's, with real sudo: the account
// of a node, which deploys to the node that it is on.
type desk struct {
	*operator
	n   *sshdtest.Node
	dir string // its home, in the node's account
	log func() string
}

// newDesk makes one. own are the lines of sudoers, list those of [jobs:release].
func newDesk(t *testing.T, own, list string) *desk {
	t.Helper()
	o, n, log := sudoNode(t, own, "")
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip(err)
	}
	d := &desk{operator: o, n: n, dir: filepath.Join(n.Home, "desk"), log: log}
	exe, err := os.ReadFile(o.env.Executable)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.Mkdir(d.dir, 0o700), os.Mkdir(filepath.Join(d.dir, "tmp"), 0o700), os.CopyFS(filepath.Join(d.dir, ".ssh"), os.DirFS(filepath.Join(o.home, ".ssh"))),
		os.WriteFile(filepath.Join(d.dir, "conc"), exe, 0o755),
		os.WriteFile(filepath.Join(d.dir, "password"), []byte(sudoPassword+"\n"), 0o600),
		os.WriteFile(filepath.Join(d.dir, "deploy.ini"), []byte(o.ini(list, nil)), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(d.dir, func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(path, "/.ssh/") {
			err = errors.Join(err, os.Chmod(path, 0o600))
		}
		return errors.Join(err, os.Chown(path, n.UID, n.UID))
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// command is a command line at the desk; with a terminal, its keys are written
// to the pipe.
func (d *desk) command(terminal bool, line string) *exec.Cmd {
	attrs := d.node.Attrs()
	keys, _ := filepath.Glob(filepath.Join(d.home, ".ssh", "id_*[^b]"))
	args := []string{"-F", "none", "-p", attrs["sshd.port"], "-o", "UserKnownHostsFile=" + filepath.Join(d.home, ".ssh", "known_hosts"), "-o", "BatchMode=yes"}
	for _, k := range keys {
		args = append(args, "-i", k)
	}
	if terminal {
		args = append(args, "-tt")
	}
	cmd := exec.Command("ssh", append(args, d.n.User+"@"+attrs["sshd.ip"],
		"cd desk && export HOME=$PWD TMPDIR=$PWD/tmp MINE=abc PATH=$PWD/bin:$PATH && exec ./conc "+line)...)
	return cmd
}

// at runs a command line without a terminal.
func (d *desk) at(code int, line string) string {
	d.t.Helper()
	out, err := d.command(false, line).CombinedOutput()
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		d.t.Fatal(err)
	}
	if got != code {
		d.t.Fatalf("%s: got exit code %d, want %d\n%s", line, got, code, out)
	}
	return string(out)
}

// On the workstation, too, a step with sudo runs as root, be it a command or an
// op of Go's, and finds the paths and the environment that are the operator's.
func TestLocalSudo(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withPassword, `
stage = local sudo open_bundle
open  = remote open_bundle
who   = local sudo shell "id -u; echo $MINE $HOME $PATH; pwd; echo $CONC_BUNDLE; env | grep CONC_ASKPASS || echo no askpass"
mine  = local run id -u
dir   = local sudo mkdir root/only
in    = local sudo shell "echo x >$CONC_BUNDLE/of-root"
key   = local sudo shell "umask 077; echo of root >key"
put   = local sudo put key there/key
give  = local sudo deliver key
fetch = local sudo fetch there/key back/key
there = remote sudo run id -u
close = remote close_bundle
leave = local sudo close_bundle
`)
	found := watchProcesses()
	out := d.at(0, "deploy web1 -v --sudo-password-file password --local-sudo-password-file password")
	for _, want := range []string{" 0\n", "| abc " + d.dir + " " + d.dir + "/bin:", "| " + d.dir + "\n", "/.local/state/conc/bundles/web1-", "| no askpass"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in the output:\n%s", want, out)
		}
	}
	for path, uid := range map[string]int{"root": 0, "root/only": 0, "key": 0, "back/key": 0, ".local/state/conc/runs": d.n.UID, "../there/key": d.n.UID} {
		if fi, err := os.Stat(filepath.Join(d.dir, path)); err != nil || owner(fi) != uid {
			t.Errorf("%s: want one of account %d: %v", path, uid, err)
		}
	}
	if got := strings.Count(d.log(), "COMMAND="); got != 4 { // on each side the probe, and the one with the password
		t.Errorf("sudo was called %d times, want 4:\n%s", got, d.log())
	}
	if text, err := os.ReadFile(filepath.Join(d.dir, "back/key")); err != nil || string(text) != "of root\n" {
		t.Errorf("what was put and fetched back is %q, %v", text, err)
	}
	if found := found(); len(found) > 0 || strings.Contains(out, canary) {
		t.Errorf("the password is in the output, or in %v", found)
	}
	if err := os.Remove(filepath.Join(d.dir, "password")); err != nil {
		t.Fatal(err)
	}
	nowhere(t, d.n.Home)
	eventually(t, "no process is left", func() bool { return len(d.n.Processes("agent")) == 0 })
}

// NOPASSWD asks for none, and what sudo is not sure of ends before anything is
// locked, with one attempt.
func TestLocalSudoPasswords(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withPassword, oneLocal)
	d.judge(t, []passwordCase{
		{"no terminal", "", "--local-sudo-password-file", nil, 6, 0},
		{"a wrong file", "--local-sudo-password-file wrong", "sudo refused the password for conctest on this workstation", nil, 6, 1},
		{"the node's file is not for it", "--sudo-password-file password", "--local-sudo-password-file", nil, 6, 0},
		{"no step of it is asked for", "--to open", "1 of 3", nil, 0, 0},
	})
}

func TestLocalSudoPasswordOnATerminal(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withPassword, oneLocal)
	d.judge(t, []passwordCase{
		{"the second answer", "", "OK", []string{"wrong", sudoPassword}, 0, 1},
		{"an empty answer", "", "is empty", []string{""}, 6, 0},
		{"an end of input", "", "the input has ended", []string{"\x04"}, 6, 0},
	})
}

const oneLocal = "open = remote open_bundle\nwho = local sudo run id -u\nclose = remote close_bundle\n"

// passwordCase is one way to give the workstation's password, or not to.
type passwordCase struct {
	name, args, says string
	answers          []string // nil: there is no terminal
	code, wrong      int
}

func (d *desk) judge(t *testing.T, cases []passwordCase) {
	t.Helper()
	for _, c := range cases {
		before := strings.Count(d.log(), "incorrect password")
		write := os.WriteFile(filepath.Join(d.dir, "wrong"), []byte("wrong\n"), 0o600)
		if err := errors.Join(write, os.Chown(filepath.Join(d.dir, "wrong"), d.n.UID, -1)); err != nil {
			t.Fatal(err)
		}
		var out string
		if c.answers == nil {
			out = d.at(c.code, "deploy web1 "+c.args)
		} else {
			out = d.types(c.code, "deploy web1 "+c.args, c.answers...)
		}
		if !strings.Contains(out, c.says) || strings.Contains(out, "cánary") {
			t.Errorf("%s: want %q, and no password:\n%s", c.name, c.says, out)
		}
		if got := strings.Count(d.log(), "incorrect password") - before; got != c.wrong {
			t.Errorf("%s: got %d attempts in sudo's log, want %d\n%s", c.name, got, c.wrong, d.log())
		}
		if d.bundle() != (c.name == "no step of it is asked for") {
			t.Errorf("%s: the bundle is open, or it is not:\n%s", c.name, out)
		}
		_ = os.RemoveAll(filepath.Join(d.n.Home, d.node.Attrs()["bundle"]))
	}
}

// types runs a command line on a terminal, and answers its questions.
func (d *desk) types(code int, line string, answers ...string) string {
	d.t.Helper()
	cmd := d.command(true, line)
	keys, err := cmd.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	shown := &display{}
	cmd.Stdout, cmd.Stderr = shown, shown
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	defer time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	for i, a := range answers {
		eventually(d.t, "the question", func() bool {
			return strings.Count(shown.String(), "Sudo password for conctest on this workstation:") == i+1
		})
		if a != "\x04" {
			a += "\n"
		}
		if _, err := io.WriteString(keys, a); err != nil {
			d.t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != code {
		d.t.Errorf("%s: got exit code %d, want %d\n%s", line, got, code, shown)
	}
	return shown.String()
}

func TestLocalSudoThatNeedsNoPassword(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "conctest ALL=(ALL:ALL) NOPASSWD: ALL", `
long = local timeout=1s sudo run sleep 64.37
`)
	out := d.at(124, "deploy web1 --local-sudo-password-file password")
	if !strings.Contains(out, "TIMED OUT") || running(t, "sleep\x0064.37") {
		t.Errorf("root's child is still there, or it is not said:\n%s", out)
	}
	if got := strings.Count(d.log(), "COMMAND="); got != 1 {
		t.Errorf("sudo was called %d times, want 1:\n%s", got, d.log())
	}
}

// Ctrl-C twice ends what root runs, three times at once: TERM is not waited for.
// Without a terminal nobody is asked, and the process group is not sudo's.
func TestLocalSudoStepIsEnded(t *testing.T) {
	t.Parallel()
	d := newDesk(t, withPassword, "long = local sudo shell \"trap '%(term)s' TERM; touch started; while :; do sleep 0.0137; done\"\n")
	started := filepath.Join(d.dir, "started")
	for presses, term := range map[int]string{2: "exit 9", 3: "echo no"} {
		_ = os.Remove(started)
		cmd := d.command(true, "deploy web1 --local-sudo-password-file password --set 'term="+term+"'")
		keys, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		shown := &display{}
		cmd.Stdout, cmd.Stderr = shown, shown
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the step runs", func() bool { return is(started) })
		pressed(t, shown, presses, func() { _, _ = io.WriteString(keys, "\x03") })
		begun := time.Now()
		_ = cmd.Wait()
		if took := time.Since(begun); cmd.ProcessState.ExitCode() != 130 || took > 9*time.Second { // after TERM, 10 s are waited
			t.Errorf("Ctrl-C %d times: got exit code %d after %v\n%s", presses, cmd.ProcessState.ExitCode(), took, shown)
		}
		eventually(t, "root's child is gone", func() bool { return !running(t, "/bin/sh\x00-c\x00trap '"+term) })
	}
}

// A conc that is killed leaves its local step to root's process, which goes on
// with it, as one without sudo does, and tidies up.
func TestLocalSudoStepOutlivesConc(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "conctest ALL=(ALL:ALL) NOPASSWD: ALL", "long = local sudo shell \"touch started; sleep 1.0937; touch made\"\n")
	cmd := d.command(false, "deploy web1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the step runs", func() bool { return is(d.dir, "started") })
	scanProcesses(func(path, content string) {
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(path), "cwd"))
		if cwd == d.dir && strings.HasPrefix(content, "./conc\x00deploy\x00web1") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}, "cmdline")
	if err := cmd.Wait(); err == nil || is(d.dir, "made") {
		t.Errorf("got %v, want a conc that was killed in its step", err)
	}
	eventually(t, "the step's end", func() bool { return is(d.dir, "made") })
	eventually(t, "no temporary file is left", func() bool {
		left, err := os.ReadDir(filepath.Join(d.dir, "tmp"))
		return err == nil && len(left) == 0
	})
}
