// Package ui makes text for people, and JSON lines for programs, of the
// runner's events.
package ui

import (
	"io"
	"time"

	"example.org/conc/runner"
)

// Options say what is shown, and where.
type Options struct {
	Out     io.Writer // results: the steps, the end; JSON lines
	Err     io.Writer // progress and problems
	Name    string    // of the program, in commands that are proposed
	Args    []string  // global flags that a proposed command needs: -c FILE
	JSON    bool
	Verbose bool // live output
	Quiet   bool // problems and the end only
	Color   bool
	Now     func() time.Time
	Getenv  func(string) string
}

// Screen shows one command's run. It is safe for concurrent use.
type Screen struct {
	o Options
}

// New makes a screen.
func New(o Options) *Screen { return &Screen{o: o} }

// Show is the runner.Sink.
func (s *Screen) Show(e runner.Event) {}

// Pause takes the status line away, for a question to be asked, until the
// returned function is called.
func (s *Screen) Pause() (resume func()) { return func() {} }
