package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// turns lets one at a time put a question, in the order that they came. The zero
// value is ready.
type turns struct {
	once  sync.Once
	place chan struct{}
}

// take waits for a turn, until ctx is done.
func (t *turns) take(ctx context.Context) error {
	t.init()
	select {
	case t.place <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		t.give()
		return err
	}
	return nil
}

// give ends a turn.
func (t *turns) give() { <-t.place }

// taken tells whether it is somebody's turn.
func (t *turns) taken() bool { t.init(); return len(t.place) > 0 }

func (t *turns) init() { t.once.Do(func() { t.place = make(chan struct{}, 1) }) }

// keyTick is how often a question that waits for a key looks whether it is over.
const keyTick = 50_000 // microseconds

// readLine reads a line from a terminal. Nothing is taken from the terminal
// after ctx is done: the next line is the next question's.
func readLine(ctx context.Context, t *os.File) (string, error) {
	var line []byte
	buf := make([]byte, 4096) // the longest line that a terminal gives
	for {
		if err := untilKey(ctx, int(t.Fd())); err != nil {
			return "", err
		}
		// A terminal is readable when there is a whole line, and gives one a read.
		n, err := t.Read(buf)
		line = append(line, buf[:n]...)
		text, whole := strings.CutSuffix(string(line), "\n")
		switch {
		case whole, errors.Is(err, io.EOF) && text != "":
			return text, nil
		case err != nil:
			return "", err
		case len(line) > 1<<16:
			return "", errors.New("the answer is too long")
		}
	}
}

// untilKey waits until a terminal has something to be read.
func untilKey(ctx context.Context, fd int) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var set unix.FdSet // unlike poll, select knows terminals everywhere
		set.Set(fd)
		n, err := unix.Select(fd+1, &set, nil, nil, &unix.Timeval{Usec: keyTick})
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if err == nil && n > 0 {
			return nil
		}
	}
}

// silently switches a terminal's echo off, and gives how to put it back.
func silently(t *os.File) (restore func(), err error) {
	fd := int(t.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	now := *before
	now.Lflag = now.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	now.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, setTermios, &now); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }, nil
}
