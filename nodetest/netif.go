package nodetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"example.org/conc/jobs"
)

// netif is the check of a network interface.
type netif struct {
	name  string
	wants []want
}

var netifProperties = grammar{flags: []string{"exists", "absent", "up", "running", "down"}, values: map[string]func(string) error{
	"address": isOwnAddress, "mtu": isBound(plainNumber), "mac": isMAC,
}}

func netifEntry() Entry {
	return Entry{
		Name:    "interface",
		Args:    "NAME [exists|absent] [up|running|down] [address ADDRESS[/BITS]]... [mtu BOUND] [mac MAC]",
		Summary: "a network interface: that it is up, its addresses and its MTU",
		Help: `With no property the interface has to be there. up is that it was set up, running
that it has a link as well, down that it was not set up.

address is one of its addresses; with /BITS the length of the network's prefix has to
be the same. mtu is a number of bytes, with an operator: =1500, >=9000. mac is the
hardware address.`,
		Example: "interface eth0 running address 192.0.2.10/24 mtu 1500",
		Goss:    "interface",
		Parse: func(args []string) (Check, error) {
			name, rest, err := subject(args, "the name of an interface")
			if err != nil {
				return nil, err
			}
			wants, err := netifProperties.read(rest)
			if err != nil {
				return nil, err
			}
			return netif{name, wants}, absentAlone(wants)
		},
	}
}

// readAddress reads an address with or without the length of a prefix, which is
// -1 then. An IPv4 address that is written as one of IPv6 is the same.
func readAddress(s string) (netip.Addr, int, error) {
	bits := -1
	a, err := netip.ParseAddr(s)
	if err != nil {
		p, bad := netip.ParsePrefix(s)
		if bad != nil {
			return netip.Addr{}, 0, errors.New("not an address such as 192.0.2.10 or 2001:db8::1/64")
		}
		a, bits = p.Addr(), p.Bits()
	}
	return a.Unmap().WithZone(""), bits, nil
}

func isOwnAddress(s string) error {
	_, _, err := readAddress(s)
	return err
}

func isMAC(s string) error {
	if _, err := net.ParseMAC(s); err != nil {
		return errors.New("not a hardware address such as 00:16:3e:01:02:03")
	}
	return nil
}

// Look asks the kernel.
func (c netif) Look(_ context.Context, _ *jobs.Env) ([]Finding, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, jobs.Errorf("%w", err)
	}
	i := slices.IndexFunc(all, func(n net.Interface) bool { return n.Name == c.name })
	if i < 0 {
		findings, _ := presence(c.wants, "interface "+c.name, false, "")
		return findings, nil
	}
	addrs, err := all[i].Addrs()
	if err != nil {
		return nil, jobs.Errorf("the addresses of %s: %w", c.name, err)
	}
	return c.judge(all[i], addrs)
}

func (c netif) judge(n net.Interface, addrs []net.Addr) ([]Finding, error) {
	findings, settled := presence(c.wants, "interface "+c.name, true, "there, "+linkState(n.Flags))
	if settled {
		return findings, nil
	}
	for _, w := range c.wants {
		f := Finding{Want: c.name + " " + w.property, Got: linkState(n.Flags)}
		switch w.property {
		case "exists":
			continue
		case "up":
			f.OK = n.Flags&net.FlagUp != 0
		case "running":
			f.OK = n.Flags&net.FlagUp != 0 && n.Flags&net.FlagRunning != 0
		case "down":
			f.OK = n.Flags&net.FlagUp == 0
		case "mtu":
			b, err := readBound(w.value, "=", plainNumber)
			if err != nil {
				return nil, err
			}
			f = found(b.holds(float64(n.MTU)), w.property, w.value, fmt.Sprint(n.MTU))
		case "mac":
			mac, err := net.ParseMAC(w.value)
			f = found(err == nil && mac.String() == n.HardwareAddr.String(), w.property, w.value, cmp.Or(n.HardwareAddr.String(), "none"))
		case "address":
			f = hasAddress(w, addrs)
		}
		findings = append(findings, f)
	}
	return findings, nil
}

func linkState(flags net.Flags) string {
	switch {
	case flags&net.FlagUp == 0:
		return "down"
	case flags&net.FlagRunning == 0:
		return "up, without a link"
	}
	return "up and running"
}

func hasAddress(w want, addrs []net.Addr) Finding {
	wanted, wantedBits, err := readAddress(w.value)
	ok := false
	var have []string
	for _, a := range addrs {
		have = append(have, a.String())
		got, bits, bad := readAddress(a.String())
		ok = ok || err == nil && bad == nil && got == wanted && (wantedBits < 0 || bits == wantedBits)
	}
	return found(ok, w.property, w.value, cmp.Or(strings.Join(have, ", "), "none"))
}
