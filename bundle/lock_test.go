package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	runA = "01HZZZZZZZZZZZZZZZAAAAAAAA"
	runB = "01HZZZZZZZZZZZZZZZBBBBBBBB"
)

func owner(run string) Owner {
	return Owner{V: 1, Run: run, User: "alice", Host: "desk7", Since: time.Now().Truncate(time.Second), Node: "web1", List: "release"}
}

// In a process of its own, the test binary takes a lock: see TestOpenRace.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CONC_TEST_OPEN"); dir != "" {
		err := Open(dir, owner(fmt.Sprintf("%026d", os.Getpid())))
		var held *HeldError
		switch {
		case err == nil:
			os.Exit(0)
		case errors.As(err, &held):
			os.Exit(3)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	want := owner(runA)
	if err := Open(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadOwner(dir)
	if err != nil || got == nil || got.Run != want.Run || got.User != want.User || !got.Since.Equal(want.Since) {
		t.Errorf("ReadOwner: got %+v, %v; want %+v", got, err, want)
	}
	if fi, _ := os.Stat(dir); fi.Mode().Perm() != 0o700 {
		t.Errorf("mode: got %v, want 0700", fi.Mode().Perm())
	}
	if err := Check(dir, runA); err != nil {
		t.Errorf("Check of our own: %v", err)
	}
	var held *HeldError
	if err := Open(dir, want); !errors.As(err, &held) || held.Owner == nil || held.Owner.Run != runA {
		t.Errorf("Open again: got %v, want held by our own run", err)
	}
	if got := names(t, filepath.Dir(dir)); len(got) != 1 {
		t.Errorf("beside the bundle: got %v, want nothing", got)
	}
	data, err := json.Marshal(held)
	var back HeldError
	if err != nil || json.Unmarshal(data, &back) != nil || back.Error() != held.Error() {
		t.Errorf("HeldError as JSON: got %v, want %v", &back, held)
	}
}

// Whatever is there under the name holds the node, and stays as it was.
func TestOpenHeld(t *testing.T) {
	for name, put := range map[string]func(dir string) error{
		"empty directory": func(d string) error { return os.Mkdir(d, 0o755) },
		"file":            func(d string) error { return os.WriteFile(d, nil, 0o600) },
		"dangling link":   func(d string) error { return os.Symlink("nowhere", d) },
		"link to a directory": func(d string) error {
			return errors.Join(os.Mkdir(d+"-real", 0o700), os.Symlink(d+"-real", d))
		},
		"not JSON":  func(d string) error { return record(d, "{") },
		"no run":    func(d string) error { return record(d, `{"v":1}`) },
		"too large": func(d string) error { return record(d, `{"run":"`+strings.Repeat("A", maxOwner)+`"}`) },
		"record is a directory": func(d string) error {
			return os.MkdirAll(filepath.Join(d, OwnerFile), 0o700)
		},
		"record is a link": func(d string) error {
			return errors.Join(os.Mkdir(d, 0o700), os.WriteFile(d+"-o", []byte(`{"run":"X"}`), 0o600),
				os.Symlink(d+"-o", filepath.Join(d, OwnerFile)))
		},
		"record is a FIFO": func(d string) error {
			return errors.Join(os.Mkdir(d, 0o700), exec.Command("mkfifo", filepath.Join(d, OwnerFile)).Run())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "b")
			if err := put(dir); err != nil {
				t.Fatal(err)
			}
			before := names(t, filepath.Dir(dir))
			var held *HeldError
			if err := Open(dir, owner(runA)); !errors.As(err, &held) || held.Owner != nil {
				t.Fatalf("Open: got %v, want held, owner unknown", err)
			}
			if err := Check(dir, runA); !errors.Is(err, ErrLost) {
				t.Errorf("Check: got %v, want %v", err, ErrLost)
			}
			if err := Close(dir, runA); !errors.Is(err, ErrLost) {
				t.Errorf("Close: got %v, want %v", err, ErrLost)
			}
			if got := names(t, filepath.Dir(dir)); strings.Join(got, " ") != strings.Join(before, " ") {
				t.Errorf("directory: got %v, want %v", got, before)
			}
			aside, err := SetAside(dir, "")
			if err != nil {
				t.Fatalf("SetAside of an unknown owner's: %v", err)
			}
			if _, err := os.Lstat(aside); err != nil {
				t.Errorf("aside: %v", err)
			}
			if err := Open(dir, owner(runA)); err != nil {
				t.Errorf("Open after SetAside: %v", err)
			}
		})
	}
}

// The way in for kernels and filesystems that cannot rename without replacing.
func TestOpenByMkdir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	for i, want := range []error{nil, fs.ErrExist} {
		p, _, err := prepare(filepath.Dir(dir), owner(runA))
		if err != nil {
			t.Fatal(err)
		}
		if err := openByMkdir(p, dir); !errors.Is(err, want) {
			t.Errorf("time %d: got %v, want %v", i+1, err, want)
		}
	}
	if err := Check(dir, runA); err != nil {
		t.Error(err)
	}
}

func TestOpenRace(t *testing.T) {
	t.Run("goroutines", func(t *testing.T) {
		for round := range 20 {
			dir := filepath.Join(t.TempDir(), "b")
			var won, held atomic.Int32
			var wg sync.WaitGroup
			for i := range 300 {
				wg.Go(func() {
					var h *HeldError
					switch err := Open(dir, owner(fmt.Sprintf("%026d", i))); {
					case err == nil:
						won.Add(1)
					case errors.As(err, &h) && h.Owner != nil:
						held.Add(1)
					default:
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 || held.Load() != 299 {
				t.Fatalf("round %d: %d won and %d were told the owner; want 1 and 299", round, won.Load(), held.Load())
			}
			if got := names(t, filepath.Dir(dir)); len(got) != 1 {
				t.Fatalf("left over: %v", got)
			}
		}
	})
	t.Run("processes", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "b")
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 24 {
			wg.Go(func() {
				c := exec.Command(os.Args[0])
				c.Env = append(os.Environ(), "CONC_TEST_OPEN="+dir)
				out, err := c.CombinedOutput()
				switch c.ProcessState.ExitCode() {
				case 0:
					won.Add(1)
				case 3:
				default:
					t.Errorf("%v: %s", err, out)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("winners: got %d, want 1", won.Load())
		}
	})
}

func TestOpenCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if err := Open(filepath.Join(file, "b"), owner(runA)); err == nil || errors.As(err, &held) {
		t.Errorf("below a file: got %v, want an error that is not HeldError", err)
	}
	big := owner(runA)
	big.Message = strings.Repeat("m", maxOwner)
	dir := filepath.Join(t.TempDir(), "b")
	if err := Open(dir, big); err == nil {
		t.Error("a record that cannot be read back was written")
	}
	if got := names(t, filepath.Dir(dir)); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}

func TestSweep(t *testing.T) {
	parent := t.TempDir()
	old := time.Now().Add(-2 * staleAfter)
	for name, when := range map[string]time.Time{
		openPrefix + "old": old, openPrefix + "killed": time.Now(), openPrefix + "made": time.Now(), openPrefix + "new": time.Now(), "other": old,
	} {
		p := filepath.Join(parent, name)
		if err := errors.Join(os.Mkdir(p, 0o700), os.Chtimes(p, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	// One in which there is something was held before; an empty one may be about to be.
	if err := os.WriteFile(filepath.Join(parent, openPrefix+"killed", OwnerFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	hold, err := claim(filepath.Join(parent, openPrefix+"new")) // whoever prepares it lives
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	if err := Open(filepath.Join(parent, "b"), owner(runA)); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(names(t, parent), " "), openPrefix+"made "+openPrefix+"new b other"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestClose(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	if err := Open(dir, owner(runA)); err != nil {
		t.Fatal(err)
	}
	sealed := filepath.Join(dir, "pkg", "sealed")
	if err := errors.Join(os.MkdirAll(sealed, 0o700), os.WriteFile(filepath.Join(sealed, "f"), nil, 0o400),
		os.Chmod(sealed, 0o555), os.Chmod(filepath.Dir(sealed), 0o555)); err != nil {
		t.Fatal(err)
	}
	if err := Close(dir, runB); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "alice@desk7") {
		t.Errorf("another run's: got %v, want %v and the owner", err, ErrLost)
	}
	if _, err := os.Stat(filepath.Join(sealed, "f")); err != nil {
		t.Errorf("another run's Close touched it: %v", err)
	}
	if err := Close(dir, runA); err != nil {
		t.Errorf("ours: %v", err)
	}
	if got := names(t, filepath.Dir(dir)); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
	if err := Close(dir, runA); !errors.Is(err, ErrLost) {
		t.Errorf("twice: got %v, want %v", err, ErrLost)
	}
}

func TestSetAside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "b")
	for i := range 3 {
		if err := Open(dir, owner(runA)); err != nil {
			t.Fatal(err)
		}
		if _, err := SetAside(dir, runB); !errors.Is(err, ErrLost) {
			t.Errorf("another run's: got %v, want %v", err, ErrLost)
		}
		if _, err := SetAside(dir, ""); !errors.Is(err, ErrLost) {
			t.Errorf("as if unknown: got %v, want %v", err, ErrLost)
		}
		aside, err := SetAside(dir, runA)
		if err != nil {
			t.Fatal(err)
		}
		want := dir + ".aside-AAAAAAAA"
		if i > 0 {
			want += fmt.Sprintf("-%d", i+1)
		}
		if aside != want || Check(aside, runA) != nil {
			t.Errorf("aside: got %s, want %s with its record", aside, want)
		}
	}
}

func TestAlive(t *testing.T) {
	home := t.TempDir()
	if Alive(home, runA) {
		t.Error("alive before it was")
	}
	release, err := HoldAlive(t.Context(), home, runA)
	if err != nil {
		t.Fatal(err)
	}
	// A child must not keep it up after the agent is gone.
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	if !Alive(home, runA) || Alive(home, runB) {
		t.Error("got dead, or the other one alive")
	}
	release()
	if Alive(home, runA) {
		t.Error("alive after release")
	}
	for _, run := range []string{"", ".", "../x", "a/b", strings.Repeat("A", 65)} {
		if ValidRun(run) || Alive(home, run) {
			t.Errorf("%q: got valid, want not", run)
		}
		if _, err := HoldAlive(t.Context(), home, run); err == nil {
			t.Errorf("HoldAlive(%q): got nil, want an error", run)
		}
	}
}

func FuzzReadOwner(f *testing.F) {
	f.Add([]byte(`{"v":1,"run":"X"}`))
	f.Add([]byte("null"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, OwnerFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := ReadOwner(dir)
		if err != nil || o != nil && o.Run == "" {
			t.Errorf("got %+v, %v", o, err)
		}
	})
}

func record(dir, text string) error {
	return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, OwnerFile), []byte(text), 0o600))
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
