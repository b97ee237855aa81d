package nodetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// Options say how a suite is run. The zero value is one try for each check.
type Options struct {
	Retry time.Duration `json:"retry,omitempty"` // a check that is not OK is tried again for so long, nanoseconds

	// Ahead is by how much this host's clock is ahead of the workstation's; nil
	// when that is not known.
	Ahead *time.Duration `json:"ahead,omitempty"`
}

const (
	atOnce     = 16               // checks that are made at the same time
	retryPause = time.Second      // between two tries
	lookGrace  = 15 * time.Second // for a check to return after its limit
)

// Run makes the checks here, those that are harmless at the same time, and
// reports each in the suite's order, from one goroutine at a time. When ctx is
// done it returns soon, and what was not reported is ERROR.
func (c Catalogue) Run(ctx context.Context, env *jobs.Env, specs []Spec, o Options, report func(Result)) {
	ctx = context.WithValue(ctx, aheadKey{}, o.Ahead)
	done := make([]chan Result, len(specs))
	places := make(chan struct{}, atOnce)
	var work sync.WaitGroup
	defer work.Wait()
	var alone []int
	for i, s := range specs {
		done[i] = make(chan Result, 1)
		if e, ok := c.Lookup(s.kind()); ok && e.Alone {
			alone = append(alone, i)
			continue
		}
		work.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			done[i] <- c.insist(ctx, env, s, o)
		})
	}
	work.Go(func() {
		for _, i := range alone {
			done[i] <- c.insist(ctx, env, specs[i], o)
		}
	})
	for i := range specs {
		report(<-done[i])
	}
}

func (s Spec) kind() string {
	if len(s.Words) == 0 {
		return ""
	}
	return s.Words[0]
}

// insist makes a check until it is OK or its time is over.
func (c Catalogue) insist(ctx context.Context, env *jobs.Env, s Spec, o Options) Result {
	begun := time.Now()
	for tries := 1; ; tries++ {
		r := c.once(ctx, env, s)
		r.Took = time.Since(begun)
		if tries > 1 {
			r.Tries = tries
		}
		if !r.Bad() || time.Since(begun)+retryPause > o.Retry || ctx.Err() != nil {
			return r
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return r
		}
	}
}

// once makes a check: here, or as root by way of the root agent.
func (c Catalogue) once(ctx context.Context, env *jobs.Env, s Spec) Result {
	r := Result{N: s.N, Name: s.Name, Check: s.kind()}
	if ctx.Err() != nil {
		return r.fill(env, nil, jobs.Errorf("not looked at: the run was ended"))
	}
	if s.Sudo && os.Geteuid() != 0 {
		if env.Call == nil {
			return r.fill(env, nil, jobs.Errorf("this check needs root, and there is no way to sudo here"))
		}
		ahead, _ := ctx.Value(aheadKey{}).(*time.Duration)
		var there Result
		err := env.Call(ctx, jobs.Call{Procedure: procCheck, Sudo: true, Params: checkParams{s, Options{Ahead: ahead}}}, &there)
		if err != nil {
			return r.fill(env, nil, err)
		}
		return there.sober()
	}
	limit := s.Timeout
	if limit <= 0 {
		limit = checkLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLimit)
	defer cancel()
	e := *env
	e.Step = -s.N // of no list: what a check starts is told apart from what steps start
	findings, err := c.look(ctx, &e, s)
	if err != nil && context.Cause(ctx) == errLimit && !isSkip(err) && !errors.Is(err, errAlive) { //nolint:errorlint // it is our own, unwrapped
		over := fmt.Errorf("over its limit of %v", limit)
		if s := (*stalled)(nil); errors.As(err, &s) {
			over = fmt.Errorf("%w: %s", over, s.at)
		}
		err = &jobs.Error{Status: jobs.TimedOut, Err: over}
	}
	return r.fill(&e, findings, err)
}

var (
	errLimit = errors.New("over the limit")
	errAlive = errors.New("not confirmed dead")
)

// look gives up waiting for a check that does not heed ctx.
func (c Catalogue) look(ctx context.Context, env *jobs.Env, s Spec) ([]Finding, error) {
	check, err := c.reveal(env, s)
	if err != nil {
		return nil, err
	}
	type answer struct {
		findings []Finding
		err      error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if v := recover(); v != nil {
				env.Log.Error().Interface("panic", v).Bytes("stack", debug.Stack()).Msg("a check panicked")
				a.err = jobs.Errorf("panic: %v", v)
			}
			done <- a
		}()
		a.findings, a.err = check.Look(ctx, env)
	}()
	select {
	case a := <-done:
		return a.findings, a.err
	case <-ctx.Done():
	}
	t := time.NewTimer(lookGrace)
	defer t.Stop()
	select {
	case a := <-done:
		return a.findings, a.err
	case <-t.C:
		return nil, jobs.Errorf("%w: it did not stop within %v and may still be running", errAlive, lookGrace)
	}
}

// reveal makes the check with its secrets in place of their tokens.
func (c Catalogue) reveal(env *jobs.Env, s Spec) (Check, error) {
	e, ok := c.Lookup(s.kind())
	if !ok {
		return nil, jobs.Errorf("this program knows no check %q", s.kind())
	}
	words := make([]string, len(s.Words)-1)
	for i, w := range s.Words[1:] {
		v, err := config.Reveal(w, env.Secret)
		if err != nil {
			return nil, jobs.Errorf("%w", err)
		}
		words[i] = v
	}
	return e.Parse(words)
}

// fill makes a result of what a check found.
func (r Result) fill(env *jobs.Env, findings []Finding, err error) Result {
	say := func(s string) string { return bounded(env.Mask(s)) }
	r.Status = jobs.OK
	switch {
	case isSkip(err):
		r.Status, r.Text = Skipped, say(err.Error())
		return r
	case err != nil:
		r.Status, r.Text, r.Alive = jobs.Errored, say(err.Error()), errors.Is(err, errAlive)
		var e *jobs.Error
		if errors.As(err, &e) {
			r.Hint = say(e.Hint)
			if e.Status == jobs.TimedOut {
				r.Status = jobs.TimedOut
			}
		}
		return r
	}
	for _, f := range findings {
		if f.OK || len(r.Want) == maxFindings {
			continue
		}
		r.Status = jobs.Failed
		r.Want, r.Got = append(r.Want, say(f.Want)), append(r.Got, say(f.Got))
	}
	return r
}

// aheadKey finds Options.Ahead in a context.
type aheadKey struct{}
