package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/config"
)

// testRun is a run of this process's own: what is left of a run is known by its
// name, on the whole machine.
var testRun = "01RUN" + strconv.Itoa(os.Getpid())

// testEnv is an environment in a directory of the test's own.
func testEnv(t *testing.T, host Host) (*Env, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	out := &bytes.Buffer{}
	return &Env{
		Node: config.NewNode("web1", map[string]string{"bundle": "b", "admin": "deploy"}), Host: host, Step: 1,
		Home: dir, Dir: dir, Bundle: dir + "/b", Owner: bundle.Owner{V: 1, Run: testRun, User: "alice", Host: "desk7"},
		Out: out, Secret: func(name string) (string, error) { return "s3cret-" + name, nil },
		Progress: func(_, _ int64) {},
	}, out
}

func stepOf(op Op) Step {
	return Step{N: 4, Job: Job{Name: "x", Host: Local, Timeout: time.Minute, Op: op}}
}

func TestPerformStatuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   OpFunc
		want Result
	}{
		{"ok", nothing, Result{Status: OK}},
		{"plain error", func(context.Context, *Env) error { return errors.New("no") }, Result{Status: Failed, Message: "no"}},
		{"blocked", func(context.Context, *Env) error {
			return fmt.Errorf("a: %w", Blockedf("b").WithHint("c"))
		}, Result{Status: Blocked, Message: "a: b", Hint: "c"}},
		{"exit", func(context.Context, *Env) error { return &Error{Status: Failed, Exit: 3, Err: errors.New("exit 3")} }, Result{Status: Failed, Message: "exit 3", Exit: 3}},
		{"panic", func(context.Context, *Env) error { panic("boom") }, Result{Status: Errored, Message: "panic: boom"}},
		{"goexit", func(context.Context, *Env) error { runtime.Goexit(); return nil }, Result{Status: Errored, Message: "the op ended its goroutine instead of returning"}},
		{"nil in an interface", func(context.Context, *Env) error { var none *Error; return none }, Result{Status: OK}},
		{"no status", func(context.Context, *Env) error { return &Error{Err: errors.New("no")} }, Result{Status: Failed, Message: "no"}},
		{"no space", func(context.Context, *Env) error {
			return Failedf("%w", &fs.PathError{Op: "write", Path: "/x/y", Err: syscall.ENOSPC})
		}, Result{Status: Errored, Message: "write /x/y: no space left on device", Hint: "make room, then go on from this step; df -h shows what is full"}},
		{"lost", func(context.Context, *Env) error { return fmt.Errorf("%w: gone", bundle.ErrLost) }, Result{Status: Errored, Message: "lock lost: gone"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, _ := testEnv(t, Local)
			got := Perform(t.Context(), stepOf(tt.do), env)
			if got.Status != tt.want.Status || got.Message != tt.want.Message || got.Hint != tt.want.Hint || got.Exit != tt.want.Exit || got.Step != 4 {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestPerformTellsTheHolder(t *testing.T) {
	env, _ := testEnv(t, Remote)
	if r := Perform(t.Context(), stepOf(OpenBundle{}), env); r.Status != OK {
		t.Fatalf("got %+v, want OK", r)
	}
	r := Perform(t.Context(), stepOf(OpenBundle{}), env)
	var held bundle.HeldError
	if err := json.Unmarshal(r.Owner, &held); err != nil || r.Status != Blocked || held.Owner.User != "alice" || held.Dir != env.Bundle {
		t.Errorf("got %+v, %+v, %v; want BLOCKED by alice", r, held, err)
	}
	other := *env
	other.Owner.Run = "02RUN"
	if r := Perform(t.Context(), stepOf(CloseBundle{}), &other); r.Status != Errored || !strings.Contains(r.Message, "lock lost") {
		t.Errorf("another run closes: got %+v, want ERROR lock lost", r)
	}
	if r := Perform(t.Context(), stepOf(CloseBundle{}), env); r.Status != OK {
		t.Errorf("got %+v, want OK", r)
	}
}

func TestPerformHoldsTheLimit(t *testing.T) {
	heeds := OpFunc(func(ctx context.Context, _ *Env) error { <-ctx.Done(); return ctx.Err() })
	deaf := OpFunc(func(ctx context.Context, _ *Env) error { time.Sleep(time.Hour); return nil })
	done := OpFunc(func(ctx context.Context, _ *Env) error { <-ctx.Done(); return nil })
	knows := OpFunc(func(ctx context.Context, _ *Env) error { <-ctx.Done(); return Errorf("in doubt") })
	alive := OpFunc(func(ctx context.Context, _ *Env) error {
		<-ctx.Done()
		return Errorf("%w: pid 7: %w", errAlive, ctx.Err())
	})
	failed := OpFunc(func(ctx context.Context, _ *Env) error { <-ctx.Done(); return Failedf("killed") })
	for _, tt := range []struct {
		name    string
		op      Op
		cancel  bool
		want    Status
		message string
		took    time.Duration
	}{
		{"heeds", heeds, false, TimedOut, "over its limit of 1m0s", time.Minute},
		{"heeds, cancelled", heeds, true, Stopped, "cancelled", 5 * time.Second},
		{"deaf", deaf, false, Errored, "not confirmed dead: it did not stop within 15s and may still be running", 75 * time.Second},
		{"deaf, cancelled", deaf, true, Errored, "not confirmed dead: it did not stop within 15s and may still be running", 20 * time.Second},
		{"done all the same", done, false, OK, "", time.Minute},
		{"knows better", knows, false, Errored, "in doubt", time.Minute},
		{"alive", alive, false, Errored, "not confirmed dead: pid 7: context deadline exceeded", time.Minute},
		{"failed by it", failed, false, TimedOut, "over its limit of 1m0s: killed", time.Minute},
		{"failed by it, cancelled", failed, true, Stopped, "cancelled: killed", 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, _ := testEnv(t, Local)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.cancel {
					time.AfterFunc(5*time.Second, cancel)
				}
				r := Perform(ctx, stepOf(tt.op), env)
				time.Sleep(2 * time.Hour) // until the deaf one has ended too
				if r.Status != tt.want || r.Message != tt.message || r.Took != tt.took {
					t.Errorf("got %s %q after %v, want %s %q after %v", r.Status, r.Message, r.Took, tt.want, tt.message, tt.took)
				}
			})
		})
	}
}

func TestPerformRetries(t *testing.T) {
	for _, tt := range []struct {
		name   string
		retry  int
		until  int // the try that is OK
		status Status
		limit  time.Duration
		want   Status
		tries  int
		took   time.Duration
	}{
		{"none", 0, 9, Failed, time.Hour, Failed, 1, 0},
		{"third time lucky", 5, 3, Failed, time.Hour, OK, 3, 3 * time.Second},
		{"used up", 2, 9, Failed, time.Hour, Failed, 3, 3 * time.Second},
		{"at most 30 s apart", 7, 9, Failed, time.Hour, Failed, 8, (1 + 2 + 4 + 8 + 16 + 30 + 30) * time.Second},
		{"only FAILED", 5, 9, Errored, time.Hour, Errored, 1, 0},
		{"no time for another", 5, 9, Failed, 5 * time.Second, Failed, 3, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, _ := testEnv(t, Local)
			synctest.Test(t, func(t *testing.T) {
				n := 0
				s := stepOf(OpFunc(func(context.Context, *Env) error {
					if n++; n == tt.until {
						return nil
					}
					return &Error{Status: tt.status, Err: errors.New("no")}
				}))
				s.Retry, s.Timeout = tt.retry, tt.limit
				r := Perform(t.Context(), s, env)
				if r.Status != tt.want || r.Tries != tt.tries || n != tt.tries || r.Took != tt.took {
					t.Errorf("got %s after %d tries and %v, want %s after %d and %v", r.Status, r.Tries, r.Took, tt.want, tt.tries, tt.took)
				}
			})
		})
	}
}

func TestPerformRevealsAndMasks(t *testing.T) {
	env, out := testEnv(t, Local)
	var op Op = Shell{Line: "printf '%s' s3cret-; sleep 0.05; printf 'db and %s!' " + config.SecretToken("db") + " >&2; exit 4"}
	s := stepOf(op)
	s.Words, s.cat = []string{"shell", op.(Shell).Line}, Stock()
	r := Perform(t.Context(), s, env)
	want := config.Masked + " and " + config.Masked + "!"
	if out.String() != want || len(r.Tail) != 1 || r.Tail[0] != want || r.Exit != 4 {
		t.Errorf("got %q, %+v; want %q and exit 4", out, r, want)
	}
	if s.Op.(Shell).Line != op.(Shell).Line {
		t.Error("the plan's own op was changed")
	}

	asked := stepOf(OpFunc(func(_ context.Context, e *Env) error {
		v, _ := e.Secret("x")
		e.Note("note %s", v)
		return Failedf("the password %s is wrong", v).WithHint("not %s", v)
	}))
	r = Perform(t.Context(), asked, env)
	if strings.Contains(fmt.Sprint(r), "s3cret") || !strings.Contains(r.Message, config.Masked) {
		t.Errorf("got %+v, want the secret masked", r)
	}

	env.Secret = func(string) (string, error) { return "", errors.New("no keyring") }
	if r := Perform(t.Context(), s, env); r.Status != Errored || !strings.Contains(r.Message, "secret db: no keyring") {
		t.Errorf("got %+v, want ERROR about the keyring", r)
	}
}

func TestPerformNotesAndCounts(t *testing.T) {
	env, out := testEnv(t, Local)
	r := Perform(t.Context(), stepOf(OpFunc(func(_ context.Context, e *Env) error {
		for i := range 25 {
			fmt.Fprintf(e.Out, "line %d\r\n", i+1)
		}
		_, _ = e.Out.Write([]byte("end"))
		e.Note("%d lines", 26)
		return nil
	})), env)
	if r.Lines != 26 || r.Bytes != int64(out.Len()) || r.Note != "26 lines" || len(r.Tail) != 20 || r.Tail[0] != "line 7" || r.Tail[19] != "end" {
		t.Errorf("got %+v", r)
	}
}

func TestPerformDoesNotBeginWhenCancelled(t *testing.T) {
	env, _ := testEnv(t, Local)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := false
	r := Perform(ctx, stepOf(OpFunc(func(context.Context, *Env) error { began = true; return nil })), env)
	if r.Status != Stopped || began {
		t.Errorf("got %+v, begun %v; want STOPPED, and nothing begun", r, began)
	}
}

func TestPerformHearsNothingAfterwards(t *testing.T) {
	env, out := testEnv(t, Local)
	late := make(chan *Env, 1)
	Perform(t.Context(), stepOf(OpFunc(func(_ context.Context, e *Env) error { late <- e; return nil })), env)
	e := <-late
	if n, err := e.Out.Write([]byte("late")); n != 4 || err != nil || out.Len() != 0 {
		t.Errorf("got %d, %v and %q passed on; want it swallowed", n, err, out)
	}
}

func TestTailIsBounded(t *testing.T) {
	var tl Tail
	chunk := bytes.Repeat([]byte("é"), 1<<15)
	for range 2000 { // 128 MB without a newline
		_, _ = tl.Write(chunk)
	}
	lines := tl.Lines()
	if tl.Count() != 1 || len(lines) != 1 || lines[0] != strings.Repeat("é", 500) {
		t.Errorf("got %d lines, the first of %d bytes; want one of 1000", len(lines), len(lines[0]))
	}
	_, _ = tl.Write([]byte("\n" + strings.Repeat("x", 999) + "é"))
	if got := tl.Lines()[1]; got != strings.Repeat("x", 999) {
		t.Errorf("got %d bytes, want the split character left out", len(got))
	}
}

func TestMaskerWhateverTheCuts(t *testing.T) {
	const text = "xab abq s3cret s3cre s3cretx ab s3cs3cret end s3c"
	secrets := []string{"s3cret", "s3cretx", "xab", "abq"}
	whole := &masker{}
	for _, s := range secrets {
		whole.add(s)
	}
	want := whole.mask(text)
	if want != "******** ******** ******** s3cre ******** ab s3c******** end s3c" {
		t.Fatalf("got %q", want)
	}
	for size := 1; size < len(text); size++ {
		m := &masker{}
		for _, s := range secrets {
			m.add(s)
		}
		var got strings.Builder
		for p := []byte(text); len(p) > 0; {
			n := min(size, len(p))
			got.Write(m.feed(p[:n]))
			p = p[n:]
			if len(m.held) >= len("s3cretx") {
				t.Fatalf("holds back %d bytes", len(m.held))
			}
		}
		got.Write(m.flush())
		if got.String() != want {
			t.Errorf("in pieces of %d: got %q, want %q", size, got.String(), want)
		}
	}
}

func TestMaskerKnowsASecretInQuotes(t *testing.T) {
	m := &masker{}
	m.add(`it's "hunter2" \o/`)
	if got := m.mask(fmt.Sprintf(`%q it's "hunter2" \o/`, `pw=it's "hunter2" \o/`)); got != `"pw=********" ********` {
		t.Errorf("got %s", got)
	}
}

func TestMaskerKnowsTheLinesOfASecret(t *testing.T) {
	m := &masker{}
	m.add("-----BEGIN KEY-----\r\nMIIEvQIBADAN\nabc\n-----END KEY-----\n")
	for text, want := range map[string]string{
		"-----BEGIN KEY-----\r\nMIIEvQIBADAN\nabc\n-----END KEY-----\n": "********",
		"> MIIEvQIBADAN abc": "> ******** abc",
		"abc":                "abc",
	} {
		if got := m.mask(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
