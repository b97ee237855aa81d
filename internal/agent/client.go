package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"

	"example.org/conc/jobs"
)

// Client is a running agent as the workstation sees it. It is a bundle.Far.
// Its methods may be called from several goroutines; of RunSteps one at a time.
type Client struct {
	t     Transport
	proc  Proc
	node  clientNode
	hello Hello
	pulse pulse

	out     *queue // to the agent
	heard   atomic.Int64
	noise   noise         // what came before the handshake
	stderr  tail          // the last of the agent's standard error
	said    chan struct{} // closed when stderr is whole
	greeted chan struct{} // closed when hello is set
	ready   chan struct{} // closed when the agent took the configuration
	exited  chan struct{} // closed when exit is set
	exit    error         // of the program
	sent    chan struct{} // closed when all that was to be sent is
	done    chan struct{} // closed when err is set, and nothing more will come
	once    sync.Once
	err     error
	work    sync.WaitGroup
	patient bool   // as in Options
	typed   string // as in Options

	mu      sync.Mutex
	closing bool
	stretch *stretch
	calls   map[uint32]*pendingCall
	nextID  uint32
	parts   assembler
}

// clientNode is what the client keeps of the configuration.
type clientNode struct {
	name   string
	bundle string // as deploy.ini names it
	steps  []jobs.Step
}

// stretch is a RUN that is not over.
type stretch struct {
	from, to int
	next     int // the step that may begin now
	running  int // 0: none
	events   *queue
	dropped  bool // output of the running step, because the sink was slow
}

// newClient begins a conversation over a program that was just started. It
// neither waits nor fails: what comes of it is told by greeted, ready and done.
func newClient(t Transport, proc Proc, o Options, nonce string) *Client {
	c := &Client{
		t: t, proc: proc, patient: o.patient, pulse: o.pulse.or(5*time.Second, 20*time.Second),
		node: clientNode{name: o.Node.Name(), bundle: o.Node.Get("bundle")},
		out:  newQueue(), greeted: make(chan struct{}), ready: make(chan struct{}),
		said: make(chan struct{}), exited: make(chan struct{}), sent: make(chan struct{}), done: make(chan struct{}), calls: map[uint32]*pendingCall{},
	}
	if o.Plan != nil {
		c.node.steps = o.Plan.Steps
	}
	if c.typed = o.Typed; c.typed == "" {
		c.typed = "conc"
	}
	c.heard.Store(time.Now().UnixNano())
	c.work.Go(func() { c.read(marker(nonce)) })
	c.work.Go(func() {
		defer close(c.said)
		_, _ = io.Copy(&c.stderr, proc.Stderr())
	})
	c.work.Go(func() {
		defer close(c.sent)
		if err := c.out.drain(proc.Stdin()); err != nil {
			// The reader will say why, with more to tell.
			c.waitThen(func() { c.fail(err) })
		}
		_ = proc.Stdin().Close()
	})
	c.work.Go(c.watch)
	go func() {
		c.exit = proc.Wait()
		close(c.exited)
	}()
	return c
}

// reapGrace is how long the end of a program may lag behind its output.
const reapGrace = time.Second

func (c *Client) waitThen(f func()) {
	select {
	case <-c.done:
	case <-time.After(reapGrace):
		f()
	}
}

// fail ends the conversation, once.
func (c *Client) fail(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		step := 0
		if c.stretch != nil {
			step = c.stretch.running
		}
		if c.closing {
			err = errClosed
		}
		c.mu.Unlock()
		var lost *LostError
		if !errors.As(err, &lost) && !errors.Is(err, errClosed) {
			err = &LostError{Step: step, Err: err}
		}
		c.err = err
		close(c.done)
		c.out.close()
		_ = c.proc.Close()
	})
}

var errClosed = errors.New("the agent was said goodbye to")

// read takes what the agent sends until it sends no more.
func (c *Client) read(marker []byte) {
	in := &heardReader{c.proc.Stdout(), &c.heard}
	rest, err := c.noise.skip(in, marker)
	if err != nil {
		c.fail(c.ended(err))
		return
	}
	r := io.MultiReader(rest, in)
	for {
		f, err := readFrame(r)
		if err == nil {
			err = c.handle(f)
		}
		if err != nil {
			c.fail(c.ended(err))
			return
		}
	}
}

// ended says why nothing more comes.
func (c *Client) ended(err error) error {
	var bad *protocolError
	var said *remoteError
	if errors.As(err, &bad) || errors.As(err, &said) || errors.Is(err, errTooNoisy) {
		return err
	}
	limit := time.After(reapGrace)
	select {
	case <-c.exited:
	case <-limit:
		return fmt.Errorf("the link to %s is gone: %w", c.node.name, err)
	}
	select {
	case <-c.said:
	case <-limit: // a child that lives on may hold it open
	}
	text := exitText(c.exit)
	if last := c.stderr.text(); last != "" {
		text += ": " + last
	}
	if exitStatus(c.exit) < 0 { // the transport's own reason: the agent may live
		return &exitError{text: fmt.Sprintf("the agent on %s is out of reach: %s", c.node.name, text), err: c.exit}
	}
	if c.exit != nil {
		return &exitError{text: fmt.Sprintf("the agent on %s ended: %s", c.node.name, text), err: c.exit}
	}
	return fmt.Errorf("the agent on %s ended: %s", c.node.name, text)
}

// watch keeps the conversation alive, and ends it when the agent does not.
func (c *Client) watch() {
	tick := time.NewTicker(c.pulse.beat)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
			if d := silent(&c.heard); d > c.pulse.silence {
				c.fail(fmt.Errorf("nothing heard from %s for %s", c.node.name, d.Round(100*time.Millisecond)))
				return
			}
			c.out.push(frame{kind: kindPing})
		}
	}
}

// remoteError is an ERR frame: what the agent had against the conversation.
type remoteError struct{ errBody }

func (e *remoteError) Error() string { return clean(e.Message, maxText) }

// handle takes one frame.
func (c *Client) handle(f frame) error {
	switch f.kind {
	case kindHello:
		select {
		case <-c.greeted:
			return badFrame("greeted twice")
		default:
		}
		if err := f.unpack(&c.hello); err != nil {
			return err
		}
		if !path.IsAbs(c.hello.Home) {
			return badFrame("a home directory that is not absolute")
		}
		close(c.greeted)
		return nil
	case kindErr:
		e := &remoteError{}
		if err := f.unpack(&e.errBody); err != nil {
			return err
		}
		return e
	}
	select {
	case <-c.greeted:
	default:
		return badFrame("frame of type %d before the greeting", f.kind)
	}
	switch f.kind {
	case kindReady:
		select {
		case <-c.ready:
			return badFrame("ready twice")
		default:
			close(c.ready)
		}
		return nil
	case kindBegin, kindOut, kindProgress, kindEnd, kindRan:
		return c.event(f)
	case kindReply:
		msg, whole, err := c.parts.add(f)
		if err != nil || !whole {
			return err
		}
		return c.reply(msg)
	case kindCallOut:
		return c.callOutput(f)
	case kindPing:
		c.out.push(frame{kind: kindPong})
		return nil
	case kindPong:
		return nil
	}
	return badFrame("frame of type %d", f.kind)
}

// patience is how often a patient client tries to hand a piece of output over,
// a millisecond apart.
const patience = 5000

// event takes a frame of the running stretch. Only what may come now does: a
// node cannot make up steps.
func (c *Client) event(f frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stretch
	if s == nil {
		return badFrame("frame of type %d without a run", f.kind)
	}
	n := int(f.step)
	switch f.kind {
	case kindBegin:
		if s.running != 0 || n != s.next || n > s.to {
			return badFrame("step %d begins out of order", n)
		}
		s.running, s.next, s.dropped = n, n+1, false
	case kindRan:
		if s.running != 0 {
			return badFrame("the run is over in step %d", s.running)
		}
		c.stretch = nil
	default:
		if s.running == 0 || n != s.running {
			return badFrame("frame of type %d for step %d, which is not running", f.kind, n)
		}
	}
	switch f.kind {
	case kindOut:
		ok := s.events.pushOut(n, f.body)
		for try := 0; !ok && c.patient && try < patience; try++ {
			time.Sleep(time.Millisecond)
			ok = s.events.pushOut(n, f.body)
		}
		if !ok && !s.dropped {
			s.dropped = true
			s.events.pushNote(n, "output truncated here: it comes faster than it is shown")
		}
		return nil
	case kindEnd:
		r, err := unpackEnd(f)
		if err != nil {
			return err
		}
		s.running = 0
		if r.Status != jobs.OK {
			s.next = s.to + 1 // nothing may begin after it
		}
	}
	s.events.push(f)
	return nil
}

// Hello is what the agent said of its node.
func (c *Client) Hello() Hello { return c.hello }

// Err says why the link is gone: *LostError; nil while it is up, and after Close.
func (c *Client) Err() error {
	select {
	case <-c.done:
		if errors.Is(c.err, errClosed) {
			return nil
		}
		return c.err
	default:
		return nil
	}
}

// RunSteps runs the plan's steps from..to (all remote) as one stretch: the
// agent goes from one to the next by itself and stops at the first that is not
// OK. sink hears everything in order, from this goroutine; it may be slow, and
// may then miss output. The error is about the conversation (*LostError when
// the link is gone); a step's outcome is in its Result only. When ctx is done
// RunSteps returns at once, and the agent goes on: after that, only Close.
func (c *Client) RunSteps(ctx context.Context, from, to int, sink jobs.Sink) error {
	if from < 1 || to < from || to > len(c.node.steps) {
		return fmt.Errorf("a run of the steps %d to %d of %d", from, to, len(c.node.steps))
	}
	f, err := pack(kindRun, 0, runBody{from, to})
	if err != nil {
		return err
	}
	s := &stretch{from: from, to: to, next: from, events: newQueue()}
	c.mu.Lock()
	if c.stretch != nil {
		c.mu.Unlock()
		return errors.New("a run during a run")
	}
	c.stretch = s
	c.mu.Unlock()
	c.out.push(f)
	for {
		f, ok, _ := s.events.pop()
		if !ok {
			select {
			case <-s.events.wake:
				continue
			case <-ctx.Done():
				return ctx.Err()
			case <-c.done:
			}
			// What had come before the end is told before it.
			if f, ok, _ = s.events.pop(); !ok {
				return c.err
			}
		}
		switch n := int(f.step); f.kind {
		case kindBegin:
			sink.Begin(n)
		case kindOut:
			sink.Output(n, f.body)
		case kindProgress:
			var p progressBody
			if f.unpack(&p) == nil && p.Done >= 0 && p.Total >= 0 {
				sink.Progress(n, p.Done, p.Total)
			}
		case kindEnd:
			r, err := unpackEnd(f)
			if err != nil {
				return err
			}
			r.Hint = c.asTyped(r.Hint)
			sink.End(r)
		case kindRan:
			return nil
		}
	}
}

// Stop asks the agent to start no further step, of this stretch or a later one.
func (c *Client) Stop() error { return c.tell(kindStop) }

// Cancel is Stop, and ends the running step.
func (c *Client) Cancel() error { return c.tell(kindCancel) }

func (c *Client) tell(k kind) error {
	if err := c.Err(); err != nil {
		return err
	}
	c.out.push(frame{kind: k})
	return nil
}

// SFTP opens a file channel beside the agent.
func (c *Client) SFTP(ctx context.Context) (*sftp.Client, error) { return c.t.SFTP(ctx) }

// Spare opens one more file channel, on the same connection only.
func (c *Client) Spare(ctx context.Context) (*sftp.Client, error) { return c.t.Spare(ctx) }

// Files opens a file channel beside the agent as bytes, for the SFTP client of
// another process.
func (c *Client) Files(ctx context.Context) (io.ReadWriteCloser, error) {
	t, ok := c.t.(filer)
	if !ok {
		return nil, errors.New("this transport has no file channels as bytes")
	}
	return t.Files(ctx)
}

// Home is the home directory on the node.
func (c *Client) Home() string { return c.hello.Home }

// Bundle is the bundle's path on the node.
func (c *Client) Bundle() string { return path.Join(c.hello.Home, c.node.bundle) }

// closeGrace is how long an agent has to end after goodbye.
const closeGrace = 5 * time.Second

// Close says goodbye, and waits for the agent to end, 5 s at most. An agent in
// the middle of a step goes on with it, as after a lost link.
func (c *Client) Close() error {
	c.mu.Lock()
	busy := c.stretch != nil
	again := c.closing
	c.closing = true
	c.mu.Unlock()
	if again {
		return c.settle()
	}
	select {
	case <-c.done: // there is nobody to say goodbye to
	default:
		c.bye()
		wait := closeGrace
		if busy {
			wait = reapGrace
		}
		select {
		case <-c.done:
		case <-c.exited:
		case <-time.After(wait):
		}
	}
	c.fail(errClosed)
	return c.settle()
}

// Bye says goodbye, and returns when that and all before it is on the line, in 1 s
// at most. The agent ends by itself; the caller ends the connection, and then
// calls Close, which has nobody to wait for.
func (c *Client) Bye() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.bye()
	select {
	case <-c.sent:
	case <-c.done:
	case <-time.After(reapGrace):
	}
	c.fail(errClosed)
}

func (c *Client) bye() {
	c.out.push(frame{kind: kindBye})
	c.out.close()
}

// settle waits for the client's own goroutines. Closing the program ends what
// they wait for; a transport that does not keep to that is not waited for long.
func (c *Client) settle() error {
	over := make(chan struct{})
	go func() {
		c.work.Wait()
		<-c.exited
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(reapGrace):
	}
	return nil
}
