package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"example.org/conc/bundle"
	"example.org/conc/config"
)

// Result is how a step ended, in a form that can travel.
type Result struct {
	Step    int           `json:"step"`
	Status  Status        `json:"status"`
	Message string        `json:"message,omitempty"` // the error, without the step's name
	Hint    string        `json:"hint,omitempty"`
	Exit    int           `json:"exit,omitempty"`
	Signal  int           `json:"signal,omitempty"`
	Tries   int           `json:"tries,omitempty"` // over 1 only when it was retried
	Took    time.Duration `json:"took"`            // nanoseconds
	Tail    []string      `json:"tail,omitempty"`  // the last lines of output, at most 20, each at most 1000 bytes, not escaped
	Lines   int           `json:"lines,omitempty"` // lines of output in all
	Bytes   int64         `json:"bytes,omitempty"` // bytes of output in all
	Note    string        `json:"note,omitempty"`  // what an OK step wants said on its line ("118.2 MB, sha256 verified")
	Owner   []byte        `json:"owner,omitempty"` // the holder's record, JSON, when a lock was BLOCKED
}

// Sink is told what happens while steps run. Its methods are called in order
// from one goroutine at a time and must not block for long.
type Sink interface {
	Begin(step int)
	Output(step int, p []byte) // p is valid until the call returns
	Progress(step int, done, total int64)
	End(r Result)
}

// grace is how long an op has to return after its limit or its cancellation.
// Env.Run takes at most 13 s of it to end a process group. An operator who leaves
// at once waits for leaveGrace.
const (
	grace      = 15 * time.Second
	leaveGrace = 1500 * time.Millisecond
)

var errLimit = errors.New("over its limit")

// Perform runs one step to its end on this host: secrets revealed, time limit
// held, retries done, a panic turned into ERROR, output counted and its tail
// kept. It is the only place where an op is run, on either host. env.Out gets
// the output as it comes, with every secret that the step looked up masked;
// env.Progress and env.Out are called from one goroutine at a time, and not
// after Perform has returned.
//
// The limit is for the step as a whole, its tries and the pauses between them.
// A step whose op has not returned 15 s after its limit or its cancellation is
// ERROR: it may still be running; once env.Leave is closed, 1.5 s after that.
func Perform(ctx context.Context, s Step, env *Env) Result {
	start := time.Now()
	rec := newRecorder(env)
	e := rec.env(env)
	e.Step = s.N

	r := Result{Step: s.N}
	op, err := s.reveal(e)
	s, op = s.rehearse(op)
	if err == nil && s.AsRoot() && os.Geteuid() != 0 {
		err = Errorf("a sudo step can be run by root only")
	}
	if err == nil && ctx.Err() != nil {
		err = Stoppedf("cancelled before it began")
	}
	if err == nil {
		if s.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, s.Timeout, errLimit)
			defer cancel()
		}
		r.Tries, err = attempt(ctx, s, op, e)
		err = ended(ctx, s, err)
	}
	rec.close()
	r.Took = time.Since(start)
	rec.report(&r)
	r.fill(err, rec.mask)
	return r
}

// reveal makes the step's op with its secrets in place of their tokens. The op
// of the plan itself never holds one.
func (s Step) reveal(e *Env) (Op, error) {
	if _, ok := s.Op.(Revealer); ok {
		return s.Op, nil
	}
	var words []string
	secret := false
	for _, w := range s.Words {
		v, err := config.Reveal(w, e.Secret)
		if err != nil {
			return nil, Errorf("%w", err)
		}
		secret = secret || v != w
		words = append(words, v)
	}
	if !secret {
		return s.Op, nil
	}
	op, err := s.cat.make(words)
	if err != nil {
		return nil, Errorf("with its secrets: %w", err)
	}
	if v, ok := op.(Validator); ok {
		if err := v.Validate(); err != nil {
			return nil, Errorf("with its secrets: %w", err)
		}
	}
	return op, nil
}

// attempt runs op until it is not FAILED, its tries are used up, or the time
// does not reach for another one.
func attempt(ctx context.Context, s Step, op Op, e *Env) (tries int, err error) {
	pause := &backoff.ExponentialBackOff{InitialInterval: time.Second, Multiplier: 2, MaxInterval: 30 * time.Second}
	pause.Reset()
	for tries = 1; ; tries++ {
		err = once(ctx, op, e)
		if tries > s.Retry || StatusOf(err) != Failed || ctx.Err() != nil {
			return tries, err
		}
		d := pause.NextBackOff()
		if limit, ok := ctx.Deadline(); ok && time.Until(limit) <= d {
			return tries, err
		}
		e.Log.Info().Err(err).Int("try", tries).Dur("pause", d).Msg("failed; trying again")
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return tries, fmt.Errorf("cancelled before another try: %w", err)
		}
	}
}

// once runs op, and gives up waiting for it when it does not heed ctx.
func once(ctx context.Context, op Op, e *Env) error {
	done := make(chan error, 1)
	go func() {
		err := error(Errorf("the op ended its goroutine instead of returning"))
		defer func() {
			if v := recover(); v != nil {
				e.Log.Error().Interface("panic", v).Bytes("stack", debug.Stack()).Msg("an op panicked")
				err = Errorf("panic: %v", v)
			}
			done <- err
		}()
		err = op.Do(ctx, e)
		if none, ok := err.(*Error); ok && none == nil { //nolint:errorlint // a nil pointer wraps nothing
			err = nil
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	limit, leave := grace, e.Leave
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-leave:
			limit, leave = leaveGrace, nil
			t.Reset(limit)
		case <-t.C:
			return Errorf("%w: it did not stop within %v and may still be running", errAlive, limit)
		}
	}
}

// errAlive says that something which should have ended may be running still.
var errAlive = errors.New("not confirmed dead")

// ended turns what an op returned into the outcome that it is when the step's
// time was up or the operator cancelled it. An op that did its work in spite of
// that is OK; one that says BLOCKED or ERROR knows better.
func ended(ctx context.Context, s Step, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(err, errAlive) {
		return err
	}
	st := StatusOf(err)
	if cut := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded); !cut && st != Failed && st != Stopped {
		return err
	}
	out := &Error{Status: Stopped, Err: because("cancelled", err)}
	if context.Cause(ctx) == errLimit { //nolint:errorlint // it is our own, unwrapped
		out = &Error{Status: TimedOut, Err: because(fmt.Sprintf("over its limit of %v", s.Timeout), err)}
	}
	return out
}

// because puts what before the reason, unless that says nothing more.
func because(what string, err error) error {
	if err == context.Canceled || err == context.DeadlineExceeded { //nolint:errorlint // bare ones only
		return &cutShort{text: what, why: err}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// fill puts an outcome into the result.
func (r *Result) fill(err error, mask func(string) string) {
	r.Status = StatusOf(err)
	if err == nil {
		return
	}
	r.Note = ""
	r.Message = mask(err.Error())
	var (
		e    *Error
		held *bundle.HeldError
	)
	if errors.As(err, &e) {
		r.Exit, r.Signal, r.Hint = e.Exit, e.Signal, mask(e.Hint)
	}
	if errors.As(err, &held) {
		r.Owner, _ = json.Marshal(held)
	}
	if r.Hint == "" && noSpace(err) {
		r.Hint = "make room, then go on from this step; df -h shows what is full"
	}
}

// noSpace tells whether a full disk or a used-up quota is at the root of err.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, bundle.ErrNoSpace)
}
