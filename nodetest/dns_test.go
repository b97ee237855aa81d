package nodetest

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"

	"example.org/conc/jobs"
)

// The numbers of the record types that the server of the tests knows.
const (
	typeA, typeNS, typeCNAME, typePTR, typeMX, typeTXT, typeAAAA, typeSRV = 1, 2, 5, 12, 15, 16, 28, 33
)

// answer is one record of the tests' zone.
type answer struct {
	kind uint16
	data []byte
}

// wire is a name as DNS writes it.
func wire(name string) []byte {
	var b []byte
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

func numbers(ns ...uint16) []byte {
	var b []byte
	for _, n := range ns {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

// dnsServer answers from a zone, by UDP on loopback. A name that the zone does
// not have has no records; "mute.test." gets no answer, and "junk.test." no DNS.
func dnsServer(t *testing.T, zone map[string][]answer) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := answerTo(buf[:n], zone); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func answerTo(query []byte, zone map[string][]answer) []byte {
	if len(query) < 17 {
		return nil
	}
	name, at := "", 12
	for query[at] != 0 {
		n := int(query[at])
		name += string(query[at+1:at+1+n]) + "."
		at += 1 + n
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	if name = strings.ToLower(name); name == "mute.test." {
		return nil
	}
	if name == "junk.test." {
		return append(append([]byte(nil), query[:2]...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc0, 0x0c)
	}
	records, known := zone[name]
	reply := append([]byte(nil), query[:2]...)
	flags := uint16(0x8580)
	if !known {
		flags |= 3 // no such name
	}
	var n uint16
	var body []byte
	for _, r := range records {
		if r.kind == kind || r.kind == typeCNAME {
			n++
			body = append(body, 0xc0, 12) // the name asked for
			body = append(body, numbers(r.kind, 1, 0, 60, uint16(len(r.data)))...)
			body = append(body, r.data...)
			if r.kind == typeCNAME && kind != typeCNAME { // and what it leads to
				for _, to := range zone["a.test."] {
					if to.kind == kind {
						n++
						body = append(body, wire("a.test.")...)
						body = append(body, numbers(to.kind, 1, 0, 60, uint16(len(to.data)))...)
						body = append(body, to.data...)
					}
				}
			}
		}
	}
	reply = append(reply, numbers(flags, 1, n, 0, 0)...)
	reply = append(reply, query[12:at+5]...)
	return append(reply, body...)
}

func TestDNSChecks(t *testing.T) {
	server := dnsServer(t, map[string][]answer{
		"a.test.": {
			{typeA, []byte{192, 0, 2, 1}},
			{typeA, []byte{192, 0, 2, 2}},
			{typeAAAA, net.ParseIP("2001:db8::1")},
			{typeMX, append(numbers(10), wire("Mail.test")...)},
			{typeTXT, append([]byte{6}, "v=spf1"...)},
			{typeNS, wire("ns.test")},
		},
		"c.test.":                  {{typeCNAME, wire("a.test")}},
		"_http._tcp.a.test.":       {{typeSRV, append(numbers(0, 5, 443), wire("web.test")...)}},
		"1.2.0.192.in-addr.arpa.":  {{typePTR, wire("a.test")}},
		"localhost.":               {{typeA, []byte{192, 0, 2, 9}}},
		"elsewhere.example.test.":  {},
		"with-search.example.org.": {{typeA, []byte{192, 0, 2, 3}}},
	})
	const both = "192.0.2.1, 192.0.2.2, 2001:db8::1"
	checkLines(t, here(t), strings.NewReplacer("SERVER", server, "ALL", both, "SHUT", "127.0.0.1:"+closedPort(t)), []lineCase{
		{"dns 127.0.0.1 to 127.0.0.1", "OK"},
		{"dns a.test server SERVER", "OK"},
		{"dns a.test resolves to 192.0.2.1 to 2001:DB8:0::1 server SERVER", "OK"},
		{"dns a.test to 192.0.2.7 server SERVER", "FAILED a.test to 192.0.2.7: a.test: ALL"},
		{"dns a.test only 192.0.2.1 server SERVER", "FAILED a.test only to 192.0.2.1: a.test: ALL"},
		{"dns a.test type A only 192.0.2.1 only 192.0.2.2 server SERVER", "OK"},
		{"dns a.test type aaaa only 2001:db8::1 server SERVER", "OK"},
		{"dns a.test type MX to mail.test to '10 mail.test.' server SERVER", "OK"},
		{"dns a.test type MX to '20 mail.test' server SERVER", "FAILED a.test MX to 20 mail.test: a.test MX: 10 Mail.test."},
		{"dns a.test type TXT to v=spf1 server SERVER", "OK"},
		{"dns a.test type TXT to V=SPF1 server SERVER", "FAILED a.test TXT to V=SPF1: a.test TXT: v=spf1"},
		{"dns a.test type NS only ns.test server SERVER", "OK"},
		{"dns c.test type CNAME to A.test server SERVER", "OK"},
		{"dns a.test type CNAME server SERVER", "FAILED a.test CNAME resolves: a.test CNAME: no such record"},
		{"dns a.test type CNAME absent server SERVER", "OK"},
		{"dns _http._tcp.a.test type SRV to web.test to '0 5 443 web.test' server SERVER", "OK"},
		{"dns 192.0.2.1 type PTR only a.test server SERVER", "OK"},
		{"dns b.test server SERVER", "FAILED b.test resolves: b.test: no such record"},
		{"dns b.test to 192.0.2.1 server SERVER", "FAILED b.test resolves to 192.0.2.1: b.test: no such record"},
		{"dns b.test absent server SERVER", "OK"},
		{"dns a.test absent server SERVER", "FAILED a.test: no such record: a.test: ALL"},
		{"dns localhost server SERVER only 192.0.2.9", "OK"}, // and not what /etc/hosts says
		{"timeout=300ms dns mute.test server SERVER", "TIMED OUT over its limit of 300ms: no answer to mute.test"},
		{"timeout=300ms dns mute.test absent server SERVER", "TIMED OUT over its limit of 300ms: no answer to mute.test"},
	})
	// One that answers something else is not believed.
	for _, line := range []string{"timeout=300ms dns junk.test server " + server, "timeout=300ms dns junk.test absent server " + server} {
		if r := look(t, here(t), line); r.Status != jobs.Failed && r.Status != jobs.TimedOut {
			t.Errorf("%s: got %s, want FAILED or TIMED OUT", line, r.Status)
		}
	}
	// A server that is not there is not a name that is not there.
	r := look(t, here(t), "timeout=2s dns a.test absent server 127.0.0.1:"+closedPort(t))
	if !r.Bad() {
		t.Errorf("absent, without a server: got %s, want FAILED or TIMED OUT", r.Status)
	}
}

func TestBadLinesOfNetworkChecks(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"port", "it needs a port"},
		{"port tcp:0", `"0" is not a port from 1 to 65535`},
		{"port tpc:80", `"tpc" is no protocol; did you mean "tcp"? A host of that name is written tcp:tpc:80`},
		{"port a:b:80", `"a:b:80" is not [PROTOCOL:][HOST:]PORT`},
		{"port 80 listening closed", "it cannot be listening and closed"},
		{"port 80 on x", "on x: not an IP address"},
		{"port 80 closed on ::1", "on and only go with listening, not with closed"},
		{"port web:80 listening", "listening is about the node's own sockets"},
		{"port udp:web:80", "nothing tells whether a UDP port can be reached"},
		{"port 80 within 0s", "within 0s: not a duration"},
		{"http ftp://x/", "it is not an http:// or https:// URL"},
		{"http http://x/ status 99", "status 99: not a code"},
		{"http http://x/ status 6xx", "status 6xx: not a code"},
		{"http http://x/ header X", "header is followed by a name"},
		{"http http://x/ header X is y", `unknown property "is"`},
		{"http http://x/ body", "body is followed by"},
		{"http http://x/ folow", `unknown property "folow"; did you mean "follow"?`},
		{"http http://x/ request-header X", "request-header X: not 'NAME: VALUE'"},
		{"http http://x/ client-cert a", "client-cert and client-key go together"},
		{"http http://x/ time soon", "time soon: not a duration"},
		{"http http://b\u00fccher.test/ connect a:80", "with connect, the URL's host is written in its ASCII form"},
		{"cert", "it needs a file, or HOST:PORT"},
		{"cert a days many", "days many: not a number"},
		{"cert a server-name b", "server-name is for HOST:PORT"},
		{"dns a type CAA", "type CAA: it is one of A, "},
		{"dns a absent to 1.2.3.4", "absent goes with type and server only"},
		{"dns a type PTR", "the name for PTR is an IP address"},
		{"dns a server a:b:c", "server a:b:c: not HOST or HOST:PORT"},
		{"clock within soon", "within soon: not a duration"},
		{"clock soon", `unknown property "soon"`},
	} {
		_, err := plan(t, "[node:web1]\n\n[nodetest:web]\nn = "+tt.line+"\n", "web")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s:\n got %v\nwant %s", tt.line, err, tt.want)
		}
	}
}
