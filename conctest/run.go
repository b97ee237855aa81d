package conctest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/conc"
	"example.org/conc/internal/rehearsal"
	"example.org/conc/jobs"
)

// Run takes a list of app through a state, and gives what it came to. app is the
// one that TestMain gave to Main: the test's own binary runs it, as processes of
// their own, so that an op cannot reach the test's variables.
//
// Whatever the run comes to is in the Result. A state that cannot be, or a node
// that cannot be made, ends the test by Fatal. The node is there until the test is
// over. Tests may run in parallel.
func Run(t testing.TB, app conc.App, list string, state State) *Result {
	t.Helper()
	if os.Getenv(asProgram) != "" {
		t.Fatal("conctest: this process is the deploy program, and runs tests: call conctest.Main first thing in TestMain")
	}
	if !isReady() {
		t.Fatal("conctest: the test's binary is no deploy program yet; the package needs this:\n\tfunc TestMain(m *testing.M) { conctest.Main(m, app) }")
	}
	s, err := prepare(app, list, state)
	if err != nil {
		t.Fatalf("conctest: %v", err)
	}
	w, err := s.build(t)
	if err != nil {
		t.Fatalf("conctest: %v", err)
	}
	return w.run(s.command(), s.script())
}

// world is a node and a workstation, from the first run to the last Resume.
type world struct {
	t     testing.TB
	s     *scene
	stage *rehearsal.Stage
}

// executable is this program's file, and its name on a node: read once.
var executable = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	hash, err := rehearsal.Hash(path)
	return path + "\x00" + hash, err
})

// build makes the state.
func (s *scene) build(t testing.TB) (*world, error) {
	path, err := executable()
	if err != nil {
		return nil, err
	}
	program, hash, _ := bytes.Cut([]byte(path), []byte{0})
	env := []string{asProgram + "=1"}
	for name, value := range s.state.Secrets {
		env = append(env, secretVariable(name)+"="+value)
	}
	stubs := map[string]rehearsal.Stub{}
	for name, is := range s.state.Stubs {
		stubs[name] = rehearsal.Stub(is)
	}
	stage, err := rehearsal.NewStage(t.Context(), rehearsal.Options{
		Dir: t.TempDir(), INI: []byte(s.ini), Node: s.node.Name(), Attributes: s.state.Attributes,
		Executable: string(program), Hash: string(hash), Env: env,
		Project: s.state.Project, Stubs: stubs, Proxy: s.state.Fault.Kind == Cut,
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := stage.Close(); err != nil {
			t.Errorf("conctest: %v", err)
		}
	})
	w := &world{t: t, s: s, stage: stage}
	if err := rehearsal.Seed(stage.Node.Home, s.files()); err != nil {
		return nil, err
	}
	if o := s.owner(); o != nil {
		return w, w.open(o)
	}
	if s.state.Journal != nil {
		return w, w.interrupt()
	}
	return w, nil
}

// interrupt makes the interrupted run, by one whose steps are not performed.
func (w *world) interrupt() error {
	j := w.s.state.Journal
	script := rehearsal.Script{Done: w.s.done}
	args := []string{"deploy", w.s.node.Name(), "--jobs", w.s.list}
	switch {
	case j.Doubt:
		script.Step, script.Fault = w.s.done+1, rehearsal.Doubt
	case j.Status != "":
		script.Step, script.Fault, script.Status = w.s.done+1, rehearsal.Ended, j.Status
	default:
		args = append(args, "--to", fmt.Sprint(w.s.done))
	}
	r := w.run(args, script)
	if r.bundle() == nil || script.Step == 0 && r.Code != 0 {
		return fmt.Errorf("the interrupted run could not be made:\n%s", r.describe())
	}
	return os.RemoveAll(w.stage.Stubs.Log)
}

// run is one command line, with what befalls it.
func (w *world) run(args []string, script rehearsal.Script) *Result {
	w.t.Helper()
	script.Dir = ""
	outside := slices.Contains([]Kind{Cut, Gone, Stop}, script.Fault)
	if outside {
		dir, err := os.MkdirTemp(w.stage.Sync, "")
		if err != nil {
			w.t.Fatalf("conctest: %v", err)
		}
		script.Dir = dir
	}
	if err := w.stage.Direct(script); err != nil {
		w.t.Fatalf("conctest: %v", err)
	}
	before, err := w.stage.Stubs.Calls()
	if err != nil {
		w.t.Fatalf("conctest: %v", err)
	}
	cmd := w.stage.Command(append(args, "--json", "-v")...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		w.t.Fatalf("conctest: %v", err)
	}
	over := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() { defer close(over); _ = cmd.Wait() })
	limit := w.s.state.Timeout
	if limit == 0 {
		limit = time.Minute
	}
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	if outside && script.Await(script.Step, over) {
		w.strike(script, cmd)
	}
	work.Wait()
	if !timer.Stop() {
		w.t.Errorf("conctest: %s did not end within %v", args, limit)
	}
	if err := w.stage.Settle(limit); err != nil { // conc does not wait for the agent's end
		w.t.Errorf("conctest: %v", err)
	}
	if err := w.stage.Direct(rehearsal.Script{}); err != nil {
		w.t.Fatalf("conctest: %v", err)
	}
	r := &Result{w: w, Code: cmd.ProcessState.ExitCode(), Err: errs.String(), Home: w.stage.Node.Home, Project: w.stage.Project}
	if err := errors.Join(r.read(out.Bytes()), r.look(len(before))); err != nil {
		w.t.Errorf("conctest: %v\n%s", err, r.describe())
	}
	return r
}

// strike lets a fault befall a step from outside of it.
func (w *world) strike(script rehearsal.Script, cmd *exec.Cmd) {
	switch script.Fault {
	case Cut:
		w.stage.Proxy.CutAfter(0)
	case Gone:
		_ = cmd.Process.Kill()
	case Stop:
		_ = cmd.Process.Signal(syscall.SIGINT)
		time.Sleep(20 * time.Millisecond) // to be heard before the step ends
	}
	if err := script.GoOn(script.Step); err != nil {
		w.t.Errorf("conctest: %v", err)
	}
}

// Resume goes on with the run from a step, by number or by name, as an operator
// does who types "conc step NODE --from STEP". No fault befalls it. The Result is
// of that command alone; the node's files are those of the whole.
func (r *Result) Resume(from string, args ...string) *Result {
	r.w.t.Helper()
	words := []string{"step", r.w.s.node.Name(), "--from", from, "--jobs", r.w.s.list, "--yes"}
	return r.w.run(append(words, args...), rehearsal.Script{})
}

// Mark records a step as done, as "conc mark NODE STEP OK" does.
func (r *Result) Mark(step string) {
	r.w.t.Helper()
	out, err := r.w.stage.Command("mark", r.w.s.node.Name(), step, string(jobs.OK)).CombinedOutput()
	if err != nil {
		r.w.t.Fatalf("conctest: mark %s: %v\n%s", step, err, out)
	}
}

// files are the node's, for the stage.
func (s *scene) files() map[string]rehearsal.Seeded {
	files := map[string]rehearsal.Seeded{}
	for _, name := range slices.Sorted(maps.Keys(s.state.Files)) {
		files[filepath.FromSlash(name)] = rehearsal.Seeded(s.state.Files[name])
	}
	return files
}
