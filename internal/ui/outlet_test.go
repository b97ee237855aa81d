package ui

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"example.org/conc/runner"
)

// A stream that takes nothing keeps nobody waiting; of live output the oldest is
// left out, and everything else comes once it takes again.
func TestStreamThatTakesNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, screen := newScript(Options{Out: w, Err: w, Verbose: true})
	s.begin()
	s.ok(1)
	line := strings.Repeat("x", 999) + "\n"
	start := time.Now()
	const lines = 3000
	for range lines {
		s.event(runner.Event{Type: runner.Output, Step: s.plan.Steps[1], Data: []byte(line)})
	}
	s.event(runner.Event{Type: runner.Output, Step: s.plan.Steps[1], Data: []byte("the last\n")})
	s.ok(2)
	s.ok(3)
	if took := time.Since(start); took > 20*stall {
		t.Errorf("it took %v, want only the first to wait", took)
	}
	screen.out.mu.Lock()
	waiting := screen.out.waiting
	screen.out.mu.Unlock()
	if waiting > maxWaiting {
		t.Errorf("%d bytes wait, want at most %d", waiting, maxWaiting)
	}
	var got bytes.Buffer
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(&got, r)
	}()
	screen.Close()
	screen.Flush(0)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	<-over
	text := got.String()
	for _, want := range []string{"1/5  open", "2/5  stage", "3/5  deliver", "MB of output not shown", "| the last\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	if n := strings.Count(text, "| xxx"); n < 500 || n >= lines {
		t.Errorf("%d lines of %d are shown, want about 1 MB", n, lines)
	}
	if strings.Index(text, "not shown") > strings.Index(text, "| the last") {
		t.Error("what is left out is told after what is not")
	}
}

// Leaving does not wait for such a stream without end.
func TestFlushHasALimit(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s, screen := newScript(Options{Out: w, Err: w, Verbose: true})
	s.begin()
	for range 100 {
		s.event(runner.Event{Type: runner.Output, Step: s.plan.Steps[1], Data: []byte(strings.Repeat("x", 999) + "\n")})
	}
	start := time.Now()
	screen.Flush(50 * time.Millisecond)
	if took := time.Since(start); took > 20*stall {
		t.Errorf("it took %v", took)
	}
	_ = r.Close()
	screen.Flush(0) // what cannot be written any more is no reason to wait
	_ = w.Close()
}
