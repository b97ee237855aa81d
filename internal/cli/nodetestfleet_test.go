package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// Twenty nodes at a time: one swallows what is sent to it, one shows another
// host key, one has a check that hangs. The other seventeen complete, without
// waiting for them, and each of the three is told of as what it is.
func TestNodetestOfAFleet(t *testing.T) {
	t.Parallel()
	const count, mute, changed, hanging = 20, 4, 9, 14
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.suite("here = dir .\n")
	o.want(0, "nodetest", "web1") // conc itself is on this one now
	known, err := os.ReadFile(filepath.Join(o.home, ".ssh", "known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	agents, err := filepath.Glob(filepath.Join(o.node.Home, ".conc/bin/conc-*"))
	if err != nil || len(agents) != 1 {
		t.Fatalf("got agents %v, %v", agents, err)
	}
	var ini strings.Builder
	ini.WriteString("[DEFAULT]\njobs = release\nnodetest = web\nbundle = b\ntimeout.connect = 2s\n")
	keys := filepath.Join(o.home, ".ssh")
	for i := range count {
		n := inProcess(t, testnode.Options{OpKey: fmt.Sprintf("op%d", i)})
		if err := os.MkdirAll(filepath.Join(n.Home, ".conc/bin"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(agents[0], filepath.Join(n.Home, ".conc/bin", filepath.Base(agents[0]))); err != nil {
			t.Fatal(err)
		}
		own, err := os.ReadFile(n.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(keys, filepath.Base(n.KeyFile)), own, 0o600); err != nil {
			t.Fatal(err)
		}
		line, err := os.ReadFile(n.KnownHosts)
		if err != nil {
			t.Fatal(err)
		}
		port, more := n.Port, "hang = true\nlimit = 30s\n"
		switch i {
		case mute:
			p, err := testnode.NewProxy(n.Addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close() })
			p.Blackhole(true)
			port = p.Port
		case changed: // its own port, with the key of another
			_, other, _ := strings.Cut(strings.TrimSpace(string(known)), " ")
			line = fmt.Appendf(nil, "[%s]:%d %s\n", n.Host, n.Port, other)
		case hanging:
			more = "hang = sleep 60\nlimit = 3s\n"
		}
		known = append(known, line...)
		fmt.Fprintf(&ini, "[node:n%02d]\nadmin = %s\nop_key = %s\nsshd.ip = %s\nsshd.port = %d\n%s", i, n.User, n.OpKey, n.Host, port, more)
	}
	ini.WriteString("[jobs:release]\na = remote run true\n[nodetest:web]\nhere = dir .\nwork = timeout=%(limit)s command sh -c \"%(hang)s\"\nlast = dir .conc\n")
	o.write("deploy.ini", ini.String())
	if err := os.WriteFile(filepath.Join(keys, "known_hosts"), known, 0o600); err != nil {
		t.Fatal(err)
	}

	r := o.want(4, "nodetest", "n*", "-f", "20", "--json")
	whole, checks := 0, map[string]string{}
	var order []string
	ends := map[string]map[string]any{}
	for _, e := range events(t, r.out) {
		node := str(e["node"])
		switch e["type"] {
		case "check":
			checks[node] += str(e["name"]) + " " + str(e["status"]) + ","
		case "nodetest_end":
			ends[node] = e
			order = append(order, node)
			if e["status"] == "OK" && checks[node] == "here OK,work OK,last OK," {
				whole++
			}
		}
	}
	if whole != count-3 || len(ends) != count {
		t.Errorf("got %d whole of %d, want %d of %d\n%s", whole, len(ends), count-3, count, r)
	}
	for _, c := range []struct {
		node         int
		status, says string
		code         float64
	}{
		{mute, "ERROR", "says nothing", 4},
		{changed, "ERROR", "THE HOST KEY HAS CHANGED", 4},
		{hanging, "TIMED OUT", "", 124},
	} {
		e := ends[fmt.Sprintf("n%02d", c.node)]
		if e["status"] != c.status || e["code"] != c.code || !strings.Contains(str(e["message"]), c.says) {
			t.Errorf("n%02d: got %v, want %s with exit code %v", c.node, e, c.status, c.code)
		}
	}
	if got, want := checks[fmt.Sprintf("n%02d", hanging)], "here OK,work TIMED OUT,last OK,"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// The hanging one is the last, where the machine is not slower than its limit.
	if r.took < 6*time.Second && order[count-1] != fmt.Sprintf("n%02d", hanging) {
		t.Errorf("somebody waited for the check that hangs: the order was %v", order)
	}
}

// watching is a nodetest --every that is under way. end is its Ctrl-C.
func (o *operator) watching(args ...string) (out, errs *screen, end func() (code int)) {
	out, errs = &screen{}, &screen{}
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{streams: Streams{In: strings.NewReader(""), Out: out, Err: errs}, env: o.env}
	over := make(chan int, 1)
	go func() { over <- p.main(ctx, o.args(args)) }()
	return out, errs, func() int {
		cancel()
		select {
		case code := <-over:
			return code
		case <-time.After(time.Minute):
			o.t.Fatalf("it does not end\n%s%s", out, errs)
			return -1
		}
	}
}

func TestNodetestEvery(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.suite("here = dir .\nflag = file flag\n")
	for _, args := range [][]string{
		{"--listen", "0"},
		{"--every", "0"},
		{"--every", "100ms"},
		{"--every", "1s", "--format", "junit"},
		{"--every", "1s", "--listen", "localhost:x"},
	} {
		o.want(2, append([]string{"nodetest", "web1"}, args...)...)
	}
	prom := filepath.Join(o.dir, "conc.prom")
	out, errs, end := o.watching("nodetest", "web1", "--every", "1s", "--listen", "0", "--format", "prometheus="+prom)
	shows := func(what, text string) {
		t.Helper()
		eventually(t, what+" in\n"+out.String()+errs.String(), func() bool { return strings.Contains(out.String(), text) })
	}
	shows("a whole report", "FAILED  web1  1 OK, 1 FAILED")
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(errs.String())
	get := func(path string, want int) string {
		t.Helper()
		r, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != want {
			t.Errorf("%s: got %s, %v, want %d", path, r.Status, err, want)
		}
		return string(body)
	}
	if got, want := get("/metrics", http.StatusOK), `conc_check_ok{node="web1",suite="web",check="flag",kind="file"} 0`; !strings.Contains(got, want) {
		t.Errorf("got %s, want %q in it", got, want)
	}
	get("/", http.StatusNotFound)
	get("/metrics/", http.StatusNotFound)
	if got := get("/healthz", http.StatusOK); !strings.HasPrefix(got, "ok: ") {
		t.Errorf("got %q", got)
	}
	if r, err := http.Post(url+"/metrics", "text/plain", strings.NewReader("x")); err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %v, %v", r, err)
	} else {
		r.Body.Close()
	}
	if err := os.WriteFile(filepath.Join(o.node.Home, "flag"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shows("a change", "  web1  flag  FAILED -> OK\n")
	shows("a line a run", "  OK  web1  2 OK  ")
	if got := strings.Count(out.String(), "  here "); got != 1 {
		t.Errorf("what has not changed is shown %d times\n%s", got, out)
	}
	if code := end(); code != 0 {
		t.Errorf("got exit code %d, want that of the last run\n%s", code, out)
	}
	if r, err := http.Get(url + "/metrics"); err == nil {
		r.Body.Close()
		t.Error("something is served still")
	}
	if text, _ := os.ReadFile(prom); !bytes.Contains(text, []byte(`check="flag",kind="file"} 1`)) {
		t.Errorf("got %s", text)
	}
	if n := o.node.Processes(" agent"); len(n) > 0 {
		eventually(t, "no agent is left", func() bool { return len(o.node.Processes(" agent")) == 0 })
	}
}

// A run that is interrupted has no code of its own: that of the run before
// counts, and without one it is Ctrl-C's. A run that is longer than the interval
// is followed at once.
func TestNodetestEveryIsInterrupted(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.suite("slow = command sleep 60\n")
	prom := filepath.Join(o.dir, "conc.prom")
	_, errs, end := o.watching("nodetest", "web1", "--every", "1h", "--listen", "0", "--format", "prometheus="+prom)
	eventually(t, "a node at work", func() bool { return len(o.node.Processes("sleep")) > 0 })
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(errs.String())
	r, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if !strings.HasSuffix(string(body), "\nconc_nodetest_runs_total 0\n") {
		t.Errorf("before the first run is over: got %s", body)
	}
	if code := end(); code != exitInterrupted {
		t.Errorf("got exit code %d, want %d", code, exitInterrupted)
	}
	if text, err := os.ReadFile(prom); err == nil {
		t.Errorf("an examination that was interrupted is in the file:\n%s", text)
	}
	eventually(t, "the check is ended", func() bool { return len(o.node.Processes("sleep")) == 0 })

	o.suite("slow = command sleep 1.1\ngone = file gone\n")
	out, _, end := o.watching("nodetest", "web1", "--every", "1s", "--json")
	runs := func() int { return strings.Count(out.String(), `"run_end"`) }
	began := time.Now()
	eventually(t, "two runs", func() bool { return runs() >= 2 })
	if took := time.Since(began); took > time.Minute {
		t.Errorf("two runs took %v", took)
	}
	eventually(t, "a third has begun", func() bool { return strings.Count(out.String(), `"run_start"`) >= 3 })
	if code := end(); code != 1 {
		t.Errorf("got exit code %d, want 1\n%s", code, out)
	}
}

// On a terminal a line below the results says what is being waited for; it is
// gone at the end.
func TestNodetestOnATerminal(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.suite("here = dir .\nslow = command sleep 1\nlast = file none\n")
	_, shown, ended := o.terminalRun("nodetest", "web1", "--color", "never")
	eventually(t, "what is waited for", func() bool { return strings.Contains(shown.String(), "\x1b[2Kweb1  1 of 3  slow  ") })
	if code := <-ended; code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	const end = "Run one: conc "
	eventually(t, "the end", func() bool { return strings.Contains(shown.String(), end) })
	_, last, _ := strings.Cut(shown.String(), end)
	if strings.Contains(last, "\x1b") {
		t.Errorf("after the end: %q", last)
	}
}

// Ctrl-C leaves what is not done yet, and says of every node how far it is.
func TestNodetestIsInterrupted(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.suite("here = dir .\nslow = command sleep 60\n")
	ini, _ := os.ReadFile(filepath.Join(o.dir, "deploy.ini"))
	section := regexp.MustCompile(`(?s)\[node:web1\].*?\n\[`).FindString(string(ini))
	o.write("deploy.ini", string(ini)+strings.TrimSuffix(strings.Replace(section, "web1", "web2", 1), "["))
	prom, tap := filepath.Join(o.dir, "conc.prom"), filepath.Join(o.dir, "conc.tap")
	out, _, end := o.watching("nodetest", "web1", "web2", "--format", "prometheus="+prom, "--format", "tap="+tap)
	eventually(t, "a node at work", func() bool { return strings.Contains(out.String(), "here") && len(o.node.Processes("sleep")) > 0 })
	if code := end(); code != exitInterrupted {
		t.Errorf("got exit code %d, want %d", code, exitInterrupted)
	}
	for _, want := range []string{"STOPPED  web1  1 OK, 1 without a result ", "  interrupted\n", "web2  STOPPED  -", "not started: interrupted", "\n2 STOPPED   -> " + tap + "\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	if text, err := os.ReadFile(tap); err != nil || !strings.Contains(string(text), "\nBail out! ") {
		t.Errorf("got %s, %v", text, err)
	}
	if _, err := os.Stat(prom); err == nil {
		t.Error("what was interrupted is told to Prometheus")
	}
	if strings.Contains(out.String(), "web2 = ") {
		t.Errorf("web2 has a block:\n%s", out)
	}
	eventually(t, "the check is ended", func() bool { return len(o.node.Processes("sleep")) == 0 })
}

func TestListenAddr(t *testing.T) {
	for _, c := range [][2]string{
		{"9650", "127.0.0.1:9650"},
		{":9650", "127.0.0.1:9650"},
		{"0", "127.0.0.1:0"},
		{"0.0.0.0:9650", "0.0.0.0:9650"},
		{"[::]:9650", "[::]:9650"},
		{"monitor.example.org:9650", "monitor.example.org:9650"},
		{"x", ""},
		{":", ""},
		{"70000", ""},
		{"::1", ""},
		{"", ""},
	} {
		got, err := listenAddr(c[0])
		if got != c[1] || (err != nil) != (c[1] == "") {
			t.Errorf("%q: got %q, %v, want %q", c[0], got, err, c[1])
		}
	}
}
