package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"example.org/conc/internal/testnode/sshdtest"
)

// sudoPassword is a hard one: quotes, spaces, what shells and config files take
// for themselves, and UTF-8.
const sudoPassword = `  cánary'"$HOME\n%(x)s #;` + "`id` "

// sudoNode is an operator whose account has to call sudo on the node. rules are
// the account's lines of sudoers, in which LOG is the file that sudo logs to.
func sudoNode(t *testing.T, rules, list string) (o *operator, n *sshdtest.Node, log func() string) {
	t.Helper()
	return sudoNodeWith(t, rules, list, sshdtest.Options{})
}

// sudoNodeWith is sudoNode with further options of the node.
func sudoNodeWith(t *testing.T, rules, list string, with sshdtest.Options) (o *operator, n *sshdtest.Node, log func() string) {
	t.Helper()
	for _, program := range []string{"sudo", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CONC_REQUIRE_SSHD") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	openssl := exec.Command("openssl", "passwd", "-6", "-salt", "conc", "-stdin") // its arguments are looked through
	openssl.Stdin = strings.NewReader(sudoPassword + "\n")
	hash, err := openssl.Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sudo.log")
	with.ShadowHash = strings.TrimSpace(string(hash))
	with.Sudoers = "Defaults logfile=" + file + ", env_reset\n" + rules
	n = sshdtest.Start(t, with)
	o = newOperator(t, &n.Node, list)
	o.writePassword(sudoPassword)
	return o, n, func() string {
		text, _ := os.ReadFile(file)
		return string(text)
	}
}

func (o *operator) writePassword(text string) {
	o.t.Helper()
	if err := os.WriteFile(o.passwordFile(), []byte(text+"\n"), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *operator) passwordFile() string { return filepath.Join(o.dir, "password") }

const withPassword = "conctest ALL=(ALL:ALL) ALL"

func TestSudoWithAPassword(t *testing.T) {
	for _, pty := range []string{"use_pty", "!use_pty"} {
		t.Run(pty, func(t *testing.T) {
			o, n, log := sudoNode(t, "Defaults "+pty+"\n"+withPassword, `
open  = remote open_bundle
who   = remote sudo run id -u
mine  = remote run id -u
dir   = remote sudo mkdir root/only
put   = remote shell "head -c 3000000 /dev/zero | tr '\\0' x"
big   = remote sudo shell "head -c 3000000 /dev/zero | tr '\\0' y; echo; echo the end"
env   = remote sudo shell "env; cat"
close = remote sudo close_bundle
`)
			r := o.want(0, "deploy", "web1", "-v", "--sudo-password-file", o.passwordFile())
			if !strings.Contains(r.String(), " 0\n") {
				t.Errorf("id -u as root is not in the output:\n%.2000s", r)
			}
			if !strings.Contains(r.String(), fmt.Sprintf(" %d\n", n.UID)) {
				t.Errorf("id -u as the account is not in the output:\n%.2000s", r)
			}
			if strings.Contains(r.String(), "cánary") || strings.Contains(r.String(), "CONC_ASKPASS") {
				t.Error("the password, or the way to it, is in the output")
			}
			fi, err := os.Stat(filepath.Join(n.Home, "root/only"))
			if err != nil || owner(fi) != 0 {
				t.Errorf("got %v, want a directory of root's: an op of Go's", err)
			}
			if got := strings.Count(log(), "COMMAND="); got != 2 { // the probe, and the one with the password
				t.Errorf("sudo was called %d times, want 2:\n%s", got, log())
			}
			for _, name := range []string{"journal", "state.json", "out-02.log"} {
				files, _ := filepath.Glob(filepath.Join(n.Home, ".conc/runs/*", name))
				if len(files) != 1 {
					t.Fatalf("%s: got %v", name, files)
				}
				if fi, err := os.Stat(files[0]); err != nil || owner(fi) != n.UID {
					t.Errorf("%s is not the account's own: %v", name, err)
				}
			}
			if files, _ := filepath.Glob(filepath.Join(n.Home, ".conc/runs/*/out-06.log")); len(files) == 1 {
				if fi, err := os.Stat(files[0]); err != nil || fi.Size() != 3000000+len64("\nthe end\n") {
					t.Errorf("the log of a large output: got %v bytes, %v", fi.Size(), err)
				}
			}
			eventually(t, "no agent is left", func() bool { return len(n.Processes("agent")) == 0 })
		})
	}
}

func len64(s string) int64 { return int64(len(s)) }

func TestSudoRefusesAPassword(t *testing.T) {
	o, _, log := sudoNode(t, withPassword, "open = remote open_bundle\nwho = remote sudo run id -u\n")
	o.writePassword("wrong")
	r := o.want(6, "deploy", "web1", "--sudo-password-file", o.passwordFile())
	if !strings.Contains(r.String(), "sudo refused the password") || o.bundle() {
		t.Errorf("want a refusal before the lock:\n%s", r)
	}
	if got := strings.Count(log(), "incorrect password attempt"); got != 1 || !strings.Contains(log(), "1 incorrect password attempt") {
		t.Errorf("want one attempt in sudo's log:\n%s", log())
	}
	for name, text := range map[string]string{"empty": "", "with NUL": "a\x00b"} {
		o.writePassword(text)
		if r := o.want(6, "deploy", "web1", "--sudo-password-file", o.passwordFile()); o.bundle() {
			t.Errorf("%s: the bundle is open:\n%s", name, r)
		}
	}
	if err := os.Chmod(o.passwordFile(), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := o.want(6, "deploy", "web1", "--sudo-password-file", o.passwordFile()); !strings.Contains(r.err, "chmod 600") {
		t.Errorf("a file that others may read is not refused:\n%s", r)
	}
	if r := o.want(6, "deploy", "web1"); !strings.Contains(r.String(), "--sudo-password-file") {
		t.Errorf("without a terminal it is not said what to give:\n%s", r)
	}
	if o.want(0, "deploy", "web1", "--to", "open", "--sudo-password-file", o.passwordFile()); !o.bundle() {
		t.Error("a run without a sudo step needs no password")
	}
}

func TestSudoThatNeedsNoPassword(t *testing.T) {
	o, n, log := sudoNode(t, "conctest ALL=(ALL:ALL) NOPASSWD: ALL", `
who = remote sudo shell "id -u; env; cat; tr '\\0' ' ' </proc/$PPID/environ"
`)
	r := o.want(0, "deploy", "web1", "-v", "--sudo-password-file", o.passwordFile())
	if strings.Contains(r.String(), "cánary") || strings.Contains(r.String(), "CONC_ASKPASS") {
		t.Errorf("the password came to a node that does not ask for it:\n%s", r)
	}
	if got := strings.Count(log(), "COMMAND="); got != 1 {
		t.Errorf("sudo was called %d times, want 1:\n%s", got, log())
	}
	eventually(t, "no agent is left", func() bool { return len(n.Processes("agent")) == 0 })
}

func TestSudoThatDoesNotAllowIt(t *testing.T) {
	for name, rules := range map[string]string{
		"not in sudoers": "",
		"one command":    "conctest ALL=(ALL:ALL) /usr/bin/id",
		"needs a tty":    "Defaults requiretty\n" + withPassword,
	} {
		t.Run(name, func(t *testing.T) {
			o, _, _ := sudoNode(t, rules, "open = remote open_bundle\nwho = remote sudo run id -u\n")
			r := o.want(6, "deploy", "web1", "--sudo-password-file", o.passwordFile())
			if !strings.Contains(r.String(), "sudo does not start conc as root") || o.bundle() {
				t.Errorf("want a refusal before the lock, with sudo's words:\n%s", r)
			}
		})
	}
}

func TestSudoThatIsNotThere(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{Config: []string{"SetEnv PATH=bin"}})
	if n.UID == 0 || !sshdtest.Root() {
		t.Skip("needs a node without sudo")
	}
	bin := filepath.Join(n.Home, "bin") // with what the start of an agent takes
	if err := errors.Join(os.Mkdir(bin, 0o755), os.Symlink("/bin/uname", filepath.Join(bin, "uname"))); err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, &n.Node, "open = remote open_bundle\nwho = remote sudo run id -u\n")
	if r := o.want(6, "deploy", "web1"); !strings.Contains(r.String(), "sudo is not installed") || o.bundle() {
		t.Errorf("want a refusal before the lock:\n%s", r)
	}
}

func TestSudoSecret(t *testing.T) {
	o, _, _ := sudoNode(t, withPassword, "")
	o.write("deploy.ini", o.ini("who = remote sudo run id -u\n", map[string]string{"sudo.secret": "secret:root-of-web"}))
	o.env.Getenv = func(key string) string {
		if key == "CONC_SECRET_ROOT_OF_WEB" {
			return sudoPassword
		}
		return ""
	}
	o.want(0, "deploy", "web1")
}

// A step that is over its time is really dead, though it is root's, and so is
// one that the operator cancels; and the journal has it.
func TestSudoStepIsEnded(t *testing.T) {
	o, n, _ := sudoNode(t, withPassword, "long = remote timeout=1s sudo run sleep 61.37\n")
	start := time.Now()
	r := o.want(124, "deploy", "web1", "--sudo-password-file", o.passwordFile())
	if !strings.Contains(r.out, "TIMED OUT") || time.Since(start) > time.Minute {
		t.Errorf("after %s:\n%s", time.Since(start), r)
	}
	if left := n.Processes("sleep 61.37"); len(left) > 0 || running(t, "sleep\x0061.37") {
		t.Errorf("it is still there: %v", left)
	}

	o.write("deploy.ini", o.ini("long = remote sudo run sleep 62.37\n", nil))
	cmd, stdout, stderr := o.process("deploy", "web1", "--sudo-password-file", o.passwordFile())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the step runs", func() bool { return running(t, "sleep\x0062.37") })
	press(t, cmd, stderr, 2)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || running(t, "sleep\x0062.37") {
		t.Errorf("got exit code %d, still running %v\n%s%s", code, running(t, "sleep\x0062.37"), stdout, stderr)
	}
}

// running tells whether a process of this machine has text in its command line.
func running(t *testing.T, text string) bool {
	t.Helper()
	found := false
	scanProcesses(func(_, content string) { found = found || strings.HasPrefix(content, text) }, "cmdline")
	return found
}

// scanProcesses reads files of all processes.
func scanProcesses(see func(path, content string), names ...string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		for _, name := range names {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				see(filepath.Join(dir, name), string(text))
			}
		}
	}
}

// watchProcesses looks for the password in all command lines and environments,
// until the returned function is called, which tells where it was.
func watchProcesses() func() []string {
	done := make(chan struct{})
	var found []string
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			scanProcesses(func(path, content string) {
				if strings.Contains(content, canary) {
					found = append(found, path)
				}
			}, "cmdline", "environ")
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return func() []string {
		close(done)
		watch.Wait()
		return found
	}
}

// The password is nowhere: in no command line, environment, or file of either
// side, while it is used and after.
func TestSudoPasswordIsNowhere(t *testing.T) {
	o, n, _ := sudoNode(t, withPassword, "open = remote open_bundle\nwait = remote sudo run sleep 0.5\nbad = remote sudo run false\n")
	password := filepath.Join(t.TempDir(), "password") // outside what is searched
	if err := os.Rename(o.passwordFile(), password); err != nil {
		t.Fatal(err)
	}
	found := watchProcesses()
	cmd, stdout, stderr := o.process("deploy", "web1", "-v", "--sudo-password-file", password)
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("got exit code %d, want 1\n%s%s", code, stdout, stderr)
	}
	if found := found(); len(found) > 0 {
		t.Errorf("the password is in %v", found)
	}
	if strings.Contains(stdout.String()+stderr.String(), "cánary") {
		t.Error("the password is on the screen")
	}
	nowhere(t, n.Home, o.home, o.dir)
	eventually(t, "no socket is left", func() bool {
		left, _ := filepath.Glob("/tmp/conc-askpass-*") // another test may have one now
		return len(left) == 0
	})
}

// On a terminal the password is asked for three times at most, and each answer
// is one attempt on the node.
func TestSudoPasswordOnATerminal(t *testing.T) {
	o, _, log := sudoNode(t, withPassword+"\nDefaults passwd_tries=3", "open = remote open_bundle\nwho = remote sudo run id -u\nclose = remote close_bundle\n")
	for _, c := range []struct {
		name    string
		answers []string
		args    []string
		code    int
		says    string
		wrong   int
	}{
		{"the second is right", []string{"wrong", sudoPassword}, nil, 0, "", 1},
		{"three wrong ones", []string{"a", "b", "c"}, nil, 6, "sudo refused the password", 3},
		{"nothing", []string{""}, nil, 6, "is empty", 0},
		{"asked for at the start", []string{sudoPassword}, []string{"-K"}, 0, "Sudo password:", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := strings.Count(log(), "incorrect password")
			keyboard, terminal, err := pty.Open()
			if err != nil {
				t.Skip(err)
			}
			defer keyboard.Close()
			defer terminal.Close()
			cmd, _, _ := o.process(append([]string{"deploy", "web1"}, c.args...)...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
			shown := &display{}
			all := make(chan struct{})
			go func() {
				defer close(all)
				_, _ = io.Copy(shown, keyboard)
			}()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
			for i, a := range c.answers {
				eventually(t, "the question", func() bool { return strings.Count(shown.String(), "Sudo password") == i+1 })
				if _, err := keyboard.WriteString(a + "\n"); err != nil {
					t.Fatal(err)
				}
			}
			_ = cmd.Wait()
			_ = terminal.Close() // what it was sent can be read to its end from here on
			<-all
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(shown.String(), c.says) {
				t.Errorf("got exit code %d, want %d and %q\n%s", code, c.code, c.says, shown)
			}
			if len(c.args) == 0 && !strings.Contains(shown.String(), "Sudo password for conctest@web1:") {
				t.Errorf("the question does not say whose password:\n%s", shown)
			}
			if got := strings.Count(log(), "incorrect password") - before; got != c.wrong {
				t.Errorf("got %d attempts in sudo's log, want %d\n%s", got, c.wrong, log())
			}
			if strings.Contains(shown.String(), "cánary") || o.bundle() {
				t.Errorf("the password is on the screen, or the bundle is open:\n%s", shown)
			}
		})
	}
}

func owner(fi fs.FileInfo) int { return int(fi.Sys().(*syscall.Stat_t).Uid) }

// A workstation that goes away leaves the step to the node, which finishes it
// as root and has it on record.
func TestSudoStepOutlivesTheWorkstation(t *testing.T) {
	o, n, _ := sudoNode(t, withPassword, "open = remote open_bundle\nlong = remote sudo shell \"sleep 1.37; id -u >made\"\n")
	cmd, _, _ := o.process("deploy", "web1", "--sudo-password-file", o.passwordFile())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the step runs", func() bool { return running(t, "sleep\x001.37") })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "the step's file", func() bool { return o.there("made") })
	eventually(t, "no agent is left", func() bool { return len(n.Processes("agent")) == 0 })
	if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "OK") || strings.Contains(r.out, "DOUBT") {
		t.Errorf("the node does not say that the step is done:\n%s", r)
	}
}

// A root agent that is gone leaves its step in doubt; nothing is started after it.
func TestSudoWhenTheRootAgentIsKilled(t *testing.T) {
	o, n, _ := sudoNode(t, withPassword, "long = remote sudo run sleep 63.37\nnext = remote run touch next\n")
	cmd, stdout, stderr := o.process("deploy", "web1", "--sudo-password-file", o.passwordFile())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the step runs", func() bool { return running(t, "sleep\x0063.37") })
	scanProcesses(func(path, content string) {
		if strings.HasPrefix(content, n.Home) && strings.HasSuffix(content, "\x00agent\x00") {
			if fi, err := os.Stat(filepath.Dir(path)); err == nil && owner(fi) == 0 {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}, "cmdline")
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 6 || !strings.Contains(stdout.String(), "in doubt") || o.there("next") {
		t.Errorf("got exit code %d, want 6 and in doubt\n%s%s", code, stdout, stderr)
	}
}

// To go on with a run needs the password again, and proves it before the run is
// taken on.
func TestSudoInARunThatIsGoneOnWith(t *testing.T) {
	o, _, _ := sudoNode(t, withPassword, "open = remote open_bundle\nbad = remote sudo run test -e mended\nclose = remote close_bundle\n")
	o.want(1, "deploy", "web1", "--sudo-password-file", o.passwordFile())
	put(t, o.node.Home, "mended")
	if r := o.want(6, "step", "web1", "--from", "bad"); !strings.Contains(r.String(), "--sudo-password-file") || !o.bundle() {
		t.Errorf("want a refusal that says what to give:\n%s", r)
	}
	o.want(0, "step", "web1", "--from", "bad", "--sudo-password-file", o.passwordFile())
	if o.bundle() {
		t.Error("the bundle is still open")
	}
}
