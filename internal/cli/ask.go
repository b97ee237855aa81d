package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

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
	text, err := p.ask(ctx, question+" ", silently)
	if err == nil {
		p.put("\n")
	}
	return text, err
}

// line asks for a line of text.
func (p *program) line(ctx context.Context, question string) (string, error) {
	text, err := p.ask(ctx, question, nil)
	return strings.TrimSpace(text), err
}

// ask puts a question, with the status line taken away, and reads the answer.
// Questions of several nodes wait for each other; one that is over, because ctx
// is done, takes no answer from the next. prepare, unless it is nil, makes the
// terminal ready before the question can be seen.
func (p *program) ask(ctx context.Context, question string, prepare func(*os.File) (restore func(), err error)) (string, error) {
	t := p.terminal()
	if t == nil {
		return "", errNobody
	}
	if err := p.asking.take(ctx); err != nil {
		return "", err
	}
	defer p.asking.give()
	if prepare != nil {
		restore, err := prepare(t)
		if err != nil {
			return "", err
		}
		defer restore()
	}
	defer p.pose(question)()
	text, err := readLine(ctx, t)
	switch {
	case ctx.Err() != nil && err != nil:
		p.put("\n")
		return "", ctx.Err()
	case errors.Is(err, io.EOF):
		return "", errors.New("no answer: the input has ended")
	}
	return text, err
}

// aside is the terminal, when a person who is asked sees nothing of standard
// error: it goes to a file.
func (p *program) aside() *os.File {
	if f, ok := p.streams.Err.(*os.File); ok && !ui.Terminal(f) {
		return p.terminal()
	}
	return nil
}

// put writes a part of a question where the person sees it.
func (p *program) put(text string) {
	if t := p.aside(); t != nil {
		if _, err := t.WriteString(text); err == nil {
			return
		}
	}
	if p.sink != nil {
		p.sink.Put(text)
		return
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
func (w *wave) hold(t task) func(context.Context, string) error {
	node := ""
	if w.nodes > 1 {
		node = t.node.Name() + "  "
	}
	return func(ctx context.Context, message string) error {
		for {
			text, err := w.line(ctx, "HOLD  "+node+message+"\n      Enter to go on, q to stop here: ")
			switch {
			case errors.Is(err, errNobody):
				return jobs.ErrNoAnswer
			case err != nil:
				return err
			}
			switch strings.ToLower(text) {
			case "", "y", "yes":
				return nil
			case "q", "quit", "n", "no":
				return jobs.Stoppedf("stopped at the hold")
			}
		}
	}
}

// warn tells, in a line of its own, of something that does not stop the command.
func (p *program) warn(text string) {
	text = fmt.Sprintf("%s: warning: %s\n", p.name(), ui.Line(text))
	if p.sink != nil {
		p.sink.Tell(text)
		return
	}
	if p.asking.taken() {
		text = "\n" + text // a question is in this line
	}
	fmt.Fprint(p.streams.Err, text)
}

// pose puts a question, with the status line taken away until the returned
// function is called. What is shown meanwhile stands above the question.
func (p *program) pose(question string) (answered func()) {
	question = ui.Escape(question)
	if p.sink != nil && p.aside() == nil {
		return p.sink.Ask(question)
	}
	answered = func() {}
	if p.sink != nil {
		answered = p.sink.Ask("")
	}
	p.put(question)
	return answered
}

// flush waits until what was shown is written; not for long, where the operator
// leaves at once. A command does it up to three times.
func (p *program) flush() {
	switch {
	case p.sink == nil:
	case p.leaving.Load():
		p.sink.Flush(300 * time.Millisecond)
	default:
		p.sink.Flush(0)
	}
}
