package nodetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// port is the check of a TCP or UDP port: who listens on it here, or whether a
// connection to it can be made from here.
type port struct {
	protocol string // tcp, tcp4, tcp6, udp, udp4 or udp6
	host     string // "" is this host
	number   uint16
	state    string // listening, closed, reachable or unreachable
	on, only []netip.Addr
	from     netip.Addr
	within   time.Duration
}

func portEntry() Entry {
	return Entry{
		Name:    "port",
		Args:    "[PROTOCOL:][HOST:]PORT [listening|closed|reachable|unreachable] [on ADDRESS] [only ADDRESS] [within DURATION] [from ADDRESS]",
		Summary: "a port: who listens on it, or whether it can be reached",
		Help: `PROTOCOL is tcp, where none is named, or udp; tcp4, tcp6, udp4 and udp6 are one
family alone. An IPv6 HOST is written in brackets: tcp:[::1]:8000.

Without a HOST it is about the node's own sockets, and the port has to be
listening; closed, or absent, wants that nothing listens there. on ADDRESS wants a
socket on that very address: 127.0.0.1, 0.0.0.0, ::. only ADDRESS wants none on
another. Both may be named several times. A socket on :: takes IPv4, too, unless
its program says otherwise; it is shown as ::. This is read from /proc/net, and
SKIPPED on a node that is no Linux.

With a HOST the port has to be reachable: a TCP connection is made from the node,
and closed at once. unreachable wants that there is none, be it refused or without
an answer; a HOST that does not resolve is FAILED. within is how long an answer may take, 5s where nothing is said; from is
the node's own address for the connection. reachable without a HOST connects to
localhost.`,
		Example: "port tcp:%(http.port)s on 127.0.0.1",
		Goss:    "port, addr",
		Parse:   parsePort,
	}
}

// reachLimit is how long a connection may take, where the line does not say.
const reachLimit = 5 * time.Second

var (
	protocols = []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"}

	portProperties = grammar{
		flags: []string{"listening", "closed", "absent", "reachable", "unreachable"},
		values: map[string]func(string) error{
			"on": isAddress, "only": isAddress, "from": isAddress, "within": isPositive,
		},
	}
)

func isAddress(s string) error {
	if _, err := netip.ParseAddr(s); err != nil {
		return errors.New("not an IP address")
	}
	return nil
}

func isPositive(s string) error {
	if v, err := secondsNumber(s); err != nil || v == 0 {
		return errors.New("not a duration: write 500ms, 2s, 24h")
	}
	return nil
}

func parsePort(args []string) (Check, error) {
	word, rest, err := subject(args, "a port")
	if err != nil {
		return nil, err
	}
	c := port{within: reachLimit}
	if err := c.readSubject(word); err != nil {
		return nil, err
	}
	wants, err := portProperties.read(rest)
	if err != nil {
		return nil, err
	}
	for _, w := range wants {
		addr, _ := netip.ParseAddr(w.value) // judged by the grammar
		switch w.property {
		case "on":
			c.on = append(c.on, addr)
		case "only":
			c.only = append(c.only, addr)
		case "from":
			c.from = addr
		case "within":
			c.within, _ = time.ParseDuration(w.value)
		default:
			state := w.property
			if state == "absent" {
				state = "closed"
			}
			if c.state != "" && c.state != state {
				return nil, fmt.Errorf("it cannot be %s and %s", c.state, state)
			}
			c.state = state
		}
	}
	return c, c.agree()
}

// readSubject reads [PROTOCOL:][HOST:]PORT.
func (c *port) readSubject(word string) (err error) {
	c.protocol = "tcp"
	name, rest, ok := strings.Cut(word, ":")
	hint := config.DidYouMean(name, protocols)
	switch {
	case ok && slices.Contains(protocols, name):
		c.protocol, word = name, rest
	case ok && hint != "":
		return fmt.Errorf("%q is no protocol; %s A host of that name is written tcp:%s", name, hint, word)
	}
	number := word
	if strings.Contains(word, ":") {
		if c.host, number, err = net.SplitHostPort(word); err != nil {
			return fmt.Errorf("%q is not [PROTOCOL:][HOST:]PORT", word)
		}
	}
	c.number, err = portNumber(number)
	return err
}

// agree chooses the state where the line names none, and refuses what does not
// go together.
func (c *port) agree() error {
	sockets := len(c.on)+len(c.only) > 0
	switch {
	case c.state != "":
	case c.host != "":
		c.state = "reachable"
	default:
		c.state = "listening"
	}
	own := c.state == "listening" || c.state == "closed"
	switch {
	case own && c.host != "":
		return fmt.Errorf("%s is about the node's own sockets: leave %s out, and name an address with on", c.state, c.host)
	case sockets && c.state != "listening":
		return fmt.Errorf("on and only go with listening, not with %s", c.state)
	case !own && !strings.HasPrefix(c.protocol, "tcp"):
		return errors.New("nothing tells whether a UDP port can be reached")
	case own && c.from.IsValid():
		return errors.New("from goes with reachable and unreachable")
	}
	return nil
}

// Look looks at the sockets of this host, or makes a connection.
func (c port) Look(ctx context.Context, _ *jobs.Env) ([]Finding, error) {
	if c.state == "reachable" || c.state == "unreachable" {
		return c.reach(ctx)
	}
	found, err := listeners(ctx, c.protocol, c.number)
	if err != nil {
		return nil, err
	}
	name := c.protocol + ":" + strconv.Itoa(int(c.number))
	got := name + " closed"
	if len(found) > 0 {
		got = name + " listening on " + spell(found)
	}
	if c.state == "closed" {
		return []Finding{{OK: len(found) == 0, Want: name + " closed", Got: got}}, nil
	}
	if len(found) == 0 {
		return []Finding{{Want: name + " listening" + also(" on ", c.on) + also(" only on ", c.only), Got: got}}, nil
	}
	var findings []Finding
	for _, a := range c.on {
		findings = append(findings, Finding{OK: slices.Contains(found, a), Want: name + " listening on " + a.String(), Got: got})
	}
	if len(c.only) > 0 {
		stray := slices.ContainsFunc(found, func(a netip.Addr) bool { return !slices.Contains(c.only, a) })
		findings = append(findings, Finding{OK: !stray, Want: name + " listening only on " + spell(c.only), Got: got})
	}
	return findings, nil
}

// reach makes a connection and closes it.
func (c port) reach(ctx context.Context) ([]Finding, error) {
	host := c.host
	if host == "" {
		host = "localhost"
	}
	addr := net.JoinHostPort(host, strconv.Itoa(int(c.number)))
	d := net.Dialer{Timeout: c.within}
	if c.from.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: c.from.AsSlice(), Zone: c.from.Zone()}
	}
	conn, err := d.DialContext(ctx, c.protocol, addr)
	if err == nil {
		_ = conn.Close() // nothing was said
	}
	// For a port that has to be unreachable, the check's own limit is an answer.
	if late(ctx) && (c.state == "reachable" || context.Cause(ctx) != errLimit) { //nolint:errorlint // it is our own, unwrapped
		return nil, &stalled{"no answer from " + addr, ctx.Err()}
	}
	got := addr + " reachable"
	var e net.Error
	var name *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL) && c.from.IsValid():
		return nil, jobs.Errorf("this host cannot connect from %s", c.from)
	case errors.As(err, &name): // a slip in the name is not what unreachable wants
		return []Finding{{Want: addr + " " + c.state, Got: reason(err)}}, nil
	case errors.As(err, &e) && e.Timeout():
		got = addr + " unreachable: no answer within " + c.within.String()
	case err != nil:
		got = addr + " unreachable: " + reason(err)
	}
	return []Finding{{OK: (err == nil) == (c.state == "reachable"), Want: addr + " " + c.state, Got: got}}, nil
}

func also(word string, addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return ""
	}
	return word + spell(addrs)
}

func spell(addrs []netip.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}
