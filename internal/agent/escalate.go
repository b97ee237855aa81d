package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"example.org/conc/jobs"
)

// elevateLimit is how long sudo may take over a password: some wait on purpose
// after a wrong one.
const elevateLimit = 30 * time.Second

// escalation is a start of this program as root, by sudo, to perform the steps
// with sudo of this host.
type escalation struct {
	exe     string // this program's file, absolute
	dir     string
	place   string // what the host is called in messages
	config  configBody
	secrets map[string]string
	options Options // of the conversation
}

// start calls sudo once: to ask whether it does without a password, when there
// is none, and else with that one. The password is proved when the root agent
// answers.
func (e escalation) start(ctx context.Context, password []byte) (*Client, Elevation, error) {
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return nil, "", jobs.Errorf("sudo is not installed on %s", e.place).
			WithHint("install it, or be root there, or take the modifier sudo away")
	}
	cmd := exec.Command(sudo, "-n", "--", e.exe, "agent")
	cmd.Dir, cmd.Env = e.dir, append(os.Environ(), "LC_ALL=C") // for what it says; configure takes it back
	var asks *askpass
	if len(password) > 0 {
		NoCore()
		if asks, err = offer(password); err != nil {
			return nil, "", jobs.Errorf("%w", err)
		}
		defer asks.close()
		// -k: what sudo may remember of an earlier call proves nothing.
		cmd.Args = []string{"sudo", "-A", "-k", "--", e.exe, "agent"}
		cmd.Env = append(cmd.Env, "SUDO_ASKPASS="+e.exe, AskpassVariable+"="+asks.socket())
	}
	c, said, err := e.converse(ctx, cmd)
	switch {
	case err == nil:
		return c, Elevated, nil
	case asks == nil && (strings.Contains(said, "password is required") || strings.Contains(said, "authentication is required")):
		return nil, NeedsPassword, nil
	case asks != nil && (asks.again() || strings.Contains(said, "incorrect password")):
		return nil, WrongPassword, nil
	}
	if last := lastLine(said); last != "" {
		err = errors.New(last)
	}
	return nil, "", jobs.Errorf("sudo does not start conc as root on %s: %s", e.place, clean(err.Error(), maxQuoted)).
		WithHint("look there: sudo -l; conc needs to run its own file as root, whatever the step is")
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// converse starts the root agent and configures it. said is what sudo wrote
// when it did not start.
func (e escalation) converse(ctx context.Context, cmd *exec.Cmd) (_ *Client, said string, _ error) {
	proc, err := startProgram(cmd)
	if err != nil {
		return nil, "", err
	}
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	nonce := hex.EncodeToString(raw)
	c := newClient(nil, proc, e.options, nonce)
	c.node.name = e.place
	hello, err1 := pack(kindHello, 0, clientHello{V: protocol, Nonce: nonce})
	body, err2 := pack(kindConfig, 0, e.config)
	if err = errors.Join(err1, err2); err == nil {
		var secret *frame
		if len(e.secrets) > 0 {
			f, e := pack(kindSecret, 0, e.secrets)
			secret, err = &f, e
		}
		if err == nil {
			c.out.push(hello, body)
			ctx, cancel := context.WithTimeout(ctx, elevateLimit)
			defer cancel()
			err = c.shake(ctx, secret)
		}
	}
	if err == nil && c.hello.UID != 0 {
		err = errors.New("sudo started it as another account than root")
	}
	if err == nil {
		return c, "", nil
	}
	c.fail(err)
	_ = c.settle()
	c.stderr.mu.Lock()
	defer c.stderr.mu.Unlock()
	return nil, string(c.stderr.buf), err
}

// localProc is a program on this host as a Proc.
type localProc struct {
	cmd           *exec.Cmd
	in, out, errs *os.File
}

func (p *localProc) Stdin() io.WriteCloser { return p.in }
func (p *localProc) Stdout() io.Reader     { return p.out }
func (p *localProc) Stderr() io.Reader     { return p.errs }
func (p *localProc) Wait() error           { return p.cmd.Wait() }

// Close cuts the pipes. It cannot kill: sudo is root's.
func (p *localProc) Close() error {
	return errors.Join(p.in.Close(), p.out.Close(), p.errs.Close())
}

// startProgram starts cmd with pipes, in a session of its own: a signal to this
// process's group is not sudo's, and sudo has no terminal to ask on, or to be
// stopped by.
func startProgram(cmd *exec.Cmd) (*localProc, error) {
	var files []*os.File
	closeAll := func() {
		for _, f := range files {
			_ = f.Close()
		}
	}
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll()
			return nil, err
		}
		files = append(files, r, w)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[3], files[5]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		closeAll()
		return nil, err
	}
	for _, f := range []*os.File{files[0], files[3], files[5]} {
		_ = f.Close()
	}
	return &localProc{cmd: cmd, in: files[1], out: files[2], errs: files[4]}, nil
}
