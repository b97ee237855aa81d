package sshconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Pool is what the connections of one run of the program share: the jump hosts,
// which are logged in to once for all nodes behind them, and a limit on how many
// logins to one address are under way at the same time, so that an sshd with the
// default of MaxStartups lets everyone in. Its zero value works. Close it after
// the last connection.
type Pool struct {
	mu    sync.Mutex
	doors map[string]chan struct{}
	hops  map[string]*sharedHops
}

// atDoor is how many connections to one address may be unauthenticated: an sshd
// begins to refuse some of them at ten.
const atDoor = 8

// enter waits for a place among those who log in to an address. The time is not
// the connection's.
func (p *Pool) enter(ctx context.Context, b *budget, address string) (leave func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	p.mu.Lock()
	if p.doors == nil {
		p.doors = map[string]chan struct{}{}
	}
	door := p.doors[address]
	if door == nil {
		door = make(chan struct{}, atDoor)
		p.doors[address] = door
	}
	p.mu.Unlock()
	defer b.pause()()
	select {
	case door <- struct{}{}:
		return func() { <-door }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// sharedHops is a way through jump hosts.
type sharedHops struct {
	done  chan struct{} // closed when the others are set
	chain *chain
	err   error
}

// alive tells whether the way is still there.
func (s *sharedHops) alive() bool {
	return !slices.ContainsFunc(s.chain.hops, func(h *hop) bool { return !h.alive() })
}

// way gives the way that the key stands for, made by dial unless there is one.
// Whoever waits for one that cannot be made is told why, and does not try again.
func (p *Pool) way(ctx context.Context, b *budget, key string, dial func() (*chain, error)) (*chain, error) {
	for {
		p.mu.Lock()
		if p.hops == nil {
			p.hops = map[string]*sharedHops{}
		}
		s := p.hops[key]
		if s == nil {
			s = &sharedHops{done: make(chan struct{})}
			p.hops[key] = s
			p.mu.Unlock()
			s.chain, s.err = dial()
			if s.err != nil {
				s.chain.close()
				p.forget(key, s)
			}
			close(s.done)
			return s.chain, s.err
		}
		p.mu.Unlock()
		resume := b.pause() // a person may be typing the passphrase
		select {
		case <-s.done:
		case <-ctx.Done():
		}
		resume()
		var ours *Error
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case s.err == nil && s.alive():
			return s.chain, nil
		case errors.As(s.err, &ours):
			return nil, s.err
		}
		p.forget(key, s) // it is gone, or whoever made it was called off
	}
}

// forget takes a way out, and ends what is left of it.
func (p *Pool) forget(key string, s *sharedHops) {
	p.mu.Lock()
	mine := p.hops[key] == s
	if mine {
		delete(p.hops, key)
	}
	p.mu.Unlock()
	if mine && s.err == nil && s.chain != nil {
		s.chain.close()
	}
}

// Close ends the connections to the jump hosts.
func (p *Pool) Close() {
	p.mu.Lock()
	all := p.hops
	p.hops = nil
	p.mu.Unlock()
	for _, s := range all {
		<-s.done
		if s.err == nil {
			s.chain.close()
		}
	}
}

// ways is hops, shared with the other connections of the pool.
func (d *dialer) ways(ctx context.Context, b *budget) (*chain, error) {
	if d.o.Pool == nil || len(d.t.Jump) == 0 {
		c, err := d.hops(ctx, b)
		return c, d.viaJump(err)
	}
	hops, err := d.o.Pool.way(ctx, b, fmt.Sprintf("%q", d.t.Jump), func() (*chain, error) { return d.hops(ctx, b) })
	if err != nil {
		return &chain{}, d.viaJump(err)
	}
	return &chain{hops: append([]*hop(nil), hops.hops...), shared: len(hops.hops)}, nil
}

// viaJump says of an error that it is the jump host's.
func (d *dialer) viaJump(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Kind: e.Kind, Hint: e.Hint, Err: fmt.Errorf("%s: its jump host %w", d.t.name(), e.Err)}
	}
	return err
}
