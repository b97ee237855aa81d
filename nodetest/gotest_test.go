package nodetest

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// thisHost is a node that is this host.
type thisHost struct{ env *jobs.Env }

func (h thisHost) Call(ctx context.Context, call jobs.Call, result any) error {
	params, err := json.Marshal(call.Params)
	if err != nil {
		return err
	}
	e := *h.env
	if e.Out = call.Out; e.Out == nil {
		e.Out = io.Discard
	}
	e.Call = h.Call
	data, err := Stock().Procedures().Do(ctx, &e, call.Procedure, params)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(data, result)
}

// probeHost has a room with this test's own program in it.
func probeHost(t *testing.T) (h thisHost, g GoRun) {
	t.Helper()
	h = thisHost{here(t)}
	f, err := config.Parse("deploy.ini", []byte("[node:web1]\nport = 80\npassword = secret:key\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := f.Node("web1")
	if err != nil {
		t.Fatal(err)
	}
	h.env.Node = config.NewNode("web1", node.Values())
	room, leave, err := RoomOn(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		leave()
		if rooms, err := filepath.Glob(filepath.Join(h.env.Home, ".conc/tests/*")); len(rooms) > 0 {
			t.Errorf("left: %v, %v", rooms, err)
		}
	})
	exe, err := os.Executable()
	if err == nil {
		if err = os.Mkdir(filepath.Join(room, "1"), 0o700); err == nil {
			err = os.Symlink(exe, filepath.Join(room, "1", "probe.test"))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return h, GoRun{Package: "probe", Room: room, Dir: "1", Program: "probe.test", Limit: time.Minute}
}

// probe runs some of the probes, and gives the results by their names.
func (g GoRun) probe(t *testing.T, h thisHost, only ...string) map[string]Result {
	t.Helper()
	g.Only = only
	results := map[string]Result{}
	if err := g.RunOn(t.Context(), h, func(r Result) { results[strings.TrimPrefix(r.Name, "probe: TestProbe")] = r }); err != nil {
		t.Fatal(err)
	}
	return results
}

// want compares a result with a status, and texts of what it says.
func wantResult(t *testing.T, results map[string]Result, name string, status jobs.Status, texts ...string) {
	t.Helper()
	r, ok := results[name]
	if !ok || r.Status != status || r.Check != "go test" {
		t.Errorf("%s: got %+v, want %s; of %d", name, r, status, len(results))
	}
	for _, text := range texts {
		if !strings.Contains(r.Text+"\n"+strings.Join(r.Output, "\n"), text) {
			t.Errorf("%s: want %q in %+v", name, text, r)
		}
	}
}

func TestGoTestResults(t *testing.T) {
	t.Parallel()
	h, g := probeHost(t)
	rs := g.probe(t, h, "TestProbeSub", "TestProbeParallel")
	wantResult(t, rs, "Sub", jobs.Failed, "a line")
	wantResult(t, rs, "Sub/good", jobs.OK)
	wantResult(t, rs, "Sub/bad_one", jobs.Failed, "no newline at its end", "wrong")
	wantResult(t, rs, "Sub/skipped", Skipped, "not\ntoday")
	wantResult(t, rs, "Parallel/a", jobs.Failed, "of a")
	wantResult(t, rs, "Parallel/b", jobs.Failed, "of b")
	if r := rs["Parallel/a"]; len(rs) != 7 || r.Took < 10*time.Millisecond || strings.Contains(strings.Join(r.Output, ""), "of b") {
		t.Errorf("got %d results, with %+v", len(rs), r)
	}
	if n := len(rs["Sub"].Output); n > maxFindings {
		t.Errorf("got %d lines of output", n)
	}

	rs = g.probe(t, h, "TestProbeSub/good", "TestProbe[M-O]ode", "TestProbeL?velNone")
	wantResult(t, rs, "Sub/good", jobs.OK)
	wantResult(t, rs, "LevelNone", jobs.OK)
	wantResult(t, rs, "Node", jobs.Failed, `web1: port "80" password "********"`)
	if len(rs) != 4 {
		t.Errorf("--only: got %v", rs)
	}
	if text := strings.Join(rs["Node"].Output, "\n"); strings.Contains(text, "s3cret") {
		t.Errorf("a secret is in the environment: %s", text)
	}
	rs = g.probe(t, h, "TestProbeNothing")
	wantResult(t, rs, "probe", Skipped, "--only names none")
}

func TestGoTestsThatCrash(t *testing.T) {
	t.Parallel()
	h, g := probeHost(t)
	rs := g.probe(t, h, "TestProbe*Panic")
	wantResult(t, rs, "Panic", jobs.Failed, "panic: at the disco", "goroutine ", "the tests after it did not run")
	if len(rs) != 1 {
		t.Errorf("got %v", rs)
	}
	wantResult(t, g.probe(t, h, "TestProbeExit"), "Exit", jobs.Errored, "about to go", "ended before the test did: exit 3")
	g.Program = "none.test"
	wantResult(t, g.probe(t, h, "TestProbeExit"), "probe", jobs.Errored, "none.test")
}

func TestGoTestsThatHang(t *testing.T) {
	t.Parallel()
	h, g := probeHost(t)
	g.Limit = 300 * time.Millisecond
	wantResult(t, g.probe(t, h, "TestProbeHang"), "Hang", jobs.TimedOut, "over the limit of 300ms", "panic: test timed out")
	if pids := holders("TMPDIR=" + filepath.Join(g.Room, "tmp")); runtime.GOOS == "linux" && len(pids) > 0 {
		t.Errorf("what the test has started lives on: %v", pids)
	}
	// Nobody waits any more.
	g.Limit, g.Only = time.Hour, []string{"TestProbeHang"}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := g.RunOn(ctx, h, func(r Result) { t.Errorf("got %+v", r) }); err == nil {
		t.Error("got no error of a run that was ended")
	}
}

func TestGoTestLevels(t *testing.T) {
	t.Parallel()
	h, g := probeHost(t)
	rs := g.probe(t, h, "TestProbeLevel*")
	wantResult(t, rs, "LevelLoad/sub", jobs.OK)
	wantResult(t, rs, "LevelNone", jobs.OK)
	wantResult(t, rs, "LevelUnknown", jobs.Failed, `"lod" is no level`)
	g.Levels = []string{Load, Migration}
	rs = g.probe(t, h, "TestProbeLevel*")
	wantResult(t, rs, "LevelLoad", jobs.OK)
	wantResult(t, rs, "LevelLoad/sub", jobs.OK)
	wantResult(t, rs, "LevelNone", Skipped, "its level is functional, and --level asks for load, migration")
	g.Levels = []string{Functional}
	rs = g.probe(t, h, "TestProbeLevel*")
	wantResult(t, rs, "LevelLoad", Skipped, "its level is load")
	wantResult(t, rs, "LevelNone", jobs.OK)
}

func TestGoTestSecretsAndSudo(t *testing.T) {
	t.Parallel()
	h, g := probeHost(t)
	rs := g.probe(t, h, "TestProbe*Secret*", "TestProbeSudo*")
	wantResult(t, rs, "Secret", Skipped, "--secret password")
	wantResult(t, rs, "NoSecret", jobs.Failed, "it is <80>")
	wantResult(t, rs, "SecretOfNone", jobs.Failed, `no attribute "none"`)
	if os.Geteuid() != 0 {
		wantResult(t, rs, "Sudo", Skipped, "conc nodetest --sudo")
	}
	g.Secrets, g.Sudo = []string{"password"}, true
	rs = g.probe(t, h, "TestProbeSecret", "TestProbeSecretOfAnother", "TestProbeSudo*")
	wantResult(t, rs, "Secret", jobs.Failed, "it is <********>")
	wantResult(t, rs, "SecretOfAnother", jobs.Failed, "it has found ********")
	wantResult(t, rs, "Sudo", jobs.Failed, `"`+filepath.Join(g.Room, "1")+`\n\xff" "err\n" 7`, "killed: 137", `cleanup: "yes\n"`)
	wantResult(t, rs, "SudoMissing", jobs.Failed, "/no/such/program: could not be run")
	wantResult(t, rs, "SudoLoud", jobs.Failed, "prints a MiB or more")
}

// Whoever goes without a word leaves a room that the next one sweeps; one in
// use stays.
func TestRoomsAreSwept(t *testing.T) {
	h, g := probeHost(t)
	old := time.Now().Add(-time.Hour)
	base := filepath.Dir(g.Room)
	left := filepath.Join(base, "run-left")
	if err := os.MkdirAll(filepath.Join(left, "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{left, g.Room} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	_, leave, err := RoomOn(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	rooms, _ := filepath.Glob(filepath.Join(base, "*"))
	if len(rooms) != 1 || rooms[0] != g.Room {
		t.Errorf("got %v, want %s alone", rooms, g.Room)
	}
	if fi, err := os.Stat(g.Room); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v, want mode 0700", fi, err)
	}
}

// What a node prints is bounded, whatever it is.
func TestOutputOfAHostileTest(t *testing.T) {
	results := 0
	o := newTestOutput("p", func(r Result) {
		if results++; len(r.Output) > maxFindings {
			t.Errorf("got %d lines", len(r.Output))
		}
	})
	var b strings.Builder
	b.WriteString(strings.Repeat("x", 3*maxTestLine) + "\n\x16\n\x16=== \n\x16=== RUN   \n\x16--- \n\x16--- PASS: \n\x16--- PASS: a (\n\x16    --- FAIL: b (1h)\n\xff\n")
	for i := range 2 * maxTests {
		b.WriteString("\x16=== RUN   T" + strings.Repeat("y", i%7) + string(rune('0'+i%10)) + "/" + strings.Repeat("z", i%101) + "\n")
	}
	o.read(strings.NewReader(b.String()))
	o.end(GoRun{}, goEnded{Signal: 9}, nil)
	if results == 0 || results > maxTests+1 {
		t.Errorf("got %d results", results)
	}
	for _, p := range []string{"[", "a[b", `[\]]`} {
		if _, err := runPattern([]string{p}); err == nil {
			t.Errorf("runPattern %q: got no error", p)
		}
	}
	if got, err := runPattern([]string{"Test*/a?c", `T\*|x`}); err != nil || got != `^Test.*$/^a.c$|^T\*\|x$` {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRootClearsRoomsOnly(t *testing.T) {
	home := t.TempDir()
	away := t.TempDir()
	for _, dir := range []string{filepath.Join(home, ".conc/tests/run-1/x"), filepath.Join(away, "tests/run-2")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) error {
		params, err := json.Marshal(clearParams{home, name})
		if err != nil {
			t.Fatal(err)
		}
		_, err = clearProcedure(t.Context(), nil, params)
		return err
	}
	for _, name := range []string{"", "..", "x", "run-1/x", "run-1/../../../x"} {
		if remove(name) == nil {
			t.Errorf("%q: got no error", name)
		}
	}
	if err := remove("run-1"); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(home, ".conc")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(away, filepath.Join(home, ".conc")); err != nil {
		t.Fatal(err)
	}
	if err := remove("run-2"); err == nil {
		t.Error("through a link out of the home: got no error")
	}
	if _, err := os.Stat(filepath.Join(away, "tests/run-2")); err != nil {
		t.Error(err)
	}
}
