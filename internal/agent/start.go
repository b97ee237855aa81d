package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"example.org/conc/jobs"
)

// startTimeout is how long a start may take, its upload not counted.
const startTimeout = 20 * time.Second

// binDir is where a node keeps its agents, below the home directory.
const binDir = ".conc/bin"

// command is what is asked of the login shell: one relative path and one word,
// which mean the same in every shell.
func command(hash string) string { return binDir + "/conc-" + hash + " agent" }

// launch is one Start.
type launch struct {
	Options
	t      Transport
	config frame
	secret *frame // nil: none is used
	warmed int    // file channels that were asked for
}

// Start makes sure that the node has this program, starts it there, shakes
// hands and configures it. Where the program is there already, that is one
// exec and one round trip. The error is *StartError, or the transport's own.
func Start(ctx context.Context, t Transport, o Options) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = startTimeout
	}
	l := &launch{Options: o, t: t}
	if err := l.prepare(); err != nil {
		return nil, err
	}
	own, err := l.own()
	if err != nil {
		return nil, &StartError{Err: fmt.Errorf("this program's own file cannot be read: %w", err)}
	}
	c, first := l.try(ctx, own, false)
	if first == nil || !missing(first) {
		return c, first
	}
	o.Log.Debug().Err(first).Msg("no agent of this version on the node")

	bin, err := l.choose(ctx, first)
	if err != nil {
		return nil, err
	}
	if bin.hash != own {
		if c, err := l.try(ctx, bin.hash, false); err == nil || !missing(err) {
			return c, err
		}
	}
	if err := l.upload(ctx, bin); err != nil {
		// A restricted shell starts no sftp-server either: it is the reason.
		if e := (*attemptError)(nil); errors.As(first, &e) && e.restricted() && ctx.Err() == nil {
			return nil, cannotStart(o.Node.Name(), command(bin.hash), e.status, e.text)
		}
		return nil, err
	}
	c, err = l.try(ctx, bin.hash, true)
	// Whoever starts something on the node holds for a moment all that is open there.
	for end := time.Now().Add(busyGrace); isBusy(err) && time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(20 * time.Millisecond)
		c, err = l.try(ctx, bin.hash, true)
	}
	if errors.Is(err, errDamaged) {
		l.withdraw(ctx, bin)
		if now, e := hashFile(bin.path); e == nil && now != bin.hash {
			err = &StartError{Err: fmt.Errorf("the agent for %s: %s has changed since this program was started", bin.platform, bin.path)}
		}
	}
	if err != nil && missing(err) {
		var e *attemptError
		errors.As(err, &e)
		err = l.foreign(bin, e, cannotStart(o.Node.Name(), command(bin.hash), e.status, e.text))
	}
	return c, err
}

// own gives the hash of this program's own file.
func (l *launch) own() (string, error) {
	if l.Hash != "" {
		return l.Hash, nil
	}
	return hashes.of(l.Executable)
}

// prepare makes what will be sent, before anything is.
func (l *launch) prepare() error {
	c := configBody{Node: l.Node.Name(), Values: l.Node.Values(), Owner: l.Owner}
	names := l.Secrets
	if p := l.Plan; p != nil {
		if len(p.Steps) > maxSteps {
			return fmt.Errorf("%d steps are over the limit of %d", len(p.Steps), maxSteps)
		}
		c.List, c.Specs, c.Digest, c.Record = p.List, p.Specs(), p.Digest, l.Record
		names = append(p.UsesSecrets(jobs.Remote, 1, len(p.Steps)), names...)
	}
	if len(names) > 0 {
		values := make(map[string]string, len(names))
		for _, name := range names {
			if l.Secret == nil {
				return fmt.Errorf("secret %s: nobody can be asked", name)
			}
			v, err := l.Secret(name)
			if err != nil {
				return fmt.Errorf("secret %s: %w", name, err)
			}
			values[name] = v
		}
		f, err := pack(kindSecret, 0, values)
		if err != nil {
			return fmt.Errorf("the secrets of %s: %w", l.Node.Name(), err)
		}
		l.secret = &f
	}
	f, err := pack(kindConfig, 0, c)
	if err != nil {
		return fmt.Errorf("the configuration of %s: %w", l.Node.Name(), err)
	}
	l.config = f
	return nil
}

// attemptError is a program that ended, or was not there, before a handshake.
type attemptError struct {
	status int // exit status; -1: not known
	text   string
}

func (e *attemptError) Error() string {
	return fmt.Sprintf("no agent answered (exit %d): %s", e.status, e.text)
}

// restricted tells whether the login shell said that it is a restricted one.
func (e *attemptError) restricted() bool {
	return strings.Contains(strings.ToLower(e.text), "restricted")
}

// busyGrace is how long a file that was just written may be held open.
const busyGrace = 2 * time.Second

// isBusy tells whether the program is there, and somebody still has it open.
func isBusy(err error) bool {
	var e *attemptError
	return errors.As(err, &e) && strings.Contains(strings.ToLower(e.text), "text file busy")
}

func missing(err error) bool {
	var e *attemptError
	return errors.As(err, &e)
}

// try starts the agent called hash, and shakes hands. What the agent needs is
// sent without waiting for it; only the secrets wait until it has proved
// itself, which costs no round trip of its own.
func (l *launch) try(ctx context.Context, hash string, verify bool) (*Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.Timeout, errNoAnswer)
	defer cancel()
	proc, err := l.t.Start(ctx, command(hash))
	if err != nil {
		return nil, l.why(ctx, err)
	}
	if l.Channels != nil { // only now: the server may have room for just the agent
		l.warm(l.Channels())
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	c := newClient(l.t, proc, l.Options, hex.EncodeToString(nonce))
	hello, err := pack(kindHello, 0, clientHello{V: protocol, Nonce: hex.EncodeToString(nonce), Verify: verify})
	if err == nil {
		c.out.push(hello, l.config)
		err = c.shake(ctx, l.secret)
	}
	if err == nil && c.hello.Hash != hash {
		err = &StartError{
			Err:  fmt.Errorf("%s: %w (sha256 %s, not %s)", l.Node.Name(), errDamaged, clean(c.hello.Hash, 64), hash),
			Hint: "try again; if it stays, look after the node's disk",
		}
	}
	if err == nil {
		return c, nil
	}
	c.fail(err)
	_ = c.settle()
	return nil, l.why(ctx, l.judge(c, err))
}

var (
	errNoAnswer = errors.New("no agent answered in time")
	errDamaged  = errors.New("the agent's file on the node is not what was sent")
)

// why is err, or the reason that ctx is done for.
func (l *launch) why(ctx context.Context, err error) error {
	var start *StartError
	switch {
	case errors.As(err, &start), ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), errNoAnswer):
		return &StartError{
			Err:  fmt.Errorf("%s: no agent answered within %s", l.Node.Name(), l.Timeout),
			Hint: "does its login shell wait for something? try: ssh to it, with a command",
		}
	}
	return ctx.Err()
}

// shake waits for the agent's greeting and its word that it understood.
func (c *Client) shake(ctx context.Context, secret *frame) error {
	select {
	case <-c.greeted:
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
	if secret != nil {
		c.out.push(*secret)
	}
	select {
	case <-c.ready:
		return nil
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// judge says what a failed start means: that there is no agent, or what else.
func (l *launch) judge(c *Client, err error) error {
	var said *remoteError
	var start *StartError
	var bad *protocolError
	switch {
	case errors.As(err, &bad):
		return &StartError{Err: fmt.Errorf("%s: %w", l.Node.Name(), bad)}
	case errors.As(err, &start):
		return err
	case errors.As(err, &said):
		return &StartError{Err: fmt.Errorf("%s: %w", l.Node.Name(), said), Hint: clean(said.Hint, maxText)}
	case errors.Is(err, errTooNoisy):
		return &StartError{
			Err:  fmt.Errorf("%s: %w", l.Node.Name(), err),
			Hint: "let its rc files print only when the shell is interactive",
		}
	}
	select {
	case <-c.greeted:
		return &StartError{Err: fmt.Errorf("%s: the agent did not take its configuration: %w", l.Node.Name(), err)}
	default:
	}
	select {
	case <-c.exited:
		if status := exitStatus(c.exit); status >= 0 {
			return &attemptError{status: status, text: joined(c.stderr.text(), c.noise.text())}
		}
		if c.exit != nil && !errors.Is(err, context.Canceled) {
			return c.exit
		}
	default:
	}
	return err
}

func joined(a, b string) string {
	if a != "" && b != "" {
		return a + "; " + b
	}
	return a + b
}

// maxUname bounds what a login shell may print around a line that is asked for.
const maxUname = 1 << 20

// output runs a command on the node and gives the first bytes of what it prints.
func (l *launch) output(ctx context.Context, command string) (stdout, text string, status int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.Timeout, errNoAnswer)
	defer cancel()
	proc, err := l.t.Start(ctx, command)
	if err != nil {
		return "", "", 0, l.why(ctx, err)
	}
	defer proc.Close()
	if info, err := os.Stat(l.Executable); err == nil {
		l.warm(l.ways(info.Size())) // it is about to be sent, or one of its kind
	}
	var out, errs tail
	type ending struct{ err error }
	over := make(chan ending, 1)
	go func() {
		_ = proc.Stdin().Close()
		drained := make(chan struct{})
		go func() {
			_, _ = io.Copy(&errs, proc.Stderr())
			close(drained)
		}()
		if n, _ := io.Copy(&out, io.LimitReader(proc.Stdout(), maxUname)); n == maxUname {
			_ = proc.Close() // it would print for ever
		}
		<-drained
		over <- ending{proc.Wait()}
	}()
	select {
	case e := <-over:
		status = exitStatus(e.err)
		if status < 0 {
			return "", "", 0, e.err
		}
	case <-ctx.Done():
		return "", "", 0, l.why(ctx, ctx.Err())
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	return string(out.buf), joined(errs.text(), clean(string(out.buf), maxQuoted)), status, nil
}
