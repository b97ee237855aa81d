package nodetest

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/conc/jobs"
)

// lineCase is a line of a suite, and its status with what was wanted and found.
// A want that ends in "..." is the beginning of what there has to be.
type lineCase struct{ line, want string }

// checkLines makes a check of each line, once the words of fill are put in.
func checkLines(t *testing.T, env *jobs.Env, fill *strings.Replacer, cases []lineCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.line, func(t *testing.T) {
			begun := time.Now()
			got, want := lineOf(t, env, fill.Replace(tt.line)), fill.Replace(tt.want)
			if start, cut := strings.CutSuffix(want, "..."); got != want && !(cut && strings.HasPrefix(got, start)) {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			if took := time.Since(begun); took > 30*time.Second { // for what goes on without end
				t.Errorf("it took %v", took)
			}
		})
	}
}

// lineOf makes a check, and gives its status with what was wanted and found.
func lineOf(t *testing.T, env *jobs.Env, line string) string {
	t.Helper()
	r := look(t, env, line)
	got := string(r.Status)
	for i := range r.Want {
		got += " " + r.Want[i] + ": " + r.Got[i]
	}
	if r.Text != "" {
		got += " " + r.Text
	}
	return got
}

// listen serves each connection on loopback with f, and gives the port.
func listen(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// hold says nothing until the other side is gone.
func hold(c net.Conn) { _, _ = c.Read(make([]byte, 1<<20)); _, _ = c.Read(make([]byte, 1)) }

// closedPort is one that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func TestPortChecks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /proc/net")
	}
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	fill := strings.NewReplacer("OPEN", listen(t, hold), "SHUT", closedPort(t), "UDP", strconv.Itoa(udp.LocalAddr().(*net.UDPAddr).Port))
	checkLines(t, here(t), fill, []lineCase{
		{"port tcp:OPEN", "OK"},
		{"port OPEN", "OK"},
		{"port tcp4:OPEN listening on 127.0.0.1 only 127.0.0.1", "OK"},
		{"port tcp6:OPEN", "FAILED tcp6:OPEN listening: tcp6:OPEN closed"},
		{"port OPEN on 0.0.0.0", "FAILED tcp:OPEN listening on 0.0.0.0: tcp:OPEN listening on 127.0.0.1"},
		{"port OPEN only ::1", "FAILED tcp:OPEN listening only on ::1: tcp:OPEN listening on 127.0.0.1"},
		{"port OPEN closed", "FAILED tcp:OPEN closed: tcp:OPEN listening on 127.0.0.1"},
		{"port udp:OPEN absent", "OK"},
		{"port SHUT", "FAILED tcp:SHUT listening: tcp:SHUT closed"},
		{"port SHUT on 127.0.0.1", "FAILED tcp:SHUT listening on 127.0.0.1: tcp:SHUT closed"},
		{"port SHUT closed", "OK"},
		{"port udp:UDP", "OK"},
		{"port udp:UDP on 127.0.0.1", "OK"},
		{"port udp6:UDP", "FAILED udp6:UDP listening: udp6:UDP closed"},
		{"port tcp:127.0.0.1:OPEN", "OK"},
		{"port 127.0.0.1:OPEN reachable from 127.0.0.1", "OK"},
		{"port OPEN reachable", "OK"},
		{"port 127.0.0.1:OPEN unreachable", "FAILED 127.0.0.1:OPEN unreachable: 127.0.0.1:OPEN reachable"},
		{"port tcp:127.0.0.1:SHUT", "FAILED 127.0.0.1:SHUT reachable: 127.0.0.1:SHUT unreachable: connect: connection refused"},
		{"port tcp:127.0.0.1:SHUT unreachable", "OK"},
		{"port 127.0.0.1:OPEN from 192.0.2.77", "ERROR this host cannot connect from 192.0.2.77"},
	})
}

// A listener whose queue is full is a host that answers nothing.
func TestAPortThatDoesNotAnswer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a full queue is another thing elsewhere")
	}
	addr := fullQueue(t)
	checkLines(t, here(t), strings.NewReplacer("ADDR", addr), []lineCase{
		{"port ADDR within 200ms", "FAILED ADDR reachable: ADDR unreachable: no answer within 200ms"},
		{"port ADDR unreachable within 200ms", "OK"},
		{"timeout=200ms port ADDR", "TIMED OUT over its limit of 200ms: no answer from ADDR"},
		{"timeout=200ms port ADDR unreachable", "OK"},
		{"timeout=200ms http http://ADDR/", "TIMED OUT over its limit of 200ms: no answer to GET http://ADDR/"},
		{"timeout=200ms cert ADDR", "TIMED OUT over its limit of 200ms: no certificate from ADDR"},
	})
}

// readsSockets: addresses in both orders of bytes are those of the host's own.
func TestSocketsOfTheKernel(t *testing.T) {
	table := "  sl  local_address rem_address   st tx_queue\n" +
		"   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000\n" +
		"   1: 0100007F:1F40 0100007F:9999 01 00000000:00000000\n" +
		"   2: 00000000:1F41 00000000:0000 0A 00000000:00000000\n" +
		"   3: 00000000000000000000000001000000:1F40 00000000000000000000000000000000:0000 0A 0\n" +
		"   4: 0000000000000000FFFF00000200007F:1F40 00000000000000000000000000000000:0000 0A 0\n" +
		"   5: short\n"
	if !littleEndian() {
		t.Skip("the table is of a little-endian machine")
	}
	got, err := readSockets(t.Context(), strings.NewReader(table), "tcp", 8000)
	if want := "[127.0.0.1 ::1 127.0.0.2]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
}

func TestHTTPChecks(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Mode", "green")
		w.Header().Set("Set-Cookie", "id=hidden-value")
		fmt.Fprint(w, "hello\nworld\n")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		body := new(bytes.Buffer)
		_, _ = body.ReadFrom(r.Body)
		fmt.Fprintf(w, "method=%s host=%s key=%s user=%s/%s body=%s", r.Method, r.Host, r.Header.Get("X-Key"), name, password, body)
	})
	mux.HandleFunc("/bad", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "begun")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 64<<10))
		}
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "abc")
	})
	mux.HandleFunc("/to-ok", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/ok?token=x", http.StatusFound)
	})
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	plain, safe := httptest.NewServer(mux), httptest.NewUnstartedServer(mux)
	safe.Config.ErrorLog = log.New(io.Discard, "", 0)
	safe.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(safe.Close)
	// Where another host is redirected to, it gets no header of ours.
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)+"/echo", http.StatusFound)
	})
	mux.HandleFunc("/away308", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(plain.URL, "127.0.0.1", "localhost", 1)+"/echo", http.StatusPermanentRedirect)
	})
	env := here(t)
	if err := os.WriteFile(filepath.Join(env.Home, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: safe.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // no surprise
	fill := strings.NewReplacer(
		"PLAIN", plain.URL, "TLSADDR", safe.Listener.Addr().String(), "TLSURL", safe.URL,
		"SHUT", closedPort(t),
		"NOISE", listen(t, func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-x\r\n\x1b[2J")); hold(c) }),
		"MUTE", listen(t, hold),
		"DRIP", listen(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<10)) // who is answered before is not asked
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}),
		"BIGHEAD", listen(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<10))
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n"))
			for {
				if _, err := fmt.Fprintf(c, "X-A: %s\r\n", strings.Repeat("a", 8<<10)); err != nil {
					return
				}
			}
		}),
	)
	checkLines(t, env, fill, []lineCase{
		{"http PLAIN/ok", "OK"},
		{"http PLAIN/ok status 200 status 2xx status <400 contains hello body lacks mars body matches '^w.*d$' time <9s", "OK"},
		{"http PLAIN/ok header X-Mode contains green header x-mode matches '^gr' header X-None absent header X-None lacks x", "OK"},
		{"http PLAIN/ok header X-Mode absent", "FAILED header X-Mode absent: green"},
		{"http PLAIN/ok header X-None contains x", `FAILED header X-None contains "x": no header X-None`},
		{"http PLAIN/ok header Set-Cookie lacks id", `FAILED header Set-Cookie lacks "id": a value that is not shown`},
		{"http PLAIN/ok lacks hello", "FAILED lacks \"hello\": hello\nworld"},
		{"http PLAIN/ok time <1ns", "FAILED time <1ns: time ..."},
		{"http PLAIN/ok days >1", "FAILED days >1: no TLS"},
		{"http PLAIN/bad", "FAILED status 200: status 502 Bad Gateway"},
		{"http PLAIN/bad status 5xx", "OK"},
		{"http PLAIN/bad status <500", "FAILED status <500: status 502 Bad Gateway"},
		{"http PLAIN/to-ok", "FAILED status 200: status 302 Found, to PLAIN/ok"},
		{"http PLAIN/to-ok status 302 header Location contains /ok", "OK"},
		{"http PLAIN/to-ok follow contains hello", "OK"},
		{"http PLAIN/round follow", "FAILED GET PLAIN/round: more than 10 redirects"},
		{"http PLAIN/echo method POST request-body a=b request-header 'X-Key: k' request-header 'Host: shop' login 'me:p:w' contains 'method=POST host=shop key=k user=me/p:w body=a=b'", "OK"},
		{"http PLAIN/away follow request-header 'X-Key: k' login me:pw contains 'key= user=/ '", "OK"},
		{"http PLAIN/away308 follow method POST contains key=", "OK"},
		{"http PLAIN/away308 follow method POST request-body x", "FAILED POST PLAIN/away308: the redirect to another host wants the request's body"},
		{"http PLAIN/slow", "OK"}, // the status is there
		{"http PLAIN/endless contains xxx lacks y", "OK"},
		{"http PLAIN/short contains abc", "FAILED GET PLAIN/short to its end: 3 bytes, and then: unexpected EOF"},
		{"http http://127.0.0.1:SHUT/", "FAILED GET http://127.0.0.1:SHUT/: connect: connection refused"},
		{"http http://me:pass-word@127.0.0.1:SHUT/", "FAILED GET http://me:xxxxx@127.0.0.1:SHUT/: connect: connection refused"},
		{"http http://127.0.0.1:NOISE/", "FAILED GET http://127.0.0.1:NOISE/: ..."},
		{"timeout=200ms http http://127.0.0.1:MUTE/", "TIMED OUT over its limit of 200ms: no answer to GET http://127.0.0.1:MUTE/"},
		{"timeout=200ms http https://me:pw@127.0.0.1:MUTE/", "TIMED OUT over its limit of 200ms: no answer to GET https://me:xxxxx@127.0.0.1:MUTE/"},
		{"timeout=200ms http http://127.0.0.1:DRIP/", "TIMED OUT over its limit of 200ms: no answer to GET http://127.0.0.1:DRIP/"},
		{"http http://127.0.0.1:BIGHEAD/", "FAILED GET http://127.0.0.1:BIGHEAD/: ..."},
		{"http TLSURL/ok", "FAILED GET TLSURL/ok: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"http TLSURL/ok insecure days >14", "OK"},
		{"http TLSURL/ok ca ca.pem", "OK"},
		{"http https://example.com/ok ca ca.pem connect TLSADDR", "OK"},
		{"http https://example.net/ok ca ca.pem connect TLSADDR", "FAILED GET https://example.net/ok: tls: failed to verify certificate: x509: certificate is valid for example.com, *.example.com, not example.net"},
		{"http TLSURL/ok ca none.pem", "ERROR stat " + env.Home + "/none.pem: no such file or directory"},
		{"http http://nowhere.invalid/ok proxy PLAIN status 200 contains hello", "OK"},
	})
	// Within a limit that the beginning of the answer comes in, whatever that takes here.
	var got, want string
	for limit := 200 * time.Millisecond; limit < time.Minute; limit *= 2 {
		got = lineOf(t, env, fill.Replace(fmt.Sprintf("timeout=%v http PLAIN/slow contains begun", limit)))
		want = fill.Replace(fmt.Sprintf("TIMED OUT over its limit of %v: status 200 OK, 5 bytes, and no end to GET PLAIN/slow", limit))
		if got == want {
			return
		}
	}
	t.Errorf("an answer without end:\n got %s\nwant %s", got, want)
}

func TestClockChecks(t *testing.T) {
	env := here(t)
	for _, tt := range []struct {
		line  string
		ahead time.Duration
		want  string
	}{
		{"clock", time.Second, "OK"},
		{"clock within 2s", -3200 * time.Millisecond, "FAILED the clock within 2s of the workstation's: 3.2s behind"},
		{"clock within 100ms", 150 * time.Millisecond, "FAILED the clock within 100ms of the workstation's: 150ms ahead"},
	} {
		ctx := context.WithValue(t.Context(), aheadKey{}, &tt.ahead)
		r := Stock().once(ctx, env, parsed(t, Stock(), "it", tt.line))
		got := string(r.Status)
		for i := range r.Want {
			got += " " + r.Want[i] + ": " + r.Got[i]
		}
		if got != tt.want {
			t.Errorf("%s, %v: got %s, want %s", tt.line, tt.ahead, got, tt.want)
		}
	}
	if r := look(t, env, "clock"); r.Status != Skipped || r.Text == "" {
		t.Errorf("where nothing is known: got %s %q, want SKIPPED with a reason", r.Status, r.Text)
	}
}
