package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
)

// One case, one list; the same over both transports, with equal outcomes.
func TestStretch(t *testing.T) {
	for _, tc := range []struct {
		name    string
		lines   []string
		want    string // what the sink hears
		out     string
		message string // in the last result
		journal string
		open    bool // the bundle is there afterwards
	}{
		{
			name:    "all OK",
			lines:   []string{"remote open_bundle", "remote say hello", "remote say again", "remote close_bundle"},
			want:    "begin 1, end 1 OK, begin 2, end 2 OK, begin 3, end 3 OK, begin 4, end 4 OK",
			out:     "hello\nagain\n",
			journal: "begin 1, end 1 OK, begin 2, end 2 OK, begin 3, end 3 OK, begin 4, end 4 OK",
		},
		{
			name:    "stops at the first that is not OK",
			lines:   []string{"remote open_bundle", "remote fail no", "remote say never"},
			want:    "begin 1, end 1 OK, begin 2, end 2 FAILED",
			message: "no",
			journal: "begin 1, end 1 OK, begin 2, end 2 FAILED",
			open:    true,
		},
		{
			name:    "a panic is ERROR",
			lines:   []string{"remote panic"},
			want:    "begin 1, end 1 ERROR",
			message: "oh",
			journal: "begin 1, end 1 ERROR",
		},
		{
			name:    "a lost lock touches nothing",
			lines:   []string{"remote open_bundle", "remote steal", "remote say never", "remote close_bundle"},
			want:    "begin 1, end 1 OK, begin 2, end 2 OK, begin 3, end 3 ERROR",
			message: "lock lost",
			journal: "begin 1, end 1 OK, begin 2, end 2 OK",
			open:    true,
		},
		{
			name:    "no lock, no check",
			lines:   []string{"remote say a", "remote open_bundle", "remote close_bundle", "remote say b"},
			want:    "begin 1, end 1 OK, begin 2, end 2 OK, begin 3, end 3 OK, begin 4, end 4 OK",
			out:     "a\nb\n",
			journal: "begin 1, end 1 OK, begin 2, end 2 OK, begin 3, end 3 OK, begin 4, end 4 OK",
		},
		{
			name:    "nobody can be asked on a node",
			lines:   []string{"remote ask"},
			want:    "begin 1, end 1 FAILED",
			message: jobs.ErrNoAnswer.Error(),
			journal: "begin 1, end 1 FAILED",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, kind := range []string{"pipe", "process"} {
				t.Run(kind, func(t *testing.T) {
					var tr Transport
					p := newPipes(t)
					tr = p
					home := p.server.Home
					if kind == "process" {
						tr = &shell{home: home}
					}
					node, plan := plan(t, nil, tc.lines...)
					c := dial(t, tr, options(t, node, plan))
					sink := newHeard()
					if err := c.RunSteps(t.Context(), 1, len(tc.lines), sink); err != nil {
						t.Fatal(err)
					}
					if got := sink.text(); got != tc.want {
						t.Errorf("heard: got  %s\nwant %s", got, tc.want)
					}
					if got := sink.out.String(); got != tc.out {
						t.Errorf("output: got %q, want %q", got, tc.out)
					}
					if got := sink.last().Message; !strings.Contains(got, tc.message) {
						t.Errorf("message: got %q, want %q in it", got, tc.message)
					}
					if err := c.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
					if c.Err() != nil {
						t.Errorf("Err after Close: got %v, want nil", c.Err())
					}
					if got := readJournal(home, runA); got != tc.journal {
						t.Errorf("journal: got %s, want %s", got, tc.journal)
					}
					if got := exists(home, "shop", "bundle"); got != tc.open {
						t.Errorf("bundle open: got %v, want %v", got, tc.open)
					}
					if fi, err := os.Stat(filepath.Join(home, ".conc")); err != nil || fi.Mode().Perm() != 0o700 {
						t.Errorf(".conc: got %v, %v; want 0700", fi.Mode(), err)
					}
				})
			}
		})
	}
}

// The second comer is told who, at which step, and whether it is alive; it
// leaves nothing behind.
func TestBlocked(t *testing.T) {
	p := newPipes(t)
	home := p.server.Home
	node, first := plan(t, nil, "remote open_bundle", "remote fail no")
	a := dial(t, p, options(t, node, first))
	if err := a.RunSteps(t.Context(), 1, 2, newHeard()); err != nil {
		t.Fatal(err)
	}
	second := options(t, node, first)
	second.Owner = bundle.Owner{V: 1, Run: runB, User: "bob", Host: "desk8"}
	b := dial(t, &shell{home: home}, second)
	for range 2 { // it may be asked again, by one who waits
		sink := newHeard()
		if err := b.RunSteps(t.Context(), 1, 2, sink); err != nil {
			t.Fatal(err)
		}
		r := sink.last()
		var h bundle.HeldError
		if err := json.Unmarshal(r.Owner, &h); err != nil || r.Status != jobs.Blocked {
			t.Fatalf("got %+v, %v; want BLOCKED with the holder", r, err)
		}
		if h.Owner == nil || h.Owner.User != "alice" || !h.Alive || !strings.HasPrefix(h.Step, "2/2 s2 fail (FAILED ") {
			t.Errorf("holder: got %+v, want alice, alive, at 2/2", h)
		}
	}
	held, err := b.Held(t.Context())
	if err != nil || held == nil || held.Owner.Run != runA || !held.Alive {
		t.Errorf("Held: got %+v, %v", held, err)
	}
	if _, err := b.Unlock(t.Context(), bundle.Short(runA)); jobs.StatusOf(err) != jobs.Blocked {
		t.Errorf("Unlock of one that lives: got %v, want BLOCKED", err)
	}
	_ = a.Close()
	<-p.served
	if held, err = b.Held(t.Context()); err != nil || held.Alive {
		t.Errorf("Held after its agent ended: got %+v, %v; want not alive", held, err)
	}
	if _, err := b.Unlock(t.Context(), bundle.Short(runB)); jobs.StatusOf(err) != jobs.Blocked || !strings.Contains(err.Error(), "alice@desk7") {
		t.Errorf("Unlock of another run: got %v, want BLOCKED and who holds it", err)
	}
	aside, err := b.Unlock(t.Context(), strings.ToLower(bundle.Short(runA)))
	if err != nil || !exists(aside) || exists(home, "shop", "bundle") {
		t.Errorf("Unlock: got %q, %v; want it moved", aside, err)
	}
	if held, err = b.Held(t.Context()); err != nil || held != nil {
		t.Errorf("Held of a free node: got %+v, %v; want nil", held, err)
	}
	if _, err := b.Unlock(t.Context(), runA); jobs.StatusOf(err) != jobs.Blocked {
		t.Errorf("Unlock of a free node: got %v, want BLOCKED", err)
	}
	_ = b.Close()
	if exists(bundle.RunDir(home, runB)) {
		t.Error("a run that was only BLOCKED left a directory")
	}
}

func TestUnlockUnknown(t *testing.T) {
	p := newPipes(t)
	dir := filepath.Join(p.server.Home, "shop", "bundle")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	node, _ := plan(t, nil)
	c := dial(t, p, options(t, node, nil))
	if _, err := c.Unlock(t.Context(), runA); jobs.StatusOf(err) != jobs.Blocked {
		t.Errorf("by a run: got %v, want BLOCKED", err)
	}
	if aside, err := c.Unlock(t.Context(), "unknown"); err != nil || !exists(aside) || exists(dir) {
		t.Errorf("as unknown: got %q, %v; want it moved", aside, err)
	}
}

func TestStopAndCancel(t *testing.T) {
	for _, tc := range []struct {
		name, lines string
		tell        func(*Client) error
		want        string
		touched     bool
	}{
		{"stop", "remote wait 150ms done", (*Client).Stop, "begin 1, end 1 OK", true},
		{"cancel", "remote wait 60s done", (*Client).Cancel, "begin 1, end 1 STOPPED", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPipes(t)
			node, plan := plan(t, nil, tc.lines, "remote say never")
			c := dial(t, p, options(t, node, plan))
			sink := newHeard()
			over := make(chan error, 1)
			go func() { over <- c.RunSteps(t.Context(), 1, 2, sink) }()
			<-sink.begun
			if err := tc.tell(c); err != nil {
				t.Fatal(err)
			}
			if err := <-over; err != nil {
				t.Fatal(err)
			}
			if got := sink.text(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if got := exists(p.server.Home, "done"); got != tc.touched {
				t.Errorf("its effect: got %v, want %v", got, tc.touched)
			}
			// It was said for good: a stretch that was on its way meanwhile is not begun.
			sink = newHeard()
			if err := c.RunSteps(t.Context(), 2, 2, sink); err != nil || sink.text() != "" {
				t.Errorf("after it: got %q, %v, want no step", sink.text(), err)
			}
		})
	}
}

// When the workstation goes away, the step ends as the node's on_disconnect
// says, is recorded, and nothing further is started.
func TestDisconnect(t *testing.T) {
	for how, want := range map[string]string{"finish": "begin 1, end 1 OK", "kill": "begin 1, end 1 STOPPED"} {
		for _, silent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s silent=%v", how, silent), func(t *testing.T) {
				p := newPipes(t)
				p.server.pulse = pulse{20 * time.Millisecond, 400 * time.Millisecond}
				line := &muted{pipes: p}
				node, plan := plan(t, map[string]string{"on_disconnect": how}, "remote wait 1200ms done", "remote say never")
				c := dial(t, line, options(t, node, plan))
				sink := newHeard()
				over := make(chan error, 1)
				go func() { over <- c.RunSteps(t.Context(), 1, 2, sink) }()
				<-sink.begun
				if silent {
					line.mute.Store(true)
				} else {
					_ = c.proc.Close()
				}
				if err := <-p.served; err == nil {
					t.Error("Serve: got nil, want why the conversation ended")
				}
				var lost *LostError
				if err := <-over; !errors.As(err, &lost) || lost.Step != 1 {
					t.Errorf("RunSteps: got %v, want lost in step 1", err)
				}
				if got := readJournal(p.server.Home, runA); got != want {
					t.Errorf("journal: got %s, want %s", got, want)
				}
				if got := exists(p.server.Home, "done"); got != (how == "finish") {
					t.Errorf("its effect: got %v", got)
				}
			})
		}
	}
}

// While nothing is heard of the workstation, not much more is done than it knows.
func TestNothingIsStartedInSilence(t *testing.T) {
	p := newPipes(t)
	p.server.pulse = pulse{20 * time.Millisecond, 2 * time.Second}
	line := &muted{pipes: p}
	lines := make([]string, 20)
	for i := range lines {
		lines[i] = fmt.Sprintf("remote wait 50ms done%d", i)
	}
	node, plan := plan(t, nil, lines...)
	c := dial(t, line, options(t, node, plan))
	sink := newHeard()
	over := make(chan error, 1)
	go func() { over <- c.RunSteps(t.Context(), 1, len(lines), sink) }()
	<-sink.begun
	line.mute.Store(true)
	<-p.served
	<-over
	if exists(p.server.Home, "done5") {
		t.Errorf("it went on: %s", readJournal(p.server.Home, runA))
	}
}

// muted is a line on which nothing arrives at the agent any more, once mute.
type muted struct {
	*pipes
	mute atomic.Bool
}

func (m *muted) Start(ctx context.Context, command string) (Proc, error) {
	p, err := m.pipes.Start(ctx, command)
	return mutedProc{p, m}, err
}

type mutedProc struct {
	Proc
	m *muted
}

func (p mutedProc) Stdin() io.WriteCloser { return mutedWriter{p.Proc.Stdin(), p.m} }

type mutedWriter struct {
	io.WriteCloser
	m *muted
}

func (w mutedWriter) Write(b []byte) (int, error) {
	if w.m.mute.Load() {
		return len(b), nil
	}
	return w.WriteCloser.Write(b)
}

// A second agent of the same run waits its turn: the first may be at work still.
func TestStillAtWork(t *testing.T) {
	home := t.TempDir()
	release, err := bundle.HoldAlive(t.Context(), home, runA)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	p := newPipes(t)
	p.server.Home = home
	node, plan := plan(t, nil, "remote say never")
	c := dial(t, p, options(t, node, plan))
	sink := newHeard()
	if err := c.RunSteps(t.Context(), 1, 1, sink); err != nil {
		t.Fatal(err)
	}
	if r := sink.last(); r.Status != jobs.Blocked || !strings.Contains(r.Message, "still at work") {
		t.Errorf("got %+v, want BLOCKED: still at work", r)
	}
}

func TestConfiguration(t *testing.T) {
	t.Run("another plan", func(t *testing.T) {
		node, plan := plan(t, nil, "remote say a")
		plan.Digest = strings.Repeat("0", 64)
		_, err := Start(t.Context(), newPipes(t), options(t, node, plan))
		var start *StartError
		if !errors.As(err, &start) || !strings.Contains(err.Error(), "another one") {
			t.Errorf("got %v, want a StartError that says so", err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		node, plan := plan(t, map[string]string{"big": strings.Repeat("x", maxControl)}, "remote say a")
		if _, err := Start(t.Context(), nil, options(t, node, plan)); err == nil || !strings.Contains(err.Error(), "over the limit") {
			t.Errorf("got %v, want an error before any connection", err)
		}
	})
	t.Run("sudo", func(t *testing.T) {
		node, plan := plan(t, nil, "remote sudo say root")
		c := dial(t, newPipes(t), options(t, node, plan))
		want := jobs.OK
		if os.Getuid() != 0 {
			want = jobs.Errored // nobody has called sudo
		}
		sink := newHeard()
		if err := c.RunSteps(t.Context(), 1, 1, sink); err != nil || sink.last().Status != want {
			t.Errorf("got %v, %+v; want %s", err, sink.last(), want)
		}
	})
	t.Run("bundle outside", func(t *testing.T) {
		node := config.NewNode("web1", map[string]string{"bundle": "../x"})
		if _, err := Start(t.Context(), newPipes(t), options(t, node, nil)); err == nil {
			t.Error("got nil, want an error")
		}
	})
}

// Only the secrets that remote steps use travel, and they are not written down.
func TestSecrets(t *testing.T) {
	p := newPipes(t)
	node, plan := plan(t, nil, "local say secret:other", "remote say secret:db")
	o := options(t, node, plan)
	var asked []string
	o.Secret = func(name string) (string, error) {
		asked = append(asked, name)
		return "hunter2-" + name, nil
	}
	c := dial(t, p, o)
	sink := newHeard()
	if err := c.RunSteps(t.Context(), 2, 2, sink); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || asked[0] != "db" {
		t.Errorf("asked for: got %v, want [db]", asked)
	}
	if r := sink.last(); r.Status != jobs.OK || strings.Contains(sink.out.String(), "hunter2") {
		t.Errorf("got %+v and output %q; want OK, and the secret masked", r, sink.out.String())
	}
	_ = filepath.WalkDir(p.server.Home, func(path string, d os.DirEntry, _ error) error {
		if data, _ := os.ReadFile(path); strings.Contains(string(data), "hunter2") {
			t.Errorf("the secret is in %s", path)
		}
		return nil
	})
	t.Run("nobody can be asked", func(t *testing.T) {
		if _, err := Start(t.Context(), nil, options(t, node, plan)); err == nil || !strings.Contains(err.Error(), "db") {
			t.Errorf("got %v, want an error that names it", err)
		}
	})
}

// A stretch costs one frame to the agent, however many steps it has.
func TestRoundTrips(t *testing.T) {
	sent := func(steps int) int64 {
		lines := make([]string, steps)
		for i := range lines {
			lines[i] = "remote say x"
		}
		node, plan := plan(t, nil, lines...)
		p := &counting{pipes: newPipes(t)}
		c := dial(t, p, options(t, node, plan))
		before := p.writes.Load()
		if err := c.RunSteps(t.Context(), 1, steps, newHeard()); err != nil {
			t.Fatal(err)
		}
		return p.writes.Load() - before
	}
	if one, many := sent(1), sent(13); one != 1 || many != 1 {
		t.Errorf("writes to the agent: got %d for 1 step and %d for 13, want 1 and 1", one, many)
	}
}

type counting struct {
	*pipes
	writes atomic.Int64
}

func (c *counting) Start(ctx context.Context, command string) (Proc, error) {
	p, err := c.pipes.Start(ctx, command)
	return countedProc{p, c}, err
}

type countedProc struct {
	Proc
	c *counting
}

func (p countedProc) Stdin() io.WriteCloser { return countedWriter{p.Proc.Stdin(), p.c} }

type countedWriter struct {
	io.WriteCloser
	c *counting
}

func (w countedWriter) Write(b []byte) (int, error) {
	w.c.writes.Add(1)
	return w.WriteCloser.Write(b)
}

func TestPrune(t *testing.T) {
	p := newPipes(t)
	home := p.server.Home
	run := func(i int) string { return fmt.Sprintf("00000000000000000000000%03d", i) }
	for i := range 30 {
		if err := os.MkdirAll(bundle.RunDir(home, run(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	release, err := bundle.HoldAlive(t.Context(), home, run(0))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	open := filepath.Join(home, "other-bundle")
	data, _ := json.Marshal(state{V: 1, Bundle: open, Step: 1, Of: 2})
	if err := errors.Join(bundle.Open(open, bundle.Owner{V: 1, Run: run(1)}), os.WriteFile(statePath(home, run(1)), data, 0o600)); err != nil {
		t.Fatal(err)
	}
	node, plan := plan(t, nil, "remote say x")
	c := dial(t, p, options(t, node, plan))
	if err := c.RunSteps(t.Context(), 1, 1, newHeard()); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(filepath.Join(home, ".conc", "runs"))
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := []string{run(0), run(1)}
	for i := 11; i < 30; i++ {
		want = append(want, run(i))
	}
	want = append(want, runA)
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
