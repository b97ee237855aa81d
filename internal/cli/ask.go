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
	defer p.pauseScreen()()
	fmt.Fprintf(p.streams.Err, "%s ", ui.Line(question))
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(int(t.Fd()))
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		fmt.Fprintln(p.streams.Err)
		return string(a.text), a.err
	case <-ctx.Done():
		// The reader stays in its system call; the echo must not stay off.
		err := term.Restore(int(t.Fd()), state)
		fmt.Fprintln(p.streams.Err)
		return "", errors.Join(ctx.Err(), err)
	}
}

// confirm asks a question whose answer is yes or no; anything but yes is no.
func (p *program) confirm(ctx context.Context, question string) (bool, error) {
	if p.terminal() == nil {
		return false, errNobody
	}
	defer p.pauseScreen()()
	fmt.Fprintf(p.streams.Err, "%s [yes/no] ", ui.Escape(question))
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := bufio.NewReader(p.streams.In).ReadString('\n')
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return false, a.err
		}
		text := strings.ToLower(strings.TrimSpace(a.text))
		return text == "yes" || text == "y", nil
	case <-ctx.Done():
		fmt.Fprintln(p.streams.Err)
		return false, ctx.Err()
	}
}

// pauseScreen takes the status line away until the returned function is called.
func (p *program) pauseScreen() func() {
	if p.sink == nil {
		return func() {}
	}
	return p.sink.Pause()
}
