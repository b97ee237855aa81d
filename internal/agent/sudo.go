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
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.org/conc/jobs"
)

// Elevation is what came of asking an agent for its root half.
type Elevation string

// What Client.Elevate gives.
const (
	Elevated      Elevation = "root"     // steps with sudo can be run
	NeedsPassword Elevation = "password" // sudo wants one, and none was given
	WrongPassword Elevation = "wrong"    // sudo did not take the one that was given
)

// Elevate has the agent start a second one as root, by sudo, for the steps that
// say so; it lives as long as this conversation. Where the agent is root
// already there is nothing to do. With no password sudo is only asked whether
// it does without. With one, sudo is given it once, and the agent forgets it.
// An error is *jobs.Error when sudo is missing or does not allow it.
func (c *Client) Elevate(ctx context.Context, password []byte) (Elevation, error) {
	if len(password) > maxPassword {
		return "", jobs.Errorf("the sudo password is over the limit of %d bytes", maxPassword)
	}
	var got Elevation
	err := c.do(ctx, callElevate, elevateParams{password}, &got)
	if err == nil && got != Elevated && got != NeedsPassword && got != WrongPassword {
		err = badFrame("an elevation %.20q", got)
	}
	return got, err
}

// rootAgent is the second agent: it performs the steps with sudo, and keeps
// nothing of its own. The first one stands between it and the workstation.
type rootAgent struct {
	mu     sync.Mutex // held while one is started
	client *Client    // nil: none, yet
}

// elevateLimit is how long sudo may take over a password: some wait on purpose
// after a wrong one.
const elevateLimit = 30 * time.Second

// elevate starts the root agent, unless it is there.
func (se *session) elevate(password []byte) (Elevation, error) {
	defer clear(password)
	if se.plan == nil || se.performs {
		return "", badFrame("sudo without a plan")
	}
	se.root.mu.Lock()
	defer se.root.mu.Unlock()
	if se.root.ready() {
		return Elevated, nil
	}
	sudo, err := exec.LookPath("sudo")
	if err != nil {
		return "", jobs.Errorf("sudo is not installed on %s", se.node.Name()).
			WithHint("install it, or let conc log in as root, or take the modifier sudo away")
	}
	exe, err := os.Executable()
	if err != nil {
		return "", jobs.Errorf("the agent does not know its own file: %w", err)
	}
	cmd := exec.Command(sudo, "-n", "--", exe, "agent")
	cmd.Dir, cmd.Env = se.Home, append(os.Environ(), "LC_ALL=C") // for what it says; configure takes it back
	var asks *askpass
	if len(password) > 0 {
		NoCore()
		if asks, err = offer(password); err != nil {
			return "", jobs.Errorf("%w", err)
		}
		defer asks.close()
		// -k: what sudo may remember of an earlier call proves nothing.
		cmd.Args = []string{"sudo", "-A", "-k", "--", exe, "agent"}
		cmd.Env = append(cmd.Env, "SUDO_ASKPASS="+exe, AskpassVariable+"="+asks.socket())
	}
	c, said, err := se.startRoot(cmd)
	switch {
	case err == nil:
		se.root.client = c
		return Elevated, nil
	case asks == nil && (strings.Contains(said, "password is required") || strings.Contains(said, "authentication is required")):
		return NeedsPassword, nil
	case asks != nil && (asks.again() || strings.Contains(said, "incorrect password")):
		return WrongPassword, nil
	}
	if last := lastLine(said); last != "" {
		err = errors.New(last)
	}
	return "", jobs.Errorf("sudo does not start conc as root on %s: %s", se.node.Name(), clean(err.Error(), maxQuoted)).
		WithHint("look there: sudo -l; conc needs to run its own file as root, whatever the step is")
}

// NoCore keeps a password out of a core file.
func NoCore() {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &l) == nil {
		l.Cur = 0
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &l)
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// startRoot starts the second agent and configures it as this one was. said is
// what sudo wrote when it did not.
func (se *session) startRoot(cmd *exec.Cmd) (_ *Client, said string, _ error) {
	proc, err := startProgram(cmd)
	if err != nil {
		return nil, "", err
	}
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	nonce := hex.EncodeToString(raw)
	c := newClient(nil, proc, Options{Node: se.node, Plan: se.plan, pulse: se.pulse, patient: true}, nonce)
	conf := se.config
	conf.Home, conf.Locale, conf.Record = se.Home, os.Getenv("LC_ALL"), nil
	hello, err1 := pack(kindHello, 0, clientHello{V: protocol, Nonce: nonce})
	body, err2 := pack(kindConfig, 0, conf)
	if err = errors.Join(err1, err2); err == nil {
		var secret *frame
		if len(se.secrets) > 0 {
			f, e := pack(kindSecret, 0, se.secrets)
			secret, err = &f, e
		}
		if err == nil {
			c.out.push(hello, body)
			ctx, cancel := context.WithTimeout(se.ctx, elevateLimit)
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

// performGrace is how long the root agent has to tell of a step's end after it
// was told to end it: what jobs.Perform takes for that at most, and the way.
const performGrace = 20 * time.Second

// perform runs a step that may be run, by the root agent when it is one with
// sudo and this agent is not root.
func (se *session) perform(ctx context.Context, s jobs.Step, env *jobs.Env) jobs.Result {
	if !s.Sudo || os.Geteuid() == 0 {
		return jobs.Perform(ctx, s, env)
	}
	se.root.mu.Lock()
	c := se.root.client
	se.root.mu.Unlock()
	begun := time.Now()
	// RunSteps is given up only when the root agent does not answer.
	asked, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-over:
			return
		case <-ctx.Done():
		}
		_ = c.Cancel() // where it is gone, RunSteps says so
		select {
		case <-over:
		case <-time.After(performGrace):
			giveUp()
		}
	}()
	sink := &rootSink{env: env}
	err := c.RunSteps(asked, s.N, s.N, sink)
	close(over)
	<-gone
	switch {
	case sink.result != nil:
		return *sink.result
	case err == nil:
		return outcome(jobs.Stoppedf("cancelled before it began"))
	}
	r := outcome(jobs.Errorf("in doubt: the agent that runs it as root (pid %d) does not answer: %w", c.hello.PID, err).
		WithHint("it may still be running; look on the node: ps -ef --forest"))
	r.Took = time.Since(begun)
	return r
}

// elevated tells whether steps with sudo can be run.
func (se *session) elevated() bool {
	se.root.mu.Lock()
	defer se.root.mu.Unlock()
	return se.root.ready()
}

func (r *rootAgent) ready() bool {
	return os.Geteuid() == 0 || r.client != nil && r.client.Err() == nil
}

// rootSink takes what the root agent tells of one step.
type rootSink struct {
	env    *jobs.Env
	result *jobs.Result
}

func (k *rootSink) Begin(int)                         {}
func (k *rootSink) Output(_ int, p []byte)            { _, _ = k.env.Out.Write(p) }
func (k *rootSink) Progress(_ int, done, total int64) { k.env.Progress(done, total) }
func (k *rootSink) End(r jobs.Result)                 { k.result = &r }

// patientOut is the output of a step of the root agent. It waits for the first
// agent, which takes everything, keeps it, and decides what is shown.
type patientOut struct {
	se   *session
	step int
}

func (o patientOut) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		piece := p[:min(len(p), maxOut)]
		for !o.se.out.pushOut(o.step, piece) {
			if o.se.lost.Load() {
				return n, nil
			}
			time.Sleep(time.Millisecond)
		}
		p = p[len(piece):]
	}
	return n, nil
}

// dismiss says goodbye to the root agent.
func (se *session) dismiss() {
	if se.root.client != nil {
		_ = se.root.client.Close()
	}
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

// startProgram starts cmd with pipes, in a process group of its own: a signal
// to the agent's group is not sudo's.
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		closeAll()
		return nil, err
	}
	for _, f := range []*os.File{files[0], files[3], files[5]} {
		_ = f.Close()
	}
	return &localProc{cmd: cmd, in: files[1], out: files[2], errs: files[4]}, nil
}
