package nodetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	for _, tt := range []struct {
		text, comm string
		state      byte
		ok         bool
	}{
		{"1 (init) S 0 1 1", "init", 'S', true},
		{"2 (a b) R 0", "a b", 'R', true},
		{"3 (x) R (y) Z 0 1", "x) R (y", 'Z', true},
		{"4 (()) S 0", "()", 'S', true},
		{"5 (a\nb) D 0", "a\nb", 'D', true},
		{"6 () S 0", "", 'S', true},
		{"7 (cut", "", 0, false},
		{"8 (cut)", "", 0, false},
		{"9 )(", "", 0, false},
		{"", "", 0, false},
	} {
		comm, state, ok := parseStat([]byte(tt.text))
		if comm != tt.comm || state != tt.state || ok != tt.ok {
			t.Errorf("%q: got %q %q %v, want %q %q %v", tt.text, comm, state, ok, tt.comm, tt.state, tt.ok)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("1", "a) S 0 (b", "S 0 1 2")
	f.Fuzz(func(t *testing.T, pid, name, rest string) {
		comm, state, ok := parseStat([]byte(pid + "(" + name + ") " + rest))
		if !ok || strings.Contains(pid, "(") || strings.Contains(rest, ")") {
			return
		}
		if comm != name || rest == "" || state != rest[0] {
			t.Errorf("got %q %q, want %q %q", comm, state, name, rest)
		}
	})
}

func TestParseUID(t *testing.T) {
	for text, want := range map[string]uint32{
		"Name:\tx\nUid:\t1\t2\t3\t4\n":                      2,
		"Name:\tUid:\\n9\t9\nState:\tS\nUid:\t1\t0\t3\t4\n": 0,
		"Uid:\t0\t4294967295\t0\t0":                         4294967295,
	} {
		if got, ok := parseUID([]byte(text)); got != want || !ok {
			t.Errorf("%q: got %d %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "Uid:", "Uid:\t1", "Uid:\t1\t-1", "Uid:\t1\t4294967296"} {
		if got, ok := parseUID([]byte(text)); ok {
			t.Errorf("%q: got %d, want none", text, got)
		}
	}
}

func TestAProcessIsKnownByItsName(t *testing.T) {
	for _, tt := range []struct {
		p    process
		name string
		want bool
	}{
		{process{comm: "nginx"}, "nginx", true},
		{process{comm: "nginx"}, "ngin", false},
		{process{comm: "sh", args: []string{"/usr/bin/nginx"}}, "nginx", false},
		{process{comm: "systemd-journal", args: []string{"/lib/systemd/systemd-journald"}}, "systemd-journald", true},
		{process{comm: "systemd-journal", args: []string{"/lib/systemd/systemd-journalX"}}, "systemd-journald", false},
		{process{comm: "a-very-long-scr", args: []string{"/bin/sh", "./a-very-long-script", "x"}}, "a-very-long-script", true},
		{process{comm: "a-very-long-scr"}, "a-very-long-script", false},
	} {
		if got := tt.p.called(tt.name); got != tt.want {
			t.Errorf("%q %q as %q: got %v, want %v", tt.p.comm, tt.p.args, tt.name, got, tt.want)
		}
	}
}

func TestTheProcessesThatAreMeant(t *testing.T) {
	all := []process{
		{pid: 7, comm: "nginx", args: []string{"nginx: master process /usr/sbin/nginx"}},
		{pid: 9, comm: "nginx", args: []string{"nginx:", "worker"}, uid: 4294960033},
		{pid: 8, comm: "nginx", args: []string{"nginx:", "worker"}, uid: 4294960033},
		{pid: 10, comm: "java", args: []string{"java", "-jar", "shop.jar"}, uid: 4294960033},
	}
	const three = ": 3: pid 7 of root, pid 8 of 4294960033, pid 9 of 4294960033"
	verdicts(t, func(t *testing.T, line string) Result {
		ofRoot := strings.Contains(line, "user root")
		findings, err := check(t, line).(running).judge(all, func(p process) bool { return !ofRoot || p.uid == 0 })
		return Result{}.fill(here(t), findings, err)
	}, [][2]string{
		{"process nginx", "OK"},
		{"process nginx running", "OK"},
		{"process nginx count =3", "OK"},
		{"process nginx count >=2 count <3", "FAILED process nginx count <3" + three},
		{"process nginx absent", "FAILED process nginx absent" + three},
		{"process nginx user root count 1", "OK"},
		{"process nginx user root absent", "FAILED process nginx user root absent: 1: pid 7 of root"},
		{"process java user root", "FAILED process java user root: none; of that name, but not as wanted: 1: pid 10 of 4294960033"},
		{"process java user root absent", "OK"},
		{"process * args shop[.]jar", "OK"},
		{"process * args 'nginx: worker' count 2", "OK"},
		{"process * args '-jar .*cart.jar'", `FAILED process * args "-jar .*cart.jar": none`},
		{"process redis", "FAILED process redis: none"},
		{"process redis count 0", "OK"},
	})
}

func TestProcessesOfThisHost(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("there is no sleep here")
	}
	// A name that nobody else has, with all that /proc/PID/stat may be misread by.
	name := fmt.Sprintf("x) R (%d", os.Getpid()%1e6)
	path := filepath.Join(t.TempDir(), name)
	text, err := os.ReadFile(sleep)
	if err == nil {
		err = os.WriteFile(path, text, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "77")
	if err := cmd.Start(); err != nil {
		t.Skipf("a program of one's own cannot be started here: %v", err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	me := fmt.Sprint(os.Geteuid())
	env := here(t)
	verdicts(t, looked(env), [][2]string{
		{"process '" + name + "' running count 1 user " + me + " args '77$'", "OK"},
		{"process '" + name + "' user 4294960033", "FAILED process " + name + " user 4294960033: none; of that name, but not as wanted: 1: pid ..."},
		{"process '" + name + "' user no-such-account absent", "OK"},
		{"process '" + name + "' absent", "FAILED process " + name + " absent: 1: pid ..."},
		{"process '" + name + "' args 78$ absent", "OK"},
	})
	// One that has ended, and is not waited for, does not run.
	_ = cmd.Process.Kill()
	deadline := time.Now().Add(5 * time.Second)
	for look(t, env, "process '"+name+"' absent").Bad() {
		if time.Now().After(deadline) {
			t.Fatal("a process that has ended still counts")
		}
		time.Sleep(time.Millisecond)
	}
}
