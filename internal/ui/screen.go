// Package ui makes text for people, and JSON lines for programs, of the
// runner's events.
package ui

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

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
	out   *outlet
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
	s := &Screen{out: newOutlet(o.Out, o.Err)}
	if o.JSON {
		s.lines = &jsonLines{o: o, out: way{s.out, o.Out, false}, live: way{s.out, o.Out, true}, progress: map[string]time.Time{}}
		s.out.notice = s.lines.leftOut
		return s
	}
	s.text = newText(o)
	if Terminal(o.Err) && !o.Quiet && !pipe(o.Out) {
		s.live = newLive(o, s.text, s.out)
		s.live.start(&s.mu)
	}
	s.text.o.Out, s.text.o.Err, s.text.live = way{s.out, o.Out, false}, way{s.out, o.Err, false}, way{s.out, o.Err, true}
	s.out.notice = func(lost int64) (io.Writer, []byte) {
		return o.Err, []byte(indent + "| [" + leftOut(lost) + "]\n")
	}
	return s
}

// leftOut says that live output is not shown.
func leftOut(bytes int64) string {
	return humanize.Bytes(uint64(bytes)) + " of output not shown: the terminal took nothing"
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
	defer s.out.askAgain()
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

// Ask puts a question on standard error, with the status line taken away, until
// the returned function is called. What is shown meanwhile stands above it.
func (s *Screen) Ask(question string) (answered func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause(1)
	if question != "" {
		s.out.ask(question)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if question != "" {
			s.out.answered()
		}
		s.pause(-1)
	}
}

func (s *Screen) pause(by int) {
	if s.live != nil {
		s.live.hide()
		s.live.paused += by
		s.live.draw()
	}
}

// Tell writes to standard error, in a line of its own.
func (s *Screen) Tell(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil {
		s.live.hide()
		defer s.live.draw()
	}
	s.out.put(s.out.err, []byte(text))
	s.out.askAgain()
}

// Results gives standard output, for what is no run's: text of whole lines, or
// JSON lines. Writing to it never fails, and takes the status line away meanwhile.
func (s *Screen) Results() io.Writer { return results{s} }

type results struct{ s *Screen }

// Write writes lines where the status line is, and that below them again.
func (r results) Write(p []byte) (int, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil {
		s.live.hide()
		defer s.live.draw()
	}
	s.out.put(s.out.out, p)
	s.out.askAgain()
	return len(p), nil
}

// Watch has the status line show what line makes, at most width columns, until
// Watch(nil). line must not write to the screen. It is not called where there is
// no status line.
func (s *Screen) Watch(line func(width int) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil {
		s.live.watched = line
		s.live.draw()
	}
}

// Ended says that the command has written its own end: Fail adds nothing to it.
func (s *Screen) Ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// Put writes a part of a question to standard error.
func (s *Screen) Put(text string) { s.out.more(text) }

// Flush waits until all that was shown is written, but no longer than limit; 0
// is no limit.
func (s *Screen) Flush(limit time.Duration) { s.out.flush(limit) }

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
