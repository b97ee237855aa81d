package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// newcomer is somebody who has just built conc. Their home and the machine's
// temporary directory are empty, and are to stay so.
type newcomer struct {
	t        *testing.T
	home     string
	temp     string
	out, err screen
	env      environment
}

// screen is a buffer that is read while it is written.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	n := &newcomer{t: t, home: t.TempDir(), temp: t.TempDir()}
	t.Setenv("HOME", n.home)
	t.Setenv("TMPDIR", n.temp)
	t.Setenv("XDG_STATE_HOME", filepath.Join(n.home, "state"))
	env, err := surroundings()
	if err != nil {
		t.Fatal(err)
	}
	n.env = env
	return n
}

// types runs a command line to its end.
func (n *newcomer) types(args ...string) int {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := &program{streams: Streams{In: strings.NewReader(""), Out: &n.out, Err: &n.err}, env: n.env}
	return p.main(ctx, args)
}

// leftNothing fails the test when the demo wrote anything outside its place.
func (n *newcomer) leftNothing() {
	n.t.Helper()
	for what, dir := range map[string]string{"home": n.home, "temporary directory": n.temp} {
		if left, err := testnode.Tree(dir); err != nil || len(left) != 0 {
			n.t.Errorf("left in the %s: %q, %v", what, left, err)
		}
	}
}

func (n *newcomer) saw(texts ...string) {
	n.t.Helper()
	for _, text := range texts {
		if !strings.Contains(n.out.String(), text) {
			n.t.Errorf("the screen does not say %q:\n%s%s", text, n.out.String(), n.err.String())
		}
	}
}

func TestDemo(t *testing.T) {
	n := newNewcomer(t)
	// No name that a temporary directory may have is in the way.
	n.temp = filepath.Join(n.temp, `a b'c"%d $(e)`)
	if err := os.Mkdir(n.temp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", n.temp)
	if code := n.types("demo"); code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", code, n.err.String())
	}
	n.saw("open      = remote open_bundle", "11/11  unstage", "OK  demo1  11 of 11 steps",
		"$ conc nodetest demo1\n", "OK        settings", "OK  demo1  5 OK  ",
		"\n  current -> releases/1.0\n", "\n      index.html\n", "site-bundle, is gone", "demo --keep play")
	n.leftNothing()
}

func TestDemoFails(t *testing.T) {
	for i, name := range demoSteps(demoINI()) {
		if i%3 != 0 && name != "check" {
			continue // each takes a while, and they are alike
		}
		t.Run(name, func(t *testing.T) {
			n := newNewcomer(t)
			if code := n.types("demo", "--fail-at", name); code != 1 {
				t.Errorf("got exit code %d, want 1\n%s", code, n.err.String())
			}
			if strings.Contains(n.out.String(), "nodetest demo1") {
				t.Errorf("there is nothing to check:\n%s", n.out.String())
			}
			n.saw("FAILED  demo1  stopped at step", missingFile+": No such file or directory", "The commands above")
			if name == "check" {
				n.saw("current -> releases/1.0", "site-bundle, is still there", "unlock demo1 --id")
			}
			n.leftNothing()
		})
	}
}

func TestDemoRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"a directory in use", []string{"--keep", full}, "is not empty"},
		{"an unknown step", []string{"--fail-at", "chekc"}, "its steps are 1 to 11: open, stage,"},
		{"a step over the end", []string{"--fail-at", "12"}, `no step "12"`},
		{"a deploy.ini", []string{"-c", "deploy.ini"}, "has no meaning here"},
		{"an argument", []string{"web1"}, `unexpected argument "web1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNewcomer(t)
			if code := n.types(append([]string{"demo"}, tt.args...)...); code != 2 {
				t.Errorf("got exit code %d, want 2", code)
			}
			if !strings.Contains(n.err.String(), tt.want) {
				t.Errorf("got %q, want %q in it", n.err.String(), tt.want)
			}
			n.leftNothing()
		})
	}
}

// What is said to JSON's reader is JSON.
func TestDemoJSON(t *testing.T) {
	n := newNewcomer(t)
	if code := n.types("demo", "--json"); code != 0 {
		t.Fatalf("got exit code %d\n%s", code, n.err.String())
	}
	all := events(t, n.out.String())
	if last := all[len(all)-1]; last["type"] != "run_end" {
		t.Errorf("got last line %v, want run_end", last)
	}
	if !strings.Contains(n.err.String(), "current -> releases/1.0") {
		t.Errorf("standard error does not show the node:\n%s", n.err.String())
	}
}

// With --keep somebody else's terminal deploys to the node while it is served.
func TestDemoKeeps(t *testing.T) {
	n := newNewcomer(t)
	dir := filepath.Join(t.TempDir(), "play")
	ended := make(chan int)
	go func() { ended <- n.types("demo", "--keep", dir) }()
	for !strings.Contains(n.out.String(), "serves on until Ctrl-C") {
		select {
		case code := <-ended:
			t.Fatalf("it ended with %d\n%s%s", code, n.out.String(), n.err.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	n.saw(". "+filepath.Join(dir, "env"), "conc deploy demo1 --set version=1.1")

	other := &newcomer{t: t, env: n.env}
	other.env.Home, other.env.StateDir = dir, filepath.Join(dir, "state")
	ini := filepath.Join(dir, "deploy.ini")
	for _, version := range []string{"1.1", "1.0", "1.0"} {
		if code := other.types("-c", ini, "deploy", "demo1", "--set", "version="+version); code != 0 {
			t.Fatalf("version %s: got exit code %d\n%s%s", version, code, other.out.String(), other.err.String())
		}
		if got, err := os.Readlink(filepath.Join(dir, "home", "current")); got != "releases/"+version {
			t.Errorf("current is %q, %v, want releases/%s", got, err, version)
		}
	}
	if code := other.types("-c", ini, "config", "check"); code != 0 {
		t.Errorf("config check: got exit code %d\n%s", code, other.err.String())
	}

	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 0 {
		t.Errorf("Ctrl-C: got exit code %d, want 0", code)
	}
	n.saw("The node is gone.")
	tree, err := testnode.Tree(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"deploy.ini", "env", "home/current -> releases/1.0", "dist/site-1.1.tar.gz", "home/releases/1.1/site.conf"} {
		if !slices.Contains(tree, want) {
			t.Errorf("%s did not stay: %q", want, tree)
		}
	}
	if code := other.types("-c", ini, "deploy", "demo1"); code != 4 {
		t.Errorf("a deploy afterwards: got exit code %d, want 4 (the node is gone)", code)
	}
	n.leftNothing()
}
