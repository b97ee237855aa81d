package nodetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.org/conc/jobs"
)

// The procedures of Go tests. A room is a directory on the node for what they
// need; it is removed when nobody wants it any more, or the line is gone.
const (
	procRoom = "nodetest.go.room" // writes its path, and lasts until it is given up
	procGo   = "nodetest.go"      // one test program, in a room; writes what that prints

	procClear = "nodetest.go.clear" // removes a room as root
)

type roomParams struct{}

// roomMade is what roomProcedure writes.
type roomMade struct {
	Dir string `json:"dir"` // absolute
}

// How long a room may be in use after it was given up, and how old one has to
// be that nobody is in, to be an agent's that was killed.
const (
	roomGrace = 20 * time.Second
	roomAge   = time.Minute
)

func roomProcedure(ctx context.Context, env *jobs.Env, _ json.RawMessage) (any, error) {
	base := filepath.Join(env.Home, ".conc", "tests")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, err
	}
	sweepRooms(base)
	dir, err := os.MkdirTemp(base, "run-") // 0700
	if err != nil {
		return nil, err
	}
	use, err := enter(dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	defer use.Close() //nolint:errcheck // it was only held
	err = os.Mkdir(filepath.Join(dir, "tmp"), 0o700)
	if err == nil {
		err = json.NewEncoder(env.Out).Encode(roomMade{dir})
	}
	if err == nil {
		<-ctx.Done()
	}
	// Whatever runs in it is being ended.
	for end := time.Now().Add(roomGrace); unix.Flock(int(use.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	gone := removeRoom(dir)
	if gone != nil && env.Call != nil {
		// A test that was root has left something.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roomGrace)
		defer cancel()
		gone = env.Call(ctx, jobs.Call{Procedure: procClear, Sudo: true, Params: clearParams{env.Home, filepath.Base(dir)}}, nil)
	}
	return nil, errors.Join(err, gone)
}

type clearParams struct {
	Home string `json:"home"`
	Name string `json:"name"` // of the room
}

// clearProcedure is root's: nothing outside of the home can be meant.
func clearProcedure(_ context.Context, _ *jobs.Env, params json.RawMessage) (any, error) {
	var p clearParams
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	if p.Name != filepath.Base(p.Name) || !strings.HasPrefix(p.Name, "run-") {
		return nil, jobs.Errorf("%q is no directory of tests", p.Name)
	}
	home, err := os.OpenRoot(p.Home)
	if err != nil {
		return nil, err
	}
	defer home.Close() //nolint:errcheck // it was only read
	return nil, home.RemoveAll(filepath.Join(".conc", "tests", p.Name))
}

// enter keeps a room from being removed until the file is closed.
func enter(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: locking it: %w", dir, err), f.Close())
	}
	return f, nil
}

// sweepRooms removes what killed agents have left. What cannot be removed stays.
func sweepRooms(base string) {
	rooms, _ := filepath.Glob(filepath.Join(base, "run-*"))
	for _, dir := range rooms {
		fi, err := os.Lstat(dir)
		if err != nil || !fi.IsDir() || time.Since(fi.ModTime()) < roomAge {
			continue
		}
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = removeRoom(dir)
		}
		_ = f.Close()
	}
}

// removeRoom removes directories too that a test has closed to its own account.
func removeRoom(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && err == nil {
			_ = os.Chmod(path, 0o700) //nolint:gosec // a directory
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// goParams says how a test program is run on the node.
type goParams struct {
	Room    string        `json:"room"`
	Dir     string        `json:"dir"`     // where it lies and runs, below the room
	Program string        `json:"program"` // its name there
	Run     string        `json:"run,omitempty"`
	Limit   time.Duration `json:"limit"` // nanoseconds
	Levels  []string      `json:"levels,omitempty"`
	Sudo    bool          `json:"sudo,omitempty"`
	Secrets []string      `json:"secrets,omitempty"` // attributes that a test may have the secrets of
}

// goEnded is how it ended.
type goEnded struct {
	Exit    int  `json:"exit"`
	Signal  int  `json:"signal,omitempty"`
	TooLong bool `json:"too_long,omitempty"` // and it was ended, and is dead
}

// limitGrace is for a test program to see by itself that its time is over. It
// has more to say of it.
const limitGrace = 10 * time.Second

func goProcedure(ctx context.Context, env *jobs.Env, params json.RawMessage) (any, error) {
	var p goParams
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	use, err := enter(p.Room)
	if err != nil {
		return nil, err
	}
	defer use.Close()               //nolint:errcheck // it was only held
	for _, key := range p.Secrets { // they are masked from here on
		if _, err := env.Attr(key); err != nil {
			return nil, jobs.Errorf("%w", err)
		}
	}
	server := &testServer{env: env, p: p, levels: map[string]string{}}
	socket, stop, err := server.serve(ctx)
	if err != nil {
		return nil, fmt.Errorf("the tests cannot be answered: %w", err)
	}
	defer stop()
	args := []string{
		"./" + p.Program, "-test.v=test2json", "-test.paniconexit0", "-test.timeout=" + p.Limit.String(),
	}
	if p.Run != "" {
		args = append(args, "-test.run="+p.Run)
	}
	limited, cancel := context.WithTimeoutCause(ctx, p.Limit+limitGrace, errLimit)
	defer cancel()
	mine := socketVariable + "=" + socket
	e := *env
	e.Dir = p.Dir
	err = e.Run(limited, jobs.Cmd{Args: args, Env: []string{mine, "TMPDIR=" + filepath.Join(p.Room, "tmp")}})
	if left := endAll(mine); left != "" {
		return nil, jobs.Errorf("what a test has started lives on after KILL: pid %s", left).
			WithHint("look at it on the node: ps -o pid,stat,args -p %s", left)
	}
	var ended *jobs.Error
	switch {
	case err == nil:
		return goEnded{}, nil
	case errors.As(err, &ended) && ended.Status == jobs.Failed:
		return goEnded{Exit: ended.Exit, Signal: ended.Signal}, nil
	case errors.As(err, &ended):
		return nil, err
	case ctx.Err() == nil && context.Cause(limited) == errLimit: //nolint:errorlint // it is our own, unwrapped
		return goEnded{TooLong: true}, nil
	}
	return nil, err
}

// endAll kills every process that was started with a setting in its
// environment, and lists those that live on. What a test has left running has
// nowhere to be: its directory goes.
func endAll(setting string) (left string) {
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		pids := holders(setting)
		if len(pids) == 0 {
			return ""
		}
		left = ""
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
			left += " " + strconv.Itoa(pid)
		}
		if time.Now().After(end) {
			return left[1:]
		}
	}
}

// RoomOn makes a room on a node, and gives its path there. The room lasts until
// leave is called, or the line is gone.
func RoomOn(ctx context.Context, node Caller) (dir string, leave func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	in, out := io.Pipe()
	over := make(chan struct{})
	go func() {
		defer close(over)
		err := node.Call(ctx, jobs.Call{Procedure: procRoom, Params: roomParams{}, Out: out}, nil)
		if err == nil {
			err = io.EOF
		}
		_ = out.CloseWithError(err)
	}()
	leave = func() {
		cancel()
		_ = in.CloseWithError(errTaken)
		<-over
	}
	var made roomMade
	err = json.NewDecoder(io.LimitReader(in, maxLine)).Decode(&made)
	if err == nil && !filepath.IsAbs(made.Dir) {
		err = jobs.Errorf("the node names no directory for the tests")
	}
	if err != nil {
		leave()
		return "", nil, err
	}
	return made.Dir, leave, nil
}

// GoRun is the tests of one package, as they are run on a node.
type GoRun struct {
	Package string // what results call it
	Room    string // where they were brought to: see RoomOn
	Dir     string // below it: the working directory
	Program string // the test program in Dir
	Limit   time.Duration
	Only    []string // the tests' names: patterns as path.Match has them; none means all
	Levels  []string // none means all
	Sudo    bool     // nodetest.Sudo may be used; the agent was elevated for it
	Secrets []string // the attributes that nodetest.Secret may reveal
}

// Validate looks at the patterns of Only.
func (g GoRun) Validate() error {
	_, err := runPattern(g.Only)
	return err
}

// RunOn runs the tests, and reports each when it has ended. An error is about
// the conversation: the tests that were not reported have no result then.
func (g GoRun) RunOn(ctx context.Context, node Caller, report func(Result)) error {
	run, err := runPattern(g.Only)
	if err != nil {
		return err
	}
	in, out := io.Pipe()
	tests := newTestOutput(g.Package, report)
	read := make(chan struct{})
	go func() {
		defer close(read)
		tests.read(in)
	}()
	var ended goEnded
	err = node.Call(ctx, jobs.Call{Procedure: procGo, Out: out, Params: goParams{
		Room: g.Room, Dir: filepath.Join(g.Room, g.Dir), Program: g.Program, Run: run,
		Limit: g.Limit, Levels: g.Levels, Sudo: g.Sudo, Secrets: g.Secrets,
	}}, &ended)
	_ = out.Close() // never fails
	<-read
	var said *jobs.Error
	if err != nil && (ctx.Err() != nil || !errors.As(err, &said)) {
		return err
	}
	tests.end(g, ended, said)
	return nil
}
