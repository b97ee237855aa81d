package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

// maxFile is the size of the largest deploy.ini, in bytes.
const maxFile = 1 << 20

// readFile reads what is at path, no more of it than a deploy.ini may hold.
func readFile(path string) ([]byte, *Problem) {
	complain := func(reason, hint string) *Problem {
		return &Problem{Origin: Origin{File: path}, Reason: reason, Hint: hint}
	}
	cannot := func(err error) *Problem {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the path is in the origin
		}
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			hint = "name another file with -c, or let conc init write one"
		}
		return complain(printable(err.Error()), hint)
	}
	// Looked at before it is opened: to open a FIFO is to wait for its writer.
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, cannot(err)
	case info.IsDir():
		return nil, complain("is a directory", "")
	case info.Mode()&fs.ModeSocket != 0, info.Mode()&fs.ModeNamedPipe != 0 && !strings.HasPrefix(path, "/dev/"):
		return nil, complain("is not a regular file", "") // below /dev/ a pipe is our own standard input, or a shell's <(...)
	case info.Size() > maxFile:
		return nil, complain(tooLarge, "")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cannot(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, cannot(err)
	}
	return data, nil
}

const tooLarge = "is larger than 1 MiB"

// text checks what data is before anybody looks for a meaning in it. The reason
// is that of a file that is no text at all.
func text(data []byte) (_ []byte, line int, reason string) {
	if len(data) > maxFile {
		return nil, 0, tooLarge
	}
	if wide(data) {
		return nil, 1, "not UTF-8: it looks like UTF-16"
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for rest, n := data, 0; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			return nil, n + 1, fmt.Sprintf(`not UTF-8: byte \x%02x`, rest[0])
		}
		if r == '\n' {
			n++
		}
		rest = rest[size:]
	}
	return data, 0, ""
}

// wide tells UTF-16, with a byte order mark or by the zero byte that every
// ASCII character has there.
func wide(data []byte) bool {
	if len(data) < 2 {
		return false
	}
	a, b := data[0], data[1]
	return a == 0xff && b == 0xfe || a == 0xfe && b == 0xff || (a == 0) != (b == 0)
}

// control gives the reason against a line, without its line end, that holds a
// control character, "" when there is none. A tab is none.
func control(line string) string {
	for _, r := range line {
		switch {
		case r == '\t':
		case r == '\r':
			return `carriage return (\r) that does not end a line`
		case r < ' ' || r >= 0x7f && r <= 0x9f:
			return "control character " + printable(string(r))
		}
	}
	return ""
}
