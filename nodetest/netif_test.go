package nodetest

import (
	"net"
	"testing"
)

func TestInterfaces(t *testing.T) {
	ipNet := func(s string) net.Addr {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		return &net.IPNet{IP: ip, Mask: n.Mask}
	}
	addrs := []net.Addr{ipNet("192.0.2.10/24"), ipNet("fe80::1/64")}
	mac, _ := net.ParseMAC("00:16:3e:01:02:03")
	up := net.Interface{Name: "eth0", MTU: 1500, HardwareAddr: mac, Flags: net.FlagUp | net.FlagRunning}
	unplugged, down, bare := up, up, up
	unplugged.Flags, down.Flags = net.FlagUp, net.FlagRunning
	bare.HardwareAddr = nil
	judge := func(n net.Interface, addrs []net.Addr) func(t *testing.T, line string) Result {
		return func(t *testing.T, line string) Result {
			findings, err := check(t, line).(netif).judge(n, addrs)
			return Result{}.fill(here(t), findings, err)
		}
	}
	verdicts(t, judge(up, addrs), [][2]string{
		{"interface eth0", "OK"},
		{"interface eth0 exists up running mtu 1500 mtu >1000 mac 00-16-3E-01-02-03", "OK"},
		{"interface eth0 address 192.0.2.10 address 192.0.2.10/24 address FE80:0::1/64 address ::ffff:192.0.2.10", "OK"},
		{"interface eth0 address 192.0.2.10/25", "FAILED address 192.0.2.10/25: address 192.0.2.10/24, fe80::1/64"},
		{"interface eth0 address 192.0.2.1", "FAILED address 192.0.2.1: address 192.0.2.10/24, fe80::1/64"},
		{"interface eth0 down", "FAILED eth0 down: up and running"},
		{"interface eth0 mtu >=9000", "FAILED mtu >=9000: mtu 1500"},
		{"interface eth0 absent", "FAILED interface eth0 absent: there, up and running"},
	})
	verdicts(t, judge(unplugged, nil), [][2]string{
		{"interface eth0 up", "OK"},
		{"interface eth0 running", "FAILED eth0 running: up, without a link"},
		{"interface eth0 address ::1", "FAILED address ::1: address none"},
	})
	verdicts(t, judge(down, nil), [][2]string{
		{"interface eth0 down", "OK"},
		{"interface eth0 up", "FAILED eth0 up: down"},
		{"interface eth0 running", "FAILED eth0 running: down"},
	})
	verdicts(t, judge(bare, nil), [][2]string{
		{"interface eth0 mac 00:16:3e:01:02:03", "FAILED mac 00:16:3e:01:02:03: mac none"},
	})
}

func TestInterfacesOfThisHost(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil {
		t.Skip(err)
	}
	env := here(t)
	verdicts(t, looked(env), [][2]string{
		{"interface conc-none absent", "OK"},
		{"interface conc-none up", "FAILED interface conc-none: not there"},
	})
	for _, n := range all {
		if n.Flags&net.FlagLoopback != 0 && n.Flags&net.FlagUp != 0 {
			verdicts(t, looked(env), [][2]string{{"interface " + n.Name + " up address 127.0.0.1/8 mtu >0", "OK"}})
			return
		}
	}
}
