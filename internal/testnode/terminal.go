package testnode

import (
	"os"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
)

// terminal is what a client with a terminal asks for before its shell.
type terminal struct {
	kind   string // TERM
	size   pty.Winsize
	master *os.File // once the program runs
}

// wanted reads a pty-req. The modes in it are not looked at: a new terminal has
// sensible ones.
func wanted(payload []byte) *terminal {
	var r struct {
		Kind                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	if ssh.Unmarshal(payload, &r) != nil {
		return nil
	}
	return &terminal{kind: r.Kind, size: windowSize(r.Cols, r.Rows)}
}

// resize reads a window-change.
func (c *command) resize(payload []byte) {
	var r struct{ Cols, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &r) != nil {
		return
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.tty.size = windowSize(r.Cols, r.Rows)
	if c.tty.master != nil {
		_ = pty.Setsize(c.tty.master, &c.tty.size)
	}
}

func windowSize(cols, rows uint32) pty.Winsize {
	return pty.Winsize{Cols: uint16(min(cols, 1000)), Rows: uint16(min(rows, 1000))}
}

// open gives c's program a terminal, and gives our end and its end of it.
func (t *terminal) open(c *command) (ours, theirs *os.File, err error) {
	if ours, theirs, err = pty.Open(); err != nil {
		return nil, nil, err
	}
	t.master = ours
	_ = pty.Setsize(ours, &t.size)
	c.cmd.Env = append(c.cmd.Env, "TERM="+t.kind)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return ours, theirs, nil
}
