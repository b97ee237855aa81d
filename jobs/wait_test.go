package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestWaitPort(t *testing.T) {
	env, _ := testEnv(t, Remote)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	for _, a := range []string{addr, port, ":" + port} {
		if r := Perform(t.Context(), stepOf(WaitPort{a}), env); r.Status != OK {
			t.Errorf("%s: got %+v, want OK", a, r)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := stepOf(WaitPort{addr})
	s.Timeout = 100 * time.Millisecond
	if r := Perform(t.Context(), s, env); r.Status != TimedOut || !strings.Contains(r.Message, "refused") {
		t.Errorf("got %+v, want TIMED OUT with the last answer", r)
	}
}

func TestWaitHTTP(t *testing.T) {
	env, _ := testEnv(t, Remote)
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
		fmt.Fprint(w, "all is well")
	})
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/late", http.StatusFound) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	tls := httptest.NewUnstartedServer(mux)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	for _, tt := range []struct {
		args    string
		want    Status
		message string
	}{
		{srv.URL + "/late contains=well", OK, ""},
		{srv.URL + "/late status=200", OK, ""},
		{srv.URL + "/bad status=502", OK, ""},
		{srv.URL + "/moved status=302", OK, ""},
		{srv.URL + "/bad", TimedOut, "answered 502 Bad Gateway, want 200"},
		{srv.URL + "/moved", TimedOut, "answered 302 Found"},
		{srv.URL + "/late contains=ill", TimedOut, `without "ill" in it`},
		{tls.URL + "/late", Failed, "certificate"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			op, err := parseWaitHTTP(strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			s := stepOf(op)
			if tt.want == TimedOut {
				s.Timeout = 300 * time.Millisecond
			}
			if r := Perform(t.Context(), s, env); r.Status != tt.want || !strings.Contains(r.Message, tt.message) {
				t.Errorf("got %+v, want %s %q", r, tt.want, tt.message)
			}
		})
	}
}

func TestHold(t *testing.T) {
	for _, tt := range []struct {
		name string
		ask  func(context.Context, string) error
		want Status
	}{
		{"go on", func(context.Context, string) error { return nil }, OK},
		{"no", func(context.Context, string) error { return errors.New("you said no") }, Stopped},
		{"no terminal", func(context.Context, string) error { return ErrNoAnswer }, Stopped},
		{"nobody", nil, Stopped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, _ := testEnv(t, Local)
			env.Ask = tt.ask
			if r := Perform(t.Context(), stepOf(Hold{Message: "look"}), env); r.Status != tt.want || tt.want == Stopped && !strings.Contains(r.Message, "look") {
				t.Errorf("got %+v, want %s", r, tt.want)
			}
		})
	}
	env, _ := testEnv(t, Local)
	wait := make(chan struct{})
	defer close(wait)
	env.Ask = func(context.Context, string) error { <-wait; return nil }
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if r := Perform(ctx, stepOf(Hold{Message: "look"}), env); r.Status != Stopped || r.Took > 10*time.Second {
		t.Errorf("cancelled: got %+v, want STOPPED at once", r)
	}
}

// A systemctl that keeps units' states in files stands in for systemd, which
// runs on few machines that tests run on.
const systemctl = `#!/bin/sh
echo "$@" >> "$UNITS/log"
case "$*" in
*" show "*|show*) for u; do :; done; cat "$UNITS/$u"; exit 0;;
*" broken") echo "Job for broken failed." >&2; exit 1;;
esac
`

func TestSystemd(t *testing.T) {
	env, out := testEnv(t, Remote)
	t.Setenv("PATH", env.Home+"/bin:"+os.Getenv("PATH"))
	t.Setenv("UNITS", env.Home)
	write(t, env.Home+"/bin/systemctl", systemctl, 0o755)
	for unit, state := range map[string]string{
		"shop":    "ActiveState=active\nResult=success\nType=simple\n",
		"migrate": "ActiveState=inactive\nResult=success\nType=oneshot\n",
		"dies":    "ActiveState=failed\nResult=exit-code\nType=simple\n",
	} {
		write(t, filepath.Join(env.Home, unit), state, 0o644)
	}
	for _, tt := range []struct {
		args    string
		want    Status
		message string
	}{
		{"restart shop", OK, ""},
		{"--user start shop migrate", OK, ""},
		{"start dies", Failed, "dies is failed (exit-code) after start"},
		{"enable dies", OK, ""},
		{"daemon-reload", OK, ""},
		{"--user start broken", Failed, "exit 1"},
	} {
		op, err := parseSystemd(strings.Fields(tt.args))
		if err != nil {
			t.Fatal(err)
		}
		if r := Perform(t.Context(), stepOf(op), env); r.Status != tt.want || r.Message != tt.message {
			t.Errorf("%s: got %+v, want %s %q; output %q", tt.args, r, tt.want, tt.message, out)
		}
	}
	if log, _ := os.ReadFile(env.Home + "/log"); !strings.Contains(string(log), "--user --no-ask-password --no-pager start shop migrate\n") {
		t.Errorf("systemctl was told\n%s", log)
	}
	t.Setenv("PATH", env.Home)
	if r := Perform(t.Context(), stepOf(Systemd{Action: "start", Units: []string{"shop"}}), env); r.Status != Errored {
		t.Errorf("no systemctl: got %+v, want ERROR", r)
	}
}

// A server that takes the connection and says nothing is told as that.
func TestWaitForASilentServer(t *testing.T) {
	env, _ := testEnv(t, Remote)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := stepOf(WaitHTTP{URL: "http://" + l.Addr().String() + "/"})
	s.Timeout = 200 * time.Millisecond
	if r := Perform(t.Context(), s, env); r.Status != TimedOut || !strings.Contains(r.Message, "does not answer") {
		t.Errorf("got %+v, want TIMED OUT, does not answer", r)
	}
}
