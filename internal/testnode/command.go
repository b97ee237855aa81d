package testnode

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// command is one program started in a session, in a session and process group
// of its own.
type command struct {
	s    *server
	ch   ssh.Channel
	cmd  *exec.Cmd
	fed  chan struct{} // closed when nothing more comes for it
	ours []*os.File    // the ends of the pipes that we hold: stdin, stdout, stderr
	tty  *terminal     // in the place of the pipes; nil: none was asked for
}

// withRC is text as the login shell gets it.
func (s *server) withRC(text string) string {
	if s.rc == "" {
		return text
	}
	return ". '" + strings.ReplaceAll(s.rc, "'", `'\''`) + "'\n" + text
}

// environment is all that a command has.
func (s *server) environment(sc *ssh.ServerConn) []string {
	env := []string{
		"HOME=" + s.homes[sc.User()], "USER=" + sc.User(), "LOGNAME=" + sc.User(), "SHELL=" + s.o.Shell,
		"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", s.mark,
	}
	ip, port, _ := net.SplitHostPort(sc.RemoteAddr().String())
	_, own, _ := net.SplitHostPort(sc.LocalAddr().String())
	env = append(env, "SSH_CLIENT="+ip+" "+port+" "+own, "SSH_CONNECTION="+ip+" "+port+" "+ip+" "+own)
	return append(env, s.o.Env...)
}

// command prepares a command line; "" is a login shell. tty may be nil.
func (s *server) command(sc *ssh.ServerConn, ch ssh.Channel, tty *terminal, text string) *command {
	name := filepath.Base(s.o.Shell)
	argv := []string{name, "-c", s.withRC(text)}
	if text == "" {
		argv = []string{"-" + name}
	}
	return &command{s: s, ch: ch, tty: tty, fed: make(chan struct{}), cmd: &exec.Cmd{
		Path: s.o.Shell, Args: argv, Dir: s.homes[sc.User()], Env: s.environment(sc),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}}
}

// run is the command from its start to the end of its output. As with an sshd,
// the exit status is sent when the program ends, and the channel is closed when
// nobody holds its output any more.
func (c *command) run() {
	defer c.ch.Close()
	stdin, stdout, stderr, err := c.start()
	if err != nil {
		close(c.fed)
		fmt.Fprintf(c.ch.Stderr(), "%v\r\n", err)
		sendExit(c.ch, 255)
		return
	}
	var work, output sync.WaitGroup
	work.Go(func() {
		_, _ = io.Copy(stdin, c.ch)
		close(c.fed)
		if c.tty == nil {
			_ = stdin.Close()
		}
	})
	for from, to := range map[*os.File]io.Writer{stdout: c.ch, stderr: c.ch.Stderr()} {
		if from == nil {
			continue
		}
		output.Go(func() {
			_, _ = io.Copy(to, from)
			_ = from.Close() // when nobody listens: the program is told so by SIGPIPE
		})
	}
	_ = c.cmd.Wait()
	c.s.mu.Lock()
	delete(c.s.running, c)
	c.s.mu.Unlock()
	c.sendOutcome()
	output.Wait()
	_ = c.ch.Close()
	work.Wait() // reads until the client has closed its side, too
}

// start starts the program, unless the node is being closed. stderr is nil for
// one with a terminal.
func (c *command) start() (stdin, stdout, stderr *os.File, err error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.closed {
		return nil, nil, nil, os.ErrClosed
	}
	var theirs [3]*os.File
	if c.tty != nil {
		stdin, theirs[0], err = c.tty.open(c)
		stdout, theirs[1], theirs[2] = stdin, theirs[0], theirs[0]
	} else {
		pipe := func() (r, w *os.File) {
			if err == nil {
				r, w, err = os.Pipe()
			}
			return r, w
		}
		theirs[0], stdin = pipe()
		stdout, theirs[1] = pipe()
		stderr, theirs[2] = pipe()
	}
	c.ours = []*os.File{stdin, stdout, stderr}
	if err == nil {
		c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = theirs[0], theirs[1], theirs[2]
		err = c.cmd.Start()
	}
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		c.closePipes()
		return nil, nil, nil, err
	}
	c.s.running[c] = true
	return stdin, stdout, stderr, nil
}

// sendOutcome tells the client how the program ended.
func (c *command) sendOutcome() {
	ws := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ws.Signaled() {
		sendExit(c.ch, ws.ExitStatus())
		return
	}
	_, _ = c.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Signal   string
		Core     bool
		Message  string
		Language string
	}{Signal: strings.TrimPrefix(unix.SignalName(ws.Signal()), "SIG"), Core: ws.CoreDump()}))
}

// fedGrace is how long a program may take for what has come for it.
const fedGrace = time.Second

// hangUp closes the pipes to the program, and lets it be. As with an sshd, what
// had come for it before is passed on.
func (c *command) hangUp() {
	select {
	case <-c.fed:
	case <-time.After(fedGrace):
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.closePipes()
}

func (c *command) closePipes() {
	for _, f := range c.ours {
		_ = f.Close()
	}
}

// endCommands kills what was started here and still runs: the groups whose
// leader we have not waited for, and everything that carries our mark.
func (s *server) endCommands(limit time.Duration) error {
	return endAll(limit, func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.running {
			_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
			c.closePipes()
		}
		return len(s.running)
	}, s.mark)
}

// EndMarked kills every process that has mark (KEY=value) in its environment,
// and waits until there is none. It needs /proc; without it, it does nothing.
func EndMarked(mark string, limit time.Duration) error {
	return endAll(limit, func() int { return 0 }, mark)
}

// endAll kills again and again until nothing is left: a process that is killed
// may just have started another one.
func endAll(limit time.Duration, more func() int, mark string) error {
	end := time.Now().Add(limit)
	for {
		n := more()
		left := marked(mark)
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		switch {
		case n == 0 && len(left) == 0:
			return nil
		case time.Now().After(end):
			slices.Sort(left)
			return fmt.Errorf("processes of the node that did not end: %v", left)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
