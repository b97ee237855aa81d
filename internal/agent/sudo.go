package agent

import (
	"bytes"
	"context"
	"os"
	"sync"
	"time"

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

// elevate starts the root agent, unless it is there.
func (se *session) elevate(password []byte) (Elevation, error) {
	defer clear(password)
	if se.performs {
		return "", badFrame("sudo of root's")
	}
	se.root.mu.Lock()
	defer se.root.mu.Unlock()
	if se.root.ready() {
		return Elevated, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return "", jobs.Errorf("the agent does not know its own file: %w", err)
	}
	conf := se.config
	conf.Home, conf.Locale, conf.Record = se.Home, os.Getenv("LC_ALL"), nil
	e := escalation{
		exe: exe, dir: se.Home, place: se.node.Name(), config: conf, secrets: se.secrets,
		options: Options{Node: se.node, Plan: se.plan, pulse: se.pulse, patient: true},
	}
	c, got, err := e.start(se.ctx, password)
	if err == nil && got == Elevated {
		se.root.client = c
		if len(password) > 0 {
			se.hide(string(password))
			err = c.do(se.ctx, callHide, hideParams{[][]byte{bytes.Clone(password)}}, nil)
		}
	}
	return got, err
}

// hide has texts masked in what further steps say, as long as this
// conversation lasts.
func (se *session) hide(texts ...string) {
	se.mu.Lock()
	defer se.mu.Unlock()
	se.hidden = append(se.hidden, texts...)
}

// performGrace is how long the root agent has to tell of a step's end after it
// was told to end it: what jobs.Perform takes for that at most, and the way.
const performGrace = 20 * time.Second

// leaveGrace is that, when the operator leaves at once.
const leaveGrace = 2500 * time.Millisecond

// perform runs a step that may be run, by the root agent when it is one with
// sudo and this agent is not root.
func (se *session) perform(ctx context.Context, s jobs.Step, env *jobs.Env) jobs.Result {
	if !s.AsRoot() || os.Geteuid() == 0 {
		return jobs.Perform(ctx, s, env)
	}
	se.root.mu.Lock()
	c := se.root.client
	se.root.mu.Unlock()
	return c.performAsRoot(ctx, s, env)
}

// performAsRoot has a root agent run a step, as jobs.Perform would.
func (c *Client) performAsRoot(ctx context.Context, s jobs.Step, env *jobs.Env) jobs.Result {
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
		limit := time.After(performGrace)
		select {
		case <-over:
			return
		case <-env.Leave:
			_ = c.Cancel() // at once, this time
			limit = time.After(leaveGrace)
		case <-limit:
			giveUp()
			return
		}
		select {
		case <-over:
		case <-limit:
			giveUp()
		}
	}()
	sink := &rootSink{env: env}
	err := c.do(asked, callHide, hideParams{bytesOf(env.Hidden())}, nil)
	if err == nil {
		err = c.RunSteps(asked, s.N, s.N, sink)
	}
	close(over)
	<-gone
	switch {
	case sink.result != nil:
		return *sink.result
	case err == nil:
		return outcome(jobs.Stoppedf("cancelled before it began"))
	}
	r := outcome(jobs.Errorf("in doubt: the process that runs it as root (pid %d) does not answer: %w", c.hello.PID, err).
		WithHint("it may still be running; look on that host: ps -ef --forest"))
	r.Took = time.Since(begun)
	return r
}

func bytesOf(texts []string) [][]byte {
	all := make([][]byte, len(texts))
	for i, t := range texts {
		all[i] = []byte(t)
	}
	return all
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
