package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/sshconn"
	"example.org/conc/jobs"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{jobs.Failedf("no"), 1},
		{usagef("no"), 2},
		{jobs.Blockedf("no"), 3},
		{&bundle.HeldError{}, 3},
		{&sshconn.Error{Kind: sshconn.Unreachable, Err: errors.New("x")}, 4},
		{&sshconn.Error{Kind: sshconn.UnknownKey, Err: errors.New("x")}, 4},
		{&sshconn.Error{Kind: sshconn.ChangedKey, Err: errors.New("x")}, 4},
		{&sshconn.Error{Kind: sshconn.NoAuth, Err: errors.New("x")}, 4},
		{config.Problems{{Reason: "x"}}, 5},
		{&sshconn.Error{Kind: sshconn.Lost, Err: errors.New("x")}, 6},
		{&agent.StartError{Err: errors.New("x")}, 6},
		{&agent.LostError{Err: errors.New("x")}, 6},
		{jobs.Errorf("no"), 6},
		{panicError{"x"}, 6},
		{errors.New("anything else"), 6},
		{jobs.Stoppedf("no"), 7},
		{&jobs.Error{Status: jobs.TimedOut, Err: errors.New("x")}, 124},
		{context.Canceled, 130},
		{ended{42}, 42},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%#v: got %d, want %d", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := exitCode(fmt.Errorf("web1: %w", c.err)); got != c.want {
			t.Errorf("%#v, wrapped: got %d, want %d", c.err, got, c.want)
		}
	}
}

func TestWorst(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  int
	}{
		{nil, 0},
		{[]int{0, 0}, 0},
		{[]int{7, 3, 124, 1, 4, 6, 130, 0}, 130},
		{[]int{7, 3, 124, 1, 4, 6}, 6},
		{[]int{7, 3, 124, 1, 4}, 4},
		{[]int{7, 3, 124, 1}, 1},
		{[]int{7, 3, 124}, 124},
		{[]int{7, 3, 0}, 3},
		{[]int{0, 7}, 7},
		{[]int{0, 5}, 5},
	} {
		if got := worst(c.codes); got != c.want {
			t.Errorf("%v: got %d, want %d", c.codes, got, c.want)
		}
	}
}

// testProgram is a program that sees nothing of this machine.
func testProgram(t *testing.T, app App) (p *program, out, errs *bytes.Buffer) {
	t.Helper()
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return &program{
		app: app, streams: Streams{In: strings.NewReader(""), Out: out, Err: errs},
		env: environment{Home: t.TempDir(), StateDir: t.TempDir(), Getenv: func(string) string { return "" }, Now: time.Now},
	}, out, errs
}

func TestPanicIsAnError(t *testing.T) {
	for _, debug := range []string{"", "1"} {
		p, out, errs := testProgram(t, App{})
		p.env.Getenv = func(key string) string {
			if key == "CONC_DEBUG" {
				return debug
			}
			return ""
		}
		p.env.Home = t.TempDir()
		p.streams.Out = panicWriter{}
		if got := p.main(t.Context(), []string{"version"}); got != exitError {
			t.Errorf("got exit code %d, want %d", got, exitError)
		}
		const want = "conc: bug in conc: boom\\x1b[2J\n  please report it; CONC_DEBUG=1 shows where it happened\n"
		if got := errs.String(); !strings.HasSuffix(got, want) {
			t.Errorf("got %q, want %q at its end", got, want)
		}
		if got := strings.Contains(errs.String(), "goroutine "); got != (debug == "1") {
			t.Errorf("CONC_DEBUG=%s: a stack trace: got %v", debug, got)
		}
		if out.Len() > 0 {
			t.Errorf("standard output: got %q, want nothing", out)
		}
	}
}

func TestHintIsIndentedWhole(t *testing.T) {
	p, _, errs := testProgram(t, App{})
	p.complain("conc: a reason", "a word of advice:\nconc ops\x1b[2J")
	if got, want := errs.String(), "conc: a reason\n  a word of advice:\n  conc ops\\x1b[2J\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type panicWriter struct{}

func (panicWriter) Write([]byte) (int, error) { panic("boom\x1b[2J") }
