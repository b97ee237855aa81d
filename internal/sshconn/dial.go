package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/crypto/ssh"
)

// dialer makes connections to one target. What it learned for the first one
// (keys unlocked, records read) serves the next.
type dialer struct {
	t     Target
	o     Options
	creds []*credentials // of each hop, the target last; nil until it is dialled
	known map[string]*hostKeys
}

func newDialer(t Target, o Options) *dialer {
	return &dialer{t: t, o: o.withDefaults(), creds: make([]*credentials, len(t.Jump)+1), known: map[string]*hostKeys{}}
}

func (d *dialer) close() {
	for _, c := range d.creds {
		if c != nil {
			c.close()
		}
	}
}

// hop is one authenticated connection of a chain.
type hop struct {
	t      Target
	client *ssh.Client
	wire   *wire
	gone   chan struct{} // closed when the client has ended, with err
	err    error
	wg     sync.WaitGroup

	answered chan struct{} // closed when trip is set
	trip     time.Duration // until its first answer
}

func newHop(t Target, client *ssh.Client, w *wire, beat time.Duration) *hop {
	h := &hop{t: t, client: client, wire: w, gone: make(chan struct{}), answered: make(chan struct{})}
	h.wg.Go(func() {
		h.err = client.Wait()
		_ = w.Close()
		close(h.gone)
	})
	h.wg.Go(func() {
		h.measure()
		keepAlive(client, beat, h.gone)
	})
	return h
}

// measure times one round trip.
func (h *hop) measure() {
	begun := time.Now()
	if _, _, err := h.client.SendRequest("keepalive@openssh.com", true, nil); err == nil {
		h.trip = time.Since(begun)
		close(h.answered)
	}
}

// alive tells whether nothing is known of its end.
func (h *hop) alive() bool {
	select {
	case <-h.gone:
		return false
	default:
		return h.wire.broken() == nil // what ends with it may be heard of before gone
	}
}

// chain is a way to the target, through its hops.
type chain struct {
	hops   []*hop
	shared int // how many of them, from the first, are the pool's
}

func (c *chain) last() *hop { return c.hops[len(c.hops)-1] }

// close ends every hop of its own, the last first, and waits for all that they
// run.
func (c *chain) close() {
	own := c.hops[c.shared:]
	for _, h := range slices.Backward(own) {
		_ = h.client.Close()
		_ = h.wire.Close()
	}
	for _, h := range own {
		h.wg.Wait()
		// Through a hop that others use, they end with its word, or with it.
		if t, ok := h.wire.Conn.(*tunnelConn); ok && c.shared == 0 {
			t.copiers.Wait()
		}
	}
}

// chain dials and logs in, hop by hop. ctx and b bound all of it.
func (d *dialer) chain(ctx context.Context, b *budget) (*chain, error) {
	c, err := d.ways(ctx, b)
	if err == nil {
		var h *hop
		if h, err = d.hop(ctx, b, c.via(), len(d.t.Jump)); err == nil {
			c.hops = append(c.hops, h)
			return c, nil
		}
	}
	c.close()
	return nil, err
}

// hops is chain without the target itself. What there is of it is given along
// with an error.
func (d *dialer) hops(ctx context.Context, b *budget) (*chain, error) {
	c := &chain{}
	for i := range d.t.Jump {
		h, err := d.hop(ctx, b, c.via(), i)
		if err != nil {
			return c, err
		}
		c.hops = append(c.hops, h)
	}
	return c, nil
}

// via is the client that the next hop is reached through; nil for the first.
func (c *chain) via() *ssh.Client {
	if len(c.hops) == 0 {
		return nil
	}
	return c.last().client
}

// target gives the i-th hop; the target itself is the last.
func (d *dialer) target(i int) Target {
	if i < len(d.t.Jump) {
		return d.t.Jump[i]
	}
	return d.t
}

// records reads the known_hosts files of t, once.
func (d *dialer) records(t Target) (*hostKeys, error) {
	files := t.knownFiles(d.o.Home)
	key := strings.Join(files, "\x00")
	if k, ok := d.known[key]; ok {
		return k, nil
	}
	k, err := readHostKeys(files, d.o.Warn)
	if err != nil {
		return nil, errorf(UnknownKey, "", "%s: known_hosts: %w", t.label(), err)
	}
	d.known[key] = k
	return k, nil
}

// hop connects to the i-th hop and logs in.
func (d *dialer) hop(ctx context.Context, b *budget, via *ssh.Client, i int) (*hop, error) {
	t := d.target(i)
	keys, err := d.judge(t)
	if err != nil {
		return nil, err
	}
	if d.creds[i] == nil {
		if d.creds[i], err = newCredentials(t, d.o); err != nil {
			return nil, err
		}
	}
	asked := false // a person typed something for a login that did not come to its end
	for {
		l := d.creds[i].login(ctx, b)
		var h *hop
		leave, err := d.o.Pool.enter(ctx, b, fmt.Sprintf("%q %s", d.t.Jump[:i], t.addr()))
		if err == nil {
			h, err = d.attemptAgain(ctx, via, t, keys, l)
			if err != nil {
				leave()
			}
		}
		if err == nil {
			l.succeeded()
			h.wg.Go(func() { defer leave(); h.settled(d.early()) })
			return h, nil
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errBudget) {
			return nil, cause // the operator's wish, whatever it broke
		}
		more, err := keys.settle(err)
		switch {
		case more:
		case l.hungUp && l.prompted && !asked:
			asked = true // it took longer than the server waits; now the answer is there
		default:
			return nil, err
		}
	}
}

// settled waits until the server counts the login no longer among those that are
// under way. An sshd says that we are in before it does so, and does so before
// it answers anything else.
func (h *hop) settled(most time.Duration) {
	late := time.NewTimer(most) // of a server that answers no such request
	defer late.Stop()
	select {
	case <-h.answered:
	case <-h.gone:
	case <-late.C:
	}
}

// attemptAgain is attempt, again for a while when the connection is refused
// before anyone was authenticated: a busy sshd (MaxStartups) does that, by
// chance.
func (d *dialer) attemptAgain(ctx context.Context, via *ssh.Client, t Target, keys judge, l *login) (*hop, error) {
	again := backoff.NewExponentialBackOff()
	again.InitialInterval = 200 * time.Millisecond
	again.MaxInterval = 2 * time.Second
	h, err := backoff.Retry(ctx, func() (*hop, error) {
		h, err := d.attempt(ctx, via, t, keys, l)
		if err != nil && !errors.As(err, new(refusal)) {
			err = backoff.Permanent(err)
		}
		return h, err
	}, backoff.WithBackOff(again), backoff.WithMaxElapsedTime(d.o.Retry))
	var r refusal
	switch {
	case err == nil:
		return h, nil
	case errors.As(err, &r):
		return nil, r.err
	case errors.Is(err, errBudget):
		return nil, d.late(ctx, t, "every connection was refused, again and again,")
	}
	return nil, err
}

// refusal is an end of the conversation before it became one.
type refusal struct{ err *Error }

func (r refusal) Error() string { return r.err.Error() }

// Unwrap gives the error proper.
func (r refusal) Unwrap() error { return r.err }

// attempt makes one connection, and one login unless l is nil.
func (d *dialer) attempt(ctx context.Context, via *ssh.Client, t Target, keys judge, l *login) (*hop, error) {
	raw, err := d.connect(ctx, via, t)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: raw, silence: d.o.silence}
	hung := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer hung()
	// A peer that says nothing of SSH is given up earlier.
	mute := time.AfterFunc(d.early(), func() {
		if _, spoke := w.said(); !spoke {
			w.note(nil, errMute)
			_ = w.Close()
		}
	})
	defer mute.Stop()

	var judged bool
	var verdict error
	cfg := &ssh.ClientConfig{
		User:              t.User,
		ClientVersion:     "SSH-2.0-conc",
		HostKeyAlgorithms: keys.algorithms(),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			judged = true
			verdict = keys.verify(key)
			return verdict
		},
	}
	if l != nil {
		l.broken = w.broken
		cfg.AuthCallback = l.method
	}
	conn, channels, requests, err := ssh.NewClientConn(w, t.record(), cfg)
	if err == nil && (!hung() || w.arm() != nil) {
		_ = conn.Close()
		err = w.broken()
		if err == nil {
			err = context.Cause(ctx)
		}
	}
	switch {
	case err == nil:
		return newHop(t, ssh.NewClient(conn, channels, requests), w, d.o.beat), nil
	case verdict != nil:
		return nil, verdict
	}
	return nil, d.explain(ctx, t, w, l, judged, err)
}

var errMute = errors.New("mute")

// early is when a peer that is not heard of at all is given up.
func (d *dialer) early() time.Duration { return d.o.Connect * 3 / 4 }

// connect makes the connection below SSH.
func (d *dialer) connect(ctx context.Context, via *ssh.Client, t Target) (net.Conn, error) {
	if via != nil {
		c, err := via.DialContext(ctx, "tcp", t.addr())
		if err == nil {
			return tunnel(c), nil
		}
		var open *ssh.OpenChannelError
		switch {
		case ctx.Err() != nil:
			return nil, d.late(ctx, t, "no connection through the jump host")
		case !errors.As(err, &open):
			return nil, errorf(Unreachable, "", "%s: the jump host is gone: %w", t.label(), err)
		case open.Reason == ssh.Prohibited:
			return nil, errorf(Unreachable, "AllowTcpForwarding in the jump host's sshd_config decides that", "%s: the jump host does not pass connections on: %s", t.label(), said([]byte(open.Message)))
		}
		return nil, errorf(Unreachable, "", "%s: the jump host cannot reach it: %s", t.label(), said([]byte(open.Message)))
	}
	c, err := (&net.Dialer{Timeout: d.early()}).DialContext(ctx, "tcp", t.addr())
	if err == nil {
		return c, nil
	}
	var dns *net.DNSError
	switch {
	case ctx.Err() != nil:
		return nil, d.late(ctx, t, "no answer to the connection")
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, errorf(Unreachable, "check sshd.ip", "%s: no such host name: %q", t.label(), t.Host)
	case errors.As(err, &dns):
		return nil, errorf(Unreachable, "", "%s: the name %q cannot be looked up: %s", t.label(), t.Host, dns.Err)
	case timedOut(err):
		return nil, errorf(Unreachable, "is a firewall in between? timeout.connect sets the limit", "%s: no answer to the connection within %v", t.label(), d.early())
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, errorf(Unreachable, "is sshd running there, and sshd.port right?", "%s: connection refused: nothing listens on port %d", t.label(), t.Port)
	case errors.Is(err, syscall.ECONNRESET):
		return nil, refusal{errorf(Unreachable, "", "%s: connection reset", t.label())}
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return nil, errorf(Unreachable, "", "%s: %w", t.label(), err)
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// late is the error of a context that ended: the operator's wish, or the limit.
func (d *dialer) late(ctx context.Context, t Target, what string) error {
	if errors.Is(context.Cause(ctx), errBudget) {
		return errorf(Unreachable, "timeout.connect sets the limit", "%s: %s within %v", t.label(), what, d.o.Connect)
	}
	return context.Cause(ctx)
}

// explain makes an error of a handshake that failed at the far end's doing.
func (d *dialer) explain(ctx context.Context, t Target, w *wire, l *login, judged bool, err error) error {
	head, spoke := w.said()
	var e *Error
	var algo *ssh.AlgorithmNegotiationError
	over := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(w.broken(), errMute) && len(head) == 0:
		return errorf(Unreachable, "is it an SSH server?", "%s: port %d takes connections and says nothing", t.label(), t.Port)
	case ctx.Err() != nil:
		switch {
		case !spoke && len(head) > 0:
			return d.foreign(ctx, t, head)
		case l != nil && l.reached:
			return d.late(ctx, t, "the login was not over")
		}
		return d.late(ctx, t, "no SSH conversation came about")
	case !spoke && len(head) > 0 && !turnedAway(head):
		return d.foreign(ctx, t, head)
	case !spoke && over, !judged && over:
		text := "it closed the connection at once"
		if turnedAway(head) {
			text += ", saying " + said(head)
		}
		return refusal{errorf(Unreachable, "a busy sshd does that (MaxStartups, PerSourcePenalties), and so does a firewall", "%s: %s", t.label(), text)}
	case errors.As(err, &algo):
		return &Error{Kind: Unreachable, Err: negotiation{algo, fmt.Sprintf("%s: no common %s: the server has %s",
			t.label(), algo.What, said([]byte(strings.Join(algo.RequestedAlgorithms, ", "))))}}
	case l != nil && strings.Contains(err.Error(), "Too many authentication failures"):
		return errorf(NoAuth, "name the right key with op_key in deploy.ini, so that only it is offered", "%s: not let in: the server hung up after %d keys: %s", t.label(), len(l.offered), strings.Join(l.offered, ", "))
	case l != nil && l.reached && over:
		l.hungUp = true
		return errorf(NoAuth, l.hint(), "%s: the server closed the connection during the login", t.label())
	}
	return errorf(Unreachable, "is it an SSH server? check sshd.ip and sshd.port", "%s: %s", t.label(), said([]byte(err.Error())))
}

// negotiation is the library's error with a text of our own, for which the
// peer's words are escaped.
type negotiation struct {
	*ssh.AlgorithmNegotiationError
	text string
}

func (n negotiation) Error() string { return n.text }

// Unwrap gives the library's error.
func (n negotiation) Unwrap() error { return n.AlgorithmNegotiationError }

// turnedAway tells whether a peer's first words are those of an sshd that has
// no place for us.
func turnedAway(head []byte) bool {
	text := string(head)
	return strings.HasPrefix(text, "Exceeded MaxStartups") || strings.HasPrefix(text, "Not allowed at this time")
}

// foreign is the error for a peer that speaks something else.
func (d *dialer) foreign(ctx context.Context, t Target, head []byte) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), errBudget) {
		return context.Cause(ctx)
	}
	return errorf(Unreachable, "check sshd.ip and sshd.port", "%s: the peer says %s: not an SSH server", t.label(), said(head))
}
