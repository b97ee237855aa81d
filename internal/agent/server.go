package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
)

// Server is the agent. Its zero value needs Program and Home.
type Server struct {
	Program  Program
	Home     string
	Log      zerolog.Logger
	Journals Journals // of the runs, as ~/.conc/runs/<run>/journal; nil: none is kept

	pulse pulse // for tests
}

// Serve speaks the protocol until BYE, or until the far side is gone. When that
// happens in the middle of a step, the step goes on to its end, or is cancelled
// if the node's on_disconnect is "kill"; it is recorded, and nothing further is
// started. Serve returns after that: nil when the conversation ended as agreed.
//
// A far side that does not take what is written to it holds nothing up. In and
// out are closed, if they can be, when the far side is gone.
func (s *Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A write to a closed pipe is an error, not the end of the process; a hangup
	// is a link that is gone. They are caught, not ignored, because children
	// would inherit that.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGPIPE, syscall.SIGHUP)
	defer signal.Stop(signals)

	se := &session{Server: s, ctx: ctx, out: newQueue(), leave: make(chan struct{})}
	se.heard.Store(time.Now().UnixNano())
	frames, readDone := make(chan inbound), make(chan struct{})
	go func() {
		defer close(readDone)
		se.read(in, frames)
	}()
	wrote := make(chan error, 1)

	err := se.talk(out, frames, wrote, signals)
	agreed := errors.Is(err, errBye)
	if agreed {
		err = nil
	}
	se.lose(err)
	se.work.Wait()
	se.dismiss()
	se.release()
	if se.store != nil {
		se.store.Close()
	}
	if se.local != nil {
		se.local.Far.forget()
	}
	se.out.close()
	cancel() // the reader's hand-over
	if se.writing {
		select {
		case <-wrote: //nolint:errcheck // it is over, however it ended
		case <-time.After(writeGrace):
		}
	}
	if !agreed {
		closeEnd(in)
		closeEnd(out)
	}
	select {
	case <-readDone:
	case <-time.After(readGrace):
		// It is stuck in a read that nothing can end; the process is about to.
	}
	return err
}

// How the agent watches the far side, where a test does not say otherwise.
const (
	beat    = 5 * time.Second
	silence = 30 * time.Second
)

// writeGrace is for the last frames, on a line that may be dead; readGrace for
// a reader whose end was closed.
const (
	writeGrace = 3 * time.Second
	readGrace  = time.Second
)

func closeEnd(v any) {
	if c, ok := v.(io.Closer); ok {
		_ = c.Close()
	}
}

var (
	errBye    = errors.New("goodbye")
	errHangup = errors.New("hung up")
)

// session is one conversation, as the agent sees it.
type session struct {
	*Server
	ctx     context.Context
	out     *queue
	writing bool         // the marker was written, and frames follow
	heard   atomic.Int64 // when the far side was last heard, Unix nanoseconds
	calls   assembler

	owner   bundle.Owner
	setOut  *jobs.PlanRecord // nil: nothing is recorded of the plan
	node    *config.Node
	bundle  string // absolute; "" when the node has none
	plan    *jobs.Plan
	secrets map[string]string
	config  configBody // as it came, for the root agent

	root     rootAgent
	performs bool        // this is the root agent
	local    *localBody  // it is that of a workstation
	lost     atomic.Bool // the far side is gone

	work sync.WaitGroup // a stretch and the calls

	mu      sync.Mutex
	running bool               // a stretch
	stopped bool               // start no further step, in this conversation
	cancel  context.CancelFunc // of the running stretch
	hidden  []string           // what is masked in all that steps say
	cancels int                // how often that of a running step was asked for
	leave   chan struct{}      // jobs.Env.Leave of root's steps

	doing procedures
	store *bundle.Store

	rehearsing sync.Mutex // see stores

	run  runState
	held atomic.Bool // the bundle was opened or found to be ours, and not closed since
}

type inbound struct {
	frame
	err error
}

// read passes frames on to talk.
func (se *session) read(in io.Reader, frames chan<- inbound) {
	r := &heardReader{in, &se.heard}
	for {
		f, err := readFrame(r)
		select {
		case frames <- inbound{f, err}:
		case <-se.ctx.Done():
			return
		}
		if err != nil || f.kind == kindBye {
			return
		}
	}
}

// heardReader notes when something came.
type heardReader struct {
	io.Reader
	at *atomic.Int64
}

func (r *heardReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.at.Store(time.Now().UnixNano())
	}
	return n, err
}

// silent tells for how long nothing was heard.
func silent(at *atomic.Int64) time.Duration { return time.Since(time.Unix(0, at.Load())) }

// talk is the conversation. It returns why it is over.
func (se *session) talk(out io.Writer, frames <-chan inbound, wrote chan<- error, signals <-chan os.Signal) error {
	p := se.pulse.or(beat, silence)
	tick := time.NewTicker(p.beat)
	defer tick.Stop()
	failed := make(chan error, 1)
	for {
		select {
		case f := <-frames:
			if f.err != nil {
				return se.refuse(f.err)
			}
			if !se.writing {
				if err := se.greet(out, f.frame); err != nil {
					return err
				}
				se.writing = true
				go func() {
					err := se.out.drain(out)
					wrote <- err
					if err != nil {
						failed <- err
					}
				}()
				continue
			}
			if err := se.handle(f.frame); err != nil {
				return se.refuse(err)
			}
		case err := <-failed:
			return se.last(frames, err)
		case s := <-signals:
			if s == syscall.SIGHUP {
				return se.refuse(errHangup)
			}
		case <-tick.C:
			if d := silent(&se.heard); d > p.silence {
				return se.refuse(fmt.Errorf("the agent heard nothing for %s", d.Round(time.Second)))
			}
			if se.writing {
				se.out.push(frame{kind: kindPing})
			}
		case <-se.ctx.Done():
			return se.ctx.Err()
		}
	}
}

// last takes what had come before the far side went: the records of its steps, and
// its goodbye, for which it may not have waited. err is why nothing can be said.
func (se *session) last(frames <-chan inbound, err error) error {
	late := time.NewTimer(readGrace)
	defer late.Stop()
	for {
		select {
		case f := <-frames:
			switch {
			case f.err != nil:
				return err
			case f.frame.kind == kindBye:
				return errBye
			case f.frame.kind == kindRecord:
				if se.handle(f.frame) != nil {
					return err
				}
			}
		case <-late.C:
			return err
		}
	}
}

// refuse tells the far side of an error that ends the conversation, where it
// may still listen.
func (se *session) refuse(err error) error {
	if errors.Is(err, errBye) || errors.Is(err, io.EOF) || !se.writing {
		return err
	}
	if f, e := pack(kindErr, 0, errBody{Message: bounded(err.Error())}); e == nil {
		se.out.push(f)
	}
	return err
}

// lose ends everything that the far side may no longer want: nothing further is
// started, and the running step is cancelled if the node says so.
func (se *session) lose(err error) {
	se.lost.Store(true)
	se.mu.Lock()
	defer se.mu.Unlock()
	se.stopped = true
	for _, cancel := range se.doing {
		cancel()
	}
	if se.running {
		se.Log.Warn().Err(err).Msg("the workstation is gone; nothing further is started")
		if se.node.Get("on_disconnect") == "kill" || se.ctx.Err() != nil {
			se.cancel()
		}
	}
}

// greet answers the far side's first frame.
func (se *session) greet(out io.Writer, f frame) error {
	if f.kind != kindHello {
		return badFrame("frame of type %d before the greeting", f.kind)
	}
	var h clientHello
	if err := f.unpack(&h); err != nil {
		return err
	}
	if h.V != protocol || h.Nonce == "" {
		return badFrame("greeting of version %d", h.V)
	}
	hello, err := pack(kindHello, 0, se.hello(h.Verify))
	if err != nil {
		return err
	}
	if _, err := out.Write(marker(h.Nonce)); err != nil {
		return err
	}
	return writeFrame(out, hello)
}

// handle does what a frame asks for.
func (se *session) handle(f frame) error {
	switch f.kind {
	case kindConfig:
		return se.configure(f)
	case kindSecret:
		if se.secrets != nil {
			return badFrame("secrets twice")
		}
		NoCore()
		return f.unpack(&se.secrets)
	case kindRun:
		return se.start(f)
	case kindStop, kindCancel:
		se.mu.Lock()
		defer se.mu.Unlock()
		se.stopped = true
		if se.running && f.kind == kindCancel {
			se.cancel()
			if se.cancels++; se.performs && se.cancels == 2 {
				close(se.leave) // whoever asks a second time does not wait
			}
		}
		return nil
	case kindRecord:
		var r jobs.Record
		if err := f.unpack(&r); err != nil {
			return err
		}
		return se.record(r)
	case kindCall:
		msg, whole, err := se.calls.add(f)
		if err != nil || !whole {
			return err
		}
		return se.call(msg)
	case kindDrop:
		return se.drop(f)
	case kindPing:
		se.out.push(frame{kind: kindPong})
		return nil
	case kindPong:
		return nil
	case kindBye:
		return errBye
	case kindErr:
		var e errBody
		if err := f.unpack(&e); err != nil {
			return err
		}
		return errors.New(e.Message)
	}
	return badFrame("frame of type %d", f.kind)
}

// configure takes the node's attributes and makes the plan of them.
func (se *session) configure(f frame) error {
	if se.node != nil {
		return badFrame("configured twice")
	}
	var c configBody
	if err := f.unpack(&c); err != nil {
		return err
	}
	if c.Home != "" {
		if os.Geteuid() != 0 || !filepath.IsAbs(c.Home) {
			return badFrame("steps as root for the home %.40q, and this is not root", c.Home)
		}
		server := *se.Server
		server.Home = c.Home
		se.Server, se.performs = &server, true
		if c.Locale == "" {
			_ = os.Unsetenv("LC_ALL")
		} else {
			_ = os.Setenv("LC_ALL", c.Locale)
		}
	}
	if c.Local != nil {
		if !se.performs || !filepath.IsAbs(c.Local.Dir) || !filepath.IsAbs(c.Local.Bundle) {
			return badFrame("a workstation's steps that cannot be")
		}
		se.local = c.Local
		c.Local.enter()
	}
	node := config.NewNode(c.Node, c.Values)
	if b := node.Get("bundle"); b != "" {
		if !filepath.IsLocal(b) || filepath.Clean(b) == "." {
			return fmt.Errorf("the bundle %q is not below the home directory", b)
		}
		se.bundle = filepath.Join(se.Home, b)
	}
	if se.local != nil {
		se.bundle = se.local.Bundle
	}
	if len(c.Specs) > 0 {
		if len(c.Specs) > maxSteps {
			return fmt.Errorf("%d steps are over the limit of %d", len(c.Specs), maxSteps)
		}
		if !bundle.ValidRun(c.Owner.Run) {
			return fmt.Errorf("not a run's id: %q", c.Owner.Run)
		}
		plan, err := se.Program.Planner.Rebuild(node, c.List, c.Specs)
		if err != nil {
			return fmt.Errorf("the node cannot make the same plan: %w", err)
		}
		if plan.Digest != c.Digest {
			return fmt.Errorf("the plan that the node made is another one (digest %.12s, not %.12s)", plan.Digest, c.Digest)
		}
		se.plan = plan
	}
	se.node, se.owner, se.setOut, se.config = node, c.Owner, c.Record, c
	se.store = &bundle.Store{Home: se.Home, Run: c.Owner.Run, Limit: node.Size("cache.size")}
	if se.setOut != nil {
		se.setOut.Steps = c.Specs
	}
	se.out.push(frame{kind: kindReady})
	return nil
}
