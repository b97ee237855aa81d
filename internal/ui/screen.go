// Package ui makes text for people, and JSON lines for programs, of the
// runner's events.
package ui

import (
	"io"
	"os"
	"sync"
	"time"

	"example.org/conc/runner"
)

// Options say what is shown, and where. Out and Err are needed.
type Options struct {
	Out     io.Writer // results: the steps and how they ended; JSON lines
	Err     io.Writer // progress, notes, live output
	Name    string    // of the program, in the commands that are proposed; "" is conc
	Args    []string  // global flags that a proposed command needs: -c FILE
	JSON    bool
	Verbose bool // live output; with JSON: start, output and progress of steps, too
	Quiet   bool // problems and the end only
	Color   bool
	Home    string             // shown as ~ in paths of this host
	Hint    func(error) string // what an error wants done about it; nil: nothing
	Now     func() time.Time   // nil is time.Now
}

// Screen shows one command's run. It is safe for concurrent use.
type Screen struct {
	mu    sync.Mutex
	text  *text      // one of the two
	lines *jsonLines // is set
	live  *live      // the status line; nil when it has no terminal of its own
	ended bool       // RunEnd was shown
}

// New makes a screen. Close ends it.
func New(o Options) *Screen {
	if o.Name == "" {
		o.Name = "conc"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Hint == nil {
		o.Hint = func(error) string { return "" }
	}
	s := &Screen{}
	if o.JSON {
		s.lines = &jsonLines{o: o, progress: map[string]time.Time{}}
		return s
	}
	s.text = newText(o)
	if Terminal(o.Err) && !o.Quiet && !pipe(o.Out) {
		s.live = newLive(o, s.text)
		s.live.start(&s.mu)
	}
	return s
}

// pipe tells whether a stream is a pipe: what reads it may write to the terminal
// that the status line is on, as tee does.
func pipe(stream io.Writer) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// Show is the runner's Sink.
func (s *Screen) Show(e runner.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Time.IsZero() {
		e.Time = s.now()
	}
	if e.Type == runner.RunEnd {
		s.ended = true
	}
	if s.lines != nil {
		s.lines.show(e)
		return
	}
	if s.live == nil {
		s.text.show(e)
		return
	}
	s.live.note(e)
	switch e.Type {
	case runner.Progress, runner.StepStart, runner.Connected:
		s.live.draw() // at the next tick at the latest
	case runner.Output:
		if s.text.o.Verbose {
			s.around(e)
		}
	default:
		s.around(e)
	}
}

// around writes lines where the status line is, and that below them again.
func (s *Screen) around(e runner.Event) {
	s.live.hide()
	s.text.show(e)
	s.live.draw()
}

// Fail ends the JSON lines of a command that ended without a RunEnd: for an
// error before the run. Text is not its business.
func (s *Screen) Fail(code int, message, hint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines != nil && !s.ended {
		s.ended = true
		s.lines.fail(s.now(), code, message, hint)
	}
}

// Pause takes the status line away, for a question to be asked, until the
// returned function is called.
func (s *Screen) Pause() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return func() {}
	}
	s.live.hide()
	s.live.paused++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.live.paused--
		s.live.draw()
	}
}

// Close takes the status line away for good. It may be called again.
func (s *Screen) Close() {
	if s.live != nil {
		s.live.stop(&s.mu)
	}
}

func (s *Screen) now() time.Time {
	if s.lines != nil {
		return s.lines.o.Now()
	}
	return s.text.o.Now()
}
