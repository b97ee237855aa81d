package nodetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// dnsCheck is the check of dns: what a name stands for.
type dnsCheck struct {
	name     string
	kind     string // of the record; "" is an address of either family
	server   string // HOST:PORT; "" is the node's own way
	absent   bool
	to, only []string
}

func dnsEntry() Entry {
	return Entry{
		Name:    "dns",
		Args:    "NAME [resolves|absent] [type TYPE] [to VALUE] [only VALUE] [server HOST[:PORT]]",
		Summary: "a name: that it resolves, and to what",
		Help: `The node looks the name up as its programs do, /etc/hosts and search domains among
it; with a server, that one alone is asked, for the name just as it is written.

TYPE is A, AAAA, CNAME, MX, TXT, NS, PTR or SRV; without one an address of either
family is looked up. The NAME for PTR is an IP address. to VALUE wants that this is
among the answers, only VALUE that nothing else is; both may be named several times.
A VALUE is an IP address, a host name or a text; for MX and SRV it is the host name,
or the whole record: "10 mail.example.org", "0 5 443 web.example.org". Case and a
full stop at the end do not matter in names.

absent wants that there is no such record. A server that does not answer is FAILED,
or TIMED OUT when the check's time is over before. ERROR when the answer to a PTR is
in the node's /etc/hosts, so that the server would not be asked.`,
		Example: "dns db.example.org type A to %(node:db1:sshd.ip)s",
		Goss:    "dns",
		Parse:   parseDNS,
	}
}

// recordTypes are what can be looked up, and how.
var recordTypes = []struct {
	name string
	look func(ctx context.Context, r *net.Resolver, name string) ([]record, error)
}{
	{"", lookIP("ip")},
	{"A", lookIP("ip4")},
	{"AAAA", lookIP("ip6")},
	{"CNAME", lookCNAME},
	{"MX", lookMX},
	{"TXT", lookTXT},
	{"NS", lookNS},
	{"PTR", lookPTR},
	{"SRV", lookSRV},
}

var dnsProperties = grammar{
	flags:  []string{"resolves", "absent"},
	values: map[string]func(string) error{"type": isRecordType, "to": nil, "only": nil, "server": isServer},
}

func isRecordType(s string) error {
	for _, t := range recordTypes {
		if t.name != "" && strings.EqualFold(t.name, s) {
			return nil
		}
	}
	return errors.New("it is one of A, AAAA, CNAME, MX, TXT, NS, PTR, SRV")
}

func isServer(s string) error {
	_, err := serverAddress(s)
	return err
}

// serverAddress gives the HOST:PORT of a DNS server.
func serverAddress(s string) (string, error) {
	if _, ok := hostPort(s); ok {
		return s, nil
	}
	host := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if _, err := netip.ParseAddr(host); err != nil && (host == "" || strings.ContainsAny(host, ":[]/ ")) {
		return "", errors.New("not HOST or HOST:PORT")
	}
	return net.JoinHostPort(host, "53"), nil
}

func parseDNS(args []string) (Check, error) {
	name, rest, err := subject(args, "a name")
	if err != nil {
		return nil, err
	}
	c := dnsCheck{name: name}
	wants, err := dnsProperties.read(rest)
	if err != nil {
		return nil, err
	}
	resolves := false
	for _, w := range wants {
		switch w.property {
		case "absent":
			c.absent = true
		case "resolves":
			resolves = true
		case "type":
			c.kind = strings.ToUpper(w.value)
		case "to":
			c.to = append(c.to, w.value)
		case "only":
			c.only = append(c.only, w.value)
		case "server":
			c.server, _ = serverAddress(w.value) // judged by the grammar
		}
	}
	if c.absent && (resolves || len(c.to)+len(c.only) > 0) {
		return nil, errors.New("absent goes with type and server only: what is not there has no values")
	}
	if _, err := netip.ParseAddr(name); c.kind == "PTR" && err != nil && len(config.SecretNames(name)) == 0 {
		return nil, errors.New("the name for PTR is an IP address")
	}
	return c, nil
}

// record is what a name stands for, in the forms in which it can be named. The
// first is the one to show.
type record struct {
	forms []string
	text  bool // and no name: each letter counts
}

func (r record) is(value string) bool {
	return slices.ContainsFunc(r.forms, func(form string) bool {
		return form == value || !r.text && bare(form) == bare(value)
	})
}

func named(forms ...string) record { return record{forms: forms} }

// bare makes the forms of a name, or of an address, one.
func bare(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

// Look looks the name up.
func (c dnsCheck) Look(ctx context.Context, _ *jobs.Env) ([]Finding, error) {
	var asked atomic.Bool
	r, name := &net.Resolver{PreferGo: true}, c.name
	if c.server != "" {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			asked.Store(true)
			return new(net.Dialer).DialContext(ctx, network, c.server)
		}
		if c.kind != "PTR" && !strings.HasSuffix(name, ".") {
			name += "." // no search domain, and not /etc/hosts
		}
	}
	var records []record
	var err error
	for _, t := range recordTypes {
		if t.name == c.kind {
			records, err = t.look(ctx, r, name)
		}
	}
	what := strings.TrimSpace(c.name + " " + c.kind)
	if err != nil && late(ctx) {
		return nil, &stalled{"no answer to " + what, ctx.Err()}
	}
	if c.server != "" && len(records) > 0 && !asked.Load() {
		return nil, jobs.Errorf("the server %s was not asked: this node's /etc/hosts has %s", c.server, c.name)
	}
	got := what + ": " + show(records)
	var none *net.DNSError
	switch {
	case errors.As(err, &none) && none.IsNotFound && len(records) == 0:
		return []Finding{{OK: c.absent, Want: c.wanted(what), Got: what + ": no such record"}}, nil
	case err != nil && len(records) == 0:
		return []Finding{{Want: c.wanted(what), Got: what + ": " + reason(err)}}, nil
	case c.absent || len(records) == 0:
		return []Finding{{Want: c.wanted(what), Got: got}}, nil
	}
	var findings []Finding
	for _, v := range c.to {
		ok := slices.ContainsFunc(records, func(r record) bool { return r.is(v) })
		findings = append(findings, Finding{OK: ok, Want: what + " to " + v, Got: got})
	}
	if len(c.only) > 0 {
		stray := slices.ContainsFunc(records, func(r record) bool { return !slices.ContainsFunc(c.only, r.is) })
		findings = append(findings, Finding{OK: !stray, Want: what + " only to " + strings.Join(c.only, ", "), Got: got})
	}
	return findings, nil
}

// wanted words what is wanted, where there is nothing to compare it with.
func (c dnsCheck) wanted(what string) string {
	if c.absent {
		return what + ": no such record"
	}
	w := what + " resolves"
	if values := append(slices.Clone(c.to), c.only...); len(values) > 0 {
		w += " to " + strings.Join(values, ", ")
	}
	return w
}

func show(records []record) string {
	if len(records) == 0 {
		return "nothing"
	}
	words := make([]string, len(records))
	for i, r := range records {
		words[i] = r.forms[0]
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

func lookIP(network string) func(context.Context, *net.Resolver, string) ([]record, error) {
	return func(ctx context.Context, r *net.Resolver, name string) ([]record, error) {
		addrs, err := r.LookupNetIP(ctx, network, name)
		return records(addrs, func(a netip.Addr) record { return named(a.Unmap().String()) }), err
	}
}

func lookCNAME(ctx context.Context, r *net.Resolver, name string) ([]record, error) {
	to, err := r.LookupCNAME(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case bare(to) == bare(name):
		// Of a name without one, the resolver gives the name itself.
		return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
	}
	return []record{named(to)}, nil
}

func lookMX(ctx context.Context, r *net.Resolver, name string) ([]record, error) {
	all, err := r.LookupMX(ctx, name)
	return records(all, func(m *net.MX) record { return named(fmt.Sprintf("%d %s", m.Pref, m.Host), m.Host) }), err
}

func lookTXT(ctx context.Context, r *net.Resolver, name string) ([]record, error) {
	all, err := r.LookupTXT(ctx, name)
	return records(all, func(text string) record { return record{[]string{text}, true} }), err
}

func lookNS(ctx context.Context, r *net.Resolver, name string) ([]record, error) {
	all, err := r.LookupNS(ctx, name)
	return records(all, func(n *net.NS) record { return named(n.Host) }), err
}

func lookPTR(ctx context.Context, r *net.Resolver, name string) ([]record, error) {
	all, err := r.LookupAddr(ctx, name)
	return records(all, func(host string) record { return named(host) }), err
}

func lookSRV(ctx context.Context, r *net.Resolver, name string) ([]record, error) {
	_, all, err := r.LookupSRV(ctx, "", "", name)
	return records(all, func(s *net.SRV) record {
		return named(fmt.Sprintf("%d %d %d %s", s.Priority, s.Weight, s.Port, s.Target), s.Target)
	}), err
}

func records[T any](all []T, form func(T) record) []record {
	rs := make([]record, len(all))
	for i, v := range all {
		rs[i] = form(v)
	}
	return rs
}
