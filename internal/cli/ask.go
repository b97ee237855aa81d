package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// errNobody is the answer to a question when there is nobody to ask.
var errNobody = errors.New("there is no terminal to ask on")

// terminal is the terminal that a person can be asked on, or nil.
func (p *program) terminal() *os.File {
	if f, ok := p.streams.In.(*os.File); ok && ui.Terminal(f) {
		return f
	}
	return nil
}

// prompt asks for something that must not be seen: no echo, and the terminal's
// state is restored on every way out. ctx being done ends it.
func (p *program) prompt(ctx context.Context, question string) (string, error) {
	t := p.terminal()
	if t == nil {
		return "", errNobody
	}
	state, err := term.GetState(int(t.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(t.Fd()), state) //nolint:errcheck // there is nothing left to try
	return p.ask(ctx, question+" ", func() (string, error) {
		text, err := term.ReadPassword(int(t.Fd()))
		p.put("\n")
		return string(text), err
	})
}

// line asks for a line of text.
func (p *program) line(ctx context.Context, question string) (string, error) {
	t := p.terminal()
	if t == nil {
		return "", errNobody
	}
	return p.ask(ctx, question, func() (string, error) {
		// A terminal gives one line a read: nothing is left in the buffer.
		text, err := bufio.NewReader(t).ReadString('\n')
		return strings.TrimSpace(text), err
	})
}

// ask puts a question, with the status line taken away, and reads the answer.
// Questions of several nodes wait for each other. When ctx is done first, the
// reader stays in its system call, which nothing can end.
func (p *program) ask(ctx context.Context, question string, read func() (string, error)) (string, error) {
	p.asking.Lock()
	defer p.asking.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	defer p.pauseScreen()()
	p.put(ui.Escape(question))
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := read()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		if errors.Is(a.err, io.EOF) {
			a.err = errors.New("no answer: the input has ended")
		}
		return a.text, a.err
	case <-ctx.Done():
		p.put("\n")
		return "", ctx.Err()
	}
}

// put writes a part of a question where the person sees it: on the terminal
// itself, when standard error goes to a file.
func (p *program) put(text string) {
	if f, ok := p.streams.Err.(*os.File); ok && !ui.Terminal(f) {
		if _, err := p.terminal().WriteString(text); err == nil {
			return
		}
	}
	fmt.Fprint(p.streams.Err, text)
}

// confirm asks a question whose answer is yes or no; anything but yes is no.
func (p *program) confirm(ctx context.Context, question string) (bool, error) {
	text, err := p.line(ctx, question+" [yes/no] ")
	text = strings.ToLower(text)
	return text == "yes" || text == "y", err
}

// hold gives the question that the op of that name asks: go on, or stop here.
func (p *program) hold(ctx context.Context) func(string) error {
	return func(message string) error {
		text, err := p.line(ctx, "HOLD  "+message+"\n      Enter to go on, q to stop here: ")
		switch text = strings.ToLower(text); {
		case errors.Is(err, errNobody):
			return jobs.ErrNoAnswer
		case err != nil:
			return err
		case text == "q", text == "quit":
			return jobs.Stoppedf("stopped at the hold")
		}
		return nil
	}
}

// warn tells, in a line of its own, of something that does not stop the command.
func (p *program) warn(text string) {
	defer p.pauseScreen()()
	if p.asking.TryLock() {
		p.asking.Unlock()
	} else {
		fmt.Fprintln(p.streams.Err) // a question is in this line
	}
	fmt.Fprintf(p.streams.Err, "%s: warning: %s\n", p.name(), ui.Line(text))
}

// pauseScreen takes the status line away until the returned function is called.
func (p *program) pauseScreen() func() {
	if p.sink == nil {
		return func() {}
	}
	return p.sink.Pause()
}
