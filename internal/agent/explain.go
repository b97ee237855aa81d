package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// clean makes one line of a node's text that is safe to print: what could move
// a cursor or change a colour is written as an escape, and it is cut at limit
// bytes.
func clean(s string, limit int) string {
	s = strings.TrimSpace(s)
	var b strings.Builder
	for i := 0; i < len(s); {
		if b.Len() >= limit {
			b.WriteString(" [...]")
			break
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n':
			b.WriteString("; ")
		case r == '\r' && strings.HasPrefix(s[i+1:], "\n"):
		case r == '\t':
			b.WriteByte(' ')
		case r == utf8.RuneError && n == 1, r < ' ', r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

const (
	maxNoise  = 64 << 10 // what a login shell may print before the agent's first byte
	maxQuoted = 300      // bytes of a node's text in a message
)

// errTooNoisy is noise without an end.
var errTooNoisy = fmt.Errorf("the login shell prints too much (over %d KiB) before the agent can answer", maxNoise>>10)

// noise is what came before the marker.
type noise struct {
	mu  sync.Mutex
	buf []byte
}

// skip reads until the marker, and returns what was read after it.
func (n *noise) skip(r io.Reader, marker []byte) (io.Reader, error) {
	var buf []byte
	chunk := make([]byte, 32<<10)
	for {
		k, err := r.Read(chunk)
		from := max(0, len(buf)-len(marker)+1)
		buf = append(buf, chunk[:k]...)
		if i := bytes.Index(buf[from:], marker); i >= 0 && from+i <= maxNoise {
			n.keep(buf[:from+i])
			return bytes.NewReader(buf[from+i+len(marker):]), nil
		}
		n.keep(buf)
		switch {
		case len(buf) > maxNoise+len(marker):
			return nil, errTooNoisy
		case err != nil:
			return nil, err
		}
	}
}

func (n *noise) keep(p []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.buf = append(n.buf[:0], p[:min(len(p), 4<<10)]...)
}

func (n *noise) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return clean(string(n.buf), maxQuoted)
}

// tail is a writer that keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const maxTail = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-maxTail):]...)
	if len(t.buf) > maxTail {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-maxTail:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return clean(string(t.buf), maxQuoted)
}

// exitError is the end of a program on the node.
type exitError struct {
	text string
	err  error
}

func (e *exitError) Error() string { return e.text }

func (e *exitError) Unwrap() error { return e.err }

// exitStatus gives the exit status that err, of Proc.Wait, tells of: 0 for nil,
// -1 when there was none.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var sshExit interface{ ExitStatus() int } // *sshconn.ExitError
	var exit interface{ ExitCode() int }      // *exec.ExitError
	switch {
	case errors.As(err, &sshExit):
		return sshExit.ExitStatus()
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func exitText(err error) string {
	switch n := exitStatus(err); {
	case n > 0:
		return fmt.Sprintf("exit %d", n)
	case err != nil:
		return clean(err.Error(), maxQuoted)
	}
	return "exit 0"
}

// cannotStart says why the program that was copied to the node does not answer
// there. status and text are of the attempt.
func cannotStart(node, command string, status int, text string) *StartError {
	file, _, _ := strings.Cut(command, " ")
	low := strings.ToLower(text)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(low, w) {
				return true
			}
		}
		return false
	}
	quoted := ""
	if text != "" {
		quoted = ": " + text
	}
	fail := func(reason, hint string) *StartError {
		return &StartError{Err: fmt.Errorf("%s: %s%s", node, reason, quoted), Hint: hint}
	}
	switch {
	case has("restricted"):
		return fail("cannot execute on node: its login shell is a restricted one", "give the account another shell: chsh -s /bin/sh")
	case has("exec format error", "cannot execute binary", "format error"):
		return &StartError{Err: fmt.Errorf("%s: cannot execute on node: %w", node, errFormat)}
	case has("text file busy"):
		return fail("cannot execute on node: the agent's file is still being written", "try again")
	case status == 126 || has("permission denied"):
		return fail("cannot execute on node: running ~/"+file+" is not permitted",
			"is the home directory mounted noexec? findmnt -T ~/.conc; conc needs to run a program there")
	case status == 127:
		return fail("cannot execute on node: it has no ~/"+file+", though it was just copied",
			"do SFTP and the login shell see the same home directory? (ChrootDirectory, internal-sftp)")
	}
	return fail(fmt.Sprintf("cannot execute on node: the login shell ended with exit %d and no agent answered", status),
		"try it: ssh to the node, then run  "+command+"  there; it waits in silence when it works")
}
