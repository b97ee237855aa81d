package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/conc/jobs"
)

// A node that has never seen conc gets it, once, and keeps it.
func TestUpload(t *testing.T) {
	tr := &shell{home: t.TempDir(), rc: "echo Welcome; echo to web1 >&2; printf 'no newline'"}
	node, plan := plan(t, nil, "remote say hello")
	o := options(t, node, plan)
	var told, total int64
	o.Uploading = func(done, of int64) { told, total = done, of }
	c := dial(t, tr, o)
	fi, err := os.Stat(o.Executable)
	if err != nil {
		t.Fatal(err)
	}
	if told != fi.Size() || total != fi.Size() {
		t.Errorf("progress: got %d of %d, want %d", told, total, fi.Size())
	}
	hash, _ := hashes.of(o.Executable)
	bin := filepath.Join(tr.home, ".conc", "bin")
	for path, mode := range map[string]os.FileMode{filepath.Dir(bin): 0o700, bin: 0o700, filepath.Join(bin, "conc-"+hash): 0o700} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: got %v, %v; want %v", path, fi, err, mode)
		}
	}
	h := c.Hello()
	if h.Hash != hash || h.OS != runtime.GOOS || h.Arch != runtime.GOARCH || h.UID != os.Getuid() || h.Home != tr.home || h.PID == 0 || h.Free <= 0 {
		t.Errorf("Hello: got %+v", h)
	}
	if c.Home() != tr.home || c.Bundle() != tr.home+"/shop/bundle" {
		t.Errorf("paths: got %s and %s", c.Home(), c.Bundle())
	}
	sink := newHeard()
	if err := c.RunSteps(t.Context(), 1, 1, sink); err != nil || sink.out.String() != "hello\n" {
		t.Errorf("got %q, %v; want hello", sink.out.String(), err)
	}
	_ = c.Close()

	// Leftovers go when a new version comes, and only old ones of conc's own.
	old := time.Now().Add(-2 * unusedAfter)
	for name, when := range map[string]time.Time{
		"conc-" + strings.Repeat("0", 64): old, "conc-" + strings.Repeat("1", 64): time.Now(),
		uploadPrefix + "dead": old, uploadPrefix + "live": time.Now(), "mine": old,
	} {
		p := filepath.Join(bin, name)
		if err := errors.Join(os.WriteFile(p, nil, 0o600), os.Chtimes(p, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	tr.starts = nil
	dial(t, tr, o)
	if len(tr.starts) != 1 || tr.starts[0] != ".conc/bin/conc-"+hash+" agent" {
		t.Errorf("the second time: got %q, want one start", tr.starts)
	}
	if !exists(bin, "conc-"+strings.Repeat("0", 64)) {
		t.Error("swept without an upload")
	}
	// A damaged agent is replaced.
	for _, damage := range []string{"", "\x7fELF damaged", "#!/bin/false\n"} {
		if err := os.WriteFile(filepath.Join(bin, "new"), []byte(damage), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(bin, "new"), filepath.Join(bin, "conc-"+hash)); err != nil {
			t.Fatal(err)
		}
		_ = dial(t, tr, o).Close()
	}
	entries, _ := os.ReadDir(bin)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{uploadPrefix + "live", "conc-" + strings.Repeat("1", 64), "conc-" + hash, "mine"}; !same(got, want) {
		t.Errorf("in bin: got %v, want %v", got, want)
	}
}

func same(a, b []string) bool {
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// Eight workstations may bring the same version at once.
func TestUploadAtOnce(t *testing.T) {
	home := t.TempDir()
	node, _ := plan(t, nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			c, err := Start(t.Context(), &shell{home: home}, options(t, node, nil))
			if err != nil {
				t.Errorf("%d: %v", i, err)
				return
			}
			_ = c.Close()
		})
	}
	wg.Wait()
	if entries, _ := os.ReadDir(filepath.Join(home, ".conc", "bin")); len(entries) != 1 {
		t.Errorf("in bin: got %v, want one file", entries)
	}
}

func TestCannotStart(t *testing.T) {
	script := func(t *testing.T, text string) string {
		p := filepath.Join(t.TempDir(), "shell")
		if err := os.WriteFile(p, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tc := range []struct {
		name string
		make func(t *testing.T) *shell
		want string
		hint string
	}{
		{"nologin", func(t *testing.T) *shell {
			return &shell{shell: script(t, `printf 'This account is \033[31mnot available.\n'; exit 1`)}
		}, `cannot execute on node: the login shell ended with exit 1 and no agent answered: This account is \x1b[31mnot available.`, "uname"},
		{"false", func(*testing.T) *shell { return &shell{shell: "/bin/false"} }, "cannot execute on node", "uname"},
		{"rbash", func(t *testing.T) *shell {
			bash, err := exec.LookPath("bash")
			if err != nil {
				t.Skip("no bash")
			}
			return &shell{shell: script(t, "exec "+bash+` -r "$@"`)}
		}, "its login shell is a restricted one", "chsh"},
		{"no SFTP", func(*testing.T) *shell { return &shell{noSFTP: true} }, `no SFTP: subsystem request failed\x1b[2J`, "Subsystem sftp"},
		{"prints for ever", func(*testing.T) *shell { return &shell{rc: "yes"} }, "prints too much", "interactive"},
		{"another platform", func(t *testing.T) *shell {
			return &shell{shell: script(t, `case $2 in *uname*) echo hello; echo Linux riscv64;; *) exit 127;; esac`)}
		}, "web1 is linux/riscv64, and there is no conc_linux_riscv64", "GOOS=linux GOARCH=riscv64 go build -o "},
		{"unknown platform", func(t *testing.T) *shell {
			return &shell{shell: script(t, `case $2 in *uname*) echo Plan9 x;; *) exit 127;; esac`)}
		}, "Plan9 x", "uname"},
		{"wrong format", func(t *testing.T) *shell {
			return &shell{shell: script(t, `case $2 in *uname*) uname -s -m;; *) echo "sh: 1: x: Exec format error" >&2; exit 126;; esac`)}
		}, "does not run a program that is built for that (exit 126)", "file -L /bin/sh"},
		{"noexec", func(t *testing.T) *shell {
			return &shell{shell: script(t, `case $2 in *uname*) uname -s -m;; *) echo "sh: 1: x: Permission denied" >&2; exit 126;; esac`)}
		}, "is not permitted", "noexec"},
		{"another home", func(t *testing.T) *shell {
			return &shell{shell: script(t, `cd '`+t.TempDir()+`' && exec sh "$@"`)}
		}, "though it was just copied", "ChrootDirectory"},
		{"a file in the way", func(t *testing.T) *shell {
			s := &shell{home: t.TempDir()}
			if err := os.WriteFile(filepath.Join(s.home, ".conc"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return s
		}, "making ~/.conc: there is a file of that name", "home directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tc.make(t)
			if s.home == "" {
				s.home = t.TempDir()
			}
			node, _ := plan(t, nil)
			begun := time.Now()
			_, err := Start(t.Context(), s, options(t, node, nil))
			var start *StartError
			if !errors.As(err, &start) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(start.Hint, tc.hint) {
				t.Fatalf("got %v\nhint %v\nwant %q, hint %q", err, start, tc.want, tc.hint)
			}
			if strings.ContainsAny(err.Error()+start.Hint, "\x1b\n") {
				t.Errorf("not escaped: %q", err)
			}
			if d := time.Since(begun); d > 30*time.Second {
				t.Errorf("took %s", d)
			}
			if entries, _ := filepath.Glob(filepath.Join(s.home, ".conc", "bin", uploadPrefix+"*")); len(entries) > 0 {
				t.Errorf("left over: %v", entries)
			}
		})
	}
}

func TestHomeNotWritable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write anywhere")
	}
	home := t.TempDir()
	if err := os.Chmod(home, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(home, 0o700)
	node, _ := plan(t, nil)
	_, err := Start(t.Context(), &shell{home: home}, options(t, node, nil))
	var start *StartError
	if !errors.As(err, &start) || !strings.Contains(err.Error(), "making ~/.conc") {
		t.Errorf("got %v, want a StartError", err)
	}
}

// On a node of another platform conc uses the program built for it.
func TestOtherPlatform(t *testing.T) {
	dir := t.TempDir()
	data, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	// The program for it is this one, told apart by a byte at its end.
	if err := os.WriteFile(filepath.Join(dir, "conc_linux_riscv64"), append(data, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	shellFile := filepath.Join(dir, "sh")
	if err := os.WriteFile(shellFile, []byte("#!/bin/sh\ncase $2 in *uname*) echo Linux riscv64;; *) exec sh \"$@\";; esac\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tr := &shell{home: t.TempDir(), shell: shellFile}
	node, plan := plan(t, nil, "remote say hi")
	o := options(t, node, plan)
	o.AgentDir = dir
	for range 2 {
		c := dial(t, tr, o)
		sink := newHeard()
		if err := c.RunSteps(t.Context(), 1, 1, sink); err != nil || sink.out.String() != "hi\n" {
			t.Errorf("got %q, %v", sink.out.String(), err)
		}
		_ = c.Close()
	}
	if entries, _ := os.ReadDir(filepath.Join(tr.home, ".conc", "bin")); len(entries) != 1 {
		t.Errorf("in bin: got %v, want one program", entries)
	}
}

// A killed agent is noticed at once, and the step is known.
func TestKilledAgent(t *testing.T) {
	tr := &shell{home: t.TempDir()}
	node, plan := plan(t, nil, "remote open_bundle", "remote wait 60s done")
	c := dial(t, tr, options(t, node, plan))
	sink := newHeard()
	over := make(chan error, 1)
	go func() { over <- c.RunSteps(t.Context(), 1, 2, sink) }()
	<-sink.begun
	<-sink.begun
	soon(t, "step 2", func() bool { st, ok := readState(tr.home, runA); return ok && st.Step == 2 })
	if err := syscall.Kill(c.Hello().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var lost *LostError
	select {
	case err := <-over:
		if !errors.As(err, &lost) || lost.Step != 2 || !strings.Contains(strings.ToLower(err.Error()), "killed") {
			t.Errorf("got %v, want lost in step 2, killed", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("not noticed")
	}
	// The lock stays, and says where it was.
	o := options(t, node, plan)
	o.Owner.Run = runB
	d := dial(t, tr, o)
	h, err := d.Held(t.Context())
	if err != nil || h == nil || h.Alive || !strings.HasPrefix(h.Step, "2/2 s2 wait (begun ") {
		t.Errorf("Held: got %#v, %v; want not alive, in step 2", h, err)
	}
}

// A workstation that is killed leaves the agent to end its step: it is neither
// killed by writing to a closed pipe nor by a hangup.
func TestKilledWorkstation(t *testing.T) {
	tr := &shell{home: t.TempDir()}
	node, p := planOf(t, nil, jobs.Spec{
		Name: "loop", Host: jobs.Remote, Timeout: time.Minute,
		Words: []string{"run", "sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done; touch done"},
	})
	c := dial(t, tr, options(t, node, p))
	sink := newHeard()
	over := make(chan error, 1)
	go func() { over <- c.RunSteps(t.Context(), 1, 1, sink) }()
	<-sink.begun
	_ = c.proc.Close()
	if err := syscall.Kill(c.Hello().PID, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	soon(t, "the step's end", func() bool { return readJournal(tr.home, runA) == "begin 1, end 1 OK" })
	if !exists(tr.home, "done") {
		t.Error("the step did not go on to its end")
	}
	soon(t, "the agent's end", func() bool { return syscall.Kill(c.Hello().PID, 0) != nil || zombie(c.Hello().PID) })
	<-over
}

func zombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(data), ") Z ")
}
