package nodetest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"

	"example.org/conc/jobs"
)

// command runs a program and judges how it ends and what it prints.
type command struct {
	args  []string
	wants []want // "exit", and "stdout:contains" and its like
}

func commandEntry() Entry {
	return Entry{
		Name:    "command",
		Args:    "[exit N] [stdout|stderr contains|lacks|matches TEXT]... -- PROGRAM [ARGUMENT...]",
		Summary: "a program: how it ends, and what it prints",
		Help: `The program is started with exactly these arguments, without a shell, in the home
directory, with an empty standard input. What is wanted of it stands before the
two hyphens; without them the whole line is the program, and it has to exit with 0.

exit is its exit status, 0 where none is named. stdout and stderr are followed by
contains, lacks or matches, as for file, and look at the first MiB of what is
printed. Such checks run one after the other: what a program does is not known.

A program that cannot be started is ERROR.`,
		Example: "command stdout contains '1.4.2' -- %(venv)s/bin/shop --version",
		Goss:    "command",
		Alone:   true,
		Parse:   parseCommand,
	}
}

func parseCommand(args []string) (Check, error) {
	var c command
	cut := -1
	for i, a := range args {
		if a == "--" {
			cut = i
			break
		}
	}
	c.args = args[cut+1:]
	if len(c.args) == 0 || c.args[0] == "" {
		return nil, errors.New("it needs a program to run")
	}
	g := grammar{values: map[string]func(string) error{contains: nil, lacks: nil, matches: isPattern}}
	for rest := args[:max(cut, 0)]; len(rest) > 0; {
		if len(rest) >= 2 && rest[0] == "exit" {
			if n, err := strconv.Atoi(rest[1]); err != nil || n < 0 || n > 255 {
				return nil, errors.New("exit takes a number from 0 to 255")
			}
			c.wants, rest = append(c.wants, want{"exit", rest[1]}), rest[2:]
			continue
		}
		if len(rest) < 3 || rest[0] != "stdout" && rest[0] != "stderr" {
			return nil, errors.New("before -- stand exit N, or stdout or stderr with contains, lacks or matches and a text")
		}
		ws, err := g.read(rest[1:3])
		if err != nil {
			return nil, err
		}
		c.wants, rest = append(c.wants, want{rest[0] + " " + ws[0].property, ws[0].value}), rest[3:]
	}
	return c, nil
}

// maxPrinted bounds what is kept of each output.
const maxPrinted = 1 << 20

// Look runs the program.
func (c command) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	var stdout, stderr printed
	e := *env
	e.Out = &stderr
	err := e.Run(ctx, jobs.Cmd{Args: c.args, Stdout: &stdout})
	exit := "0"
	var failed *jobs.Error
	switch {
	case err == nil:
	case errors.As(err, &failed) && failed.Status == jobs.Failed && ctx.Err() == nil:
		if exit = strconv.Itoa(failed.Exit); failed.Signal != 0 {
			exit = "by " + failed.Error()
		}
	default:
		return nil, err
	}
	code := Finding{OK: exit == "0", Want: "exit 0", Got: "exit " + exit}
	findings := []Finding{code}
	for _, w := range c.wants {
		if w.property == "exit" {
			findings[0] = Finding{OK: exit == w.value, Want: "exit " + w.value, Got: "exit " + exit}
			continue
		}
		what, property, _ := strings.Cut(w.property, " ")
		text := stdout.Bytes()
		if what == "stderr" {
			text = stderr.Bytes()
		}
		findings = append(findings, onText(what, want{property, w.value}, text))
	}
	if !findings[0].OK && stderr.Len() > 0 {
		findings[0].Got += ": " + excerpt(bytes.TrimSpace(stderr.Bytes()))
	}
	return findings, nil
}

// printed keeps the beginning of an output, and takes the rest. The buffer is
// no part of its method set: io.Copy would fill it by ReadFrom.
type printed struct{ kept bytes.Buffer }

func (p *printed) Write(b []byte) (int, error) {
	_, _ = p.kept.Write(b[:min(len(b), max(0, maxPrinted-p.Len()))])
	return len(b), nil
}

// Bytes is what was kept.
func (p *printed) Bytes() []byte { return p.kept.Bytes() }

// Len is how much was kept.
func (p *printed) Len() int { return p.kept.Len() }

// String is Bytes, as text.
func (p *printed) String() string { return p.kept.String() }
