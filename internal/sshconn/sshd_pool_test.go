package sshconn

import (
	"context"
	"sync"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

// All nodes behind a jump host share one login there, also when they are dialled
// at the same time, and get another one when it is gone.
func TestSharedJump(t *testing.T) {
	t.Parallel()
	inner := startNode(t, testnode.Options{})
	outer := startSSHD(t, sshdtest.Options{})
	door, err := testnode.NewProxy(outer.node.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	hop := outer.t
	hop.Node, hop.Port, hop.HostKey = "bastion", door.Port, outer.node.HostKey
	// Both ends are this one account's; each has a home of its own.
	target, o := inner.t, inner.o
	target.Jump = []Target{hop}
	pool := &Pool{}
	defer pool.Close()
	o.Pool = pool
	all := func() []*Conn {
		conns := make([]*Conn, 12)
		var group sync.WaitGroup
		for i := range conns {
			group.Go(func() {
				c, err := Dial(context.Background(), target, o)
				if err != nil {
					t.Error(err)
					return
				}
				conns[i] = c
				if out, err := run(c, "echo here"); err != nil || out != "here\n" {
					t.Errorf("got %q, %v, want here", out, err)
				}
			})
		}
		group.Wait()
		return conns
	}
	first := all()
	if t.Failed() {
		return
	}
	if got := door.Accepted(); got != 1 {
		t.Errorf("logins at the jump host: got %d, want 1", got)
	}
	// One that goes takes no other along.
	_ = first[0].Close()
	if out, err := run(first[1], "echo still"); err != nil || out != "still\n" {
		t.Errorf("after another one's end: got %q, %v", out, err)
	}
	for _, s := range pool.hops {
		_ = s.chain.hops[0].wire.Close()
	}
	<-first[1].Done()
	second := all()
	if t.Failed() {
		return
	}
	for _, c := range append(first, second...) {
		_ = c.Close()
	}
	if got := door.Accepted(); got != 2 {
		t.Errorf("logins at the jump host after its end: got %d, want 2", got)
	}
}

// A jump host that cannot be reached is the reason for all who wait for it.
func TestSharedJumpFails(t *testing.T) {
	t.Parallel()
	op := startNode(t, testnode.Options{})
	hop := op.t
	hop.Node, hop.Port = "bastion", closedPort(t)
	target, o := op.t, op.o
	target.Jump = []Target{hop}
	o.Pool = &Pool{}
	defer o.Pool.Close()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			_, err := Dial(context.Background(), target, o)
			wantError(t, err, Unreachable, "web1: its jump host bastion", "")
		})
	}
	group.Wait()
}

// An sshd that has no place for many logins at a time is given few.
func TestSSHDManyLogins(t *testing.T) {
	t.Parallel()
	op := startSSHD(t, sshdtest.Options{Config: []string{"MaxStartups 3:100:5"}})
	o := op.o
	o.Pool = &Pool{}
	defer o.Pool.Close()
	var group sync.WaitGroup
	for range 12 {
		group.Go(func() {
			c, err := Dial(context.Background(), op.t, o)
			if err != nil {
				t.Error(err)
				return
			}
			_ = c.Close()
		})
	}
	group.Wait()
}

// A default sshd refuses none of fifty, although it takes a while after a login
// to see that it is over.
func TestSSHDFiftyLogins(t *testing.T) {
	t.Parallel()
	op := startSSHD(t, sshdtest.Options{})
	o := op.o
	o.Pool, o.Retry = &Pool{}, time.Millisecond // a refusal is an error
	defer o.Pool.Close()
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			c, err := Dial(context.Background(), op.t, o)
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := run(c, "echo here"); err != nil || out != "here\n" {
				t.Errorf("got %q, %v, want here", out, err)
			}
			_ = c.Close()
		})
	}
	group.Wait()
}
