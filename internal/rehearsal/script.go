// Package rehearsal is what a job list is tried out with, before it meets a node
// that matters: a throwaway node in a state of one's choice, faults that befall a
// step, programs that are stood in for, and a look at what is there afterwards.
// `conc rehearse` and the package conctest are made of it.
package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.org/conc/jobs"
)

// Variable names the file that a Script is in, in the environment of both ends of
// a rehearsal. Nothing else sets it: what runs on a throwaway node only has it.
const Variable = "CONC_REHEARSAL"

// Fault is what befalls a step.
type Fault string

// The faults. All but the first two are over as the operator sees them: an op
// that cannot be told from one which the fault struck on a real node.
const (
	Fail Fault = "fail" // the op says no, and has done nothing
	Hang Fault = "hang" // the op did its work, and does not return: it is ended at its limit
	Cut  Fault = "cut"  // the line is cut while the op runs
	Kill Fault = "kill" // the process that runs the op is killed, in the middle of a file where it writes one
	Full Fault = "full" // the disk is full, in the middle of a file
	Gone Fault = "gone" // conc on the workstation is killed while the op runs
	Stop Fault = "stop" // Ctrl-C while the op runs

	// Two that only make a state to set out from: the op is not performed.
	Ended Fault = "ended" // it ends with Script.Status
	Doubt Fault = "doubt" // its process is killed: the step began, and has no end
)

// Script says what happens in a rehearsal. Its zero value is a plain run.
type Script struct {
	// Done is the last step that is recorded as OK without being performed: all but
	// the opening and closing of bundles.
	Done int `json:"done,omitempty"`

	Step  int   `json:"step,omitempty"` // that Fault befalls
	Fault Fault `json:"fault,omitempty"`
	// Bytes is the size that a file may grow to under Kill and Full; 0: there is no
	// file, and the fault comes when the op has done its work.
	Bytes int64 `json:"bytes,omitempty"`
	// Far is the size that a file may grow to on the node, under Full, by what a local
	// step delivers.
	Far int64 `json:"far,omitempty"`
	// Hangs is a time limit of the step, in the place of its own; 0: it keeps that.
	Hangs time.Duration `json:"hangs,omitempty"`

	// Status is how the step ends under Ended.
	Status jobs.Status `json:"status,omitempty"`

	// Dir is where the two ends and the one that directs them meet: see Await. "":
	// nobody directs.
	Dir string `json:"dir,omitempty"`
	// Answer has every hold gone on with.
	Answer bool `json:"answer,omitempty"`
	// Watch has every op wait, after its work, until it is let go on.
	Watch bool `json:"watch,omitempty"`

	// Program is the SHA-256 of the program that is conc, hex: whoever set the stage
	// has read it, and each command of many need not. "": it is not known.
	Program string `json:"program,omitempty"`

	path string // of the file that it was read from
}

// Write puts a script where both ends read it.
func (s Script) Write(path string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// filling is the file that is there, beside a script, as long as the node's disk is
// full for what a local step delivers.
func filling(script string) string { return script + ".full" }

// FromEnvironment gives the rehearsal that a process is in; nil when it is in none.
func FromEnvironment(getenv func(string) string) (jobs.Rehearsal, error) {
	path := getenv(Variable)
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Variable, err)
	}
	var s Script
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", Variable, path, err)
	}
	s.path = path
	return s, nil
}

// Limit gives the step's own limit, but for one that may hang.
func (s Script) Limit(step jobs.Step) time.Duration {
	if s.Step == step.N && s.Hangs > 0 {
		return s.Hangs
	}
	return step.Timeout
}

// Do performs a step's op as the script says.
func (s Script) Do(ctx context.Context, step jobs.Step, _ *jobs.Env, do func(context.Context) error) error {
	if step.N <= s.Done {
		switch step.Op.(type) {
		case jobs.OpenBundle, jobs.CloseBundle:
		default:
			return nil
		}
	}
	if _, hold := step.Op.(jobs.Hold); hold && s.Answer {
		do = func(context.Context) error { return nil }
	}
	if s.Step != step.N {
		return s.watched(ctx, step, do)
	}
	switch s.Fault {
	case Fail:
		return jobs.Failedf("a fault of the rehearsal: it says no")
	case Ended:
		return &jobs.Error{Status: s.Status, Err: errors.New("a status that was asked for")}
	case Doubt:
		die()
	case Hang:
		// The work itself gets its own limit: it is the return that does not come.
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), step.Timeout)
		defer cancel()
		if err := do(work); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	case Kill:
		return s.killed(ctx, do)
	case Full:
		if s.Far > 0 {
			if err := os.WriteFile(filling(s.path), nil, 0o600); err != nil {
				return err
			}
			defer os.Remove(filling(s.path))
		}
		return s.full(func() error { return do(ctx) })
	case Cut, Gone, Stop:
		s.meet(ctx, step.N)
	}
	return s.watched(ctx, step, do)
}

// watched does the work, and waits until whoever directs has looked at it.
func (s Script) watched(ctx context.Context, step jobs.Step, do func(context.Context) error) error {
	err := do(ctx)
	if s.Watch && err == nil {
		s.meet(ctx, step.N)
	}
	return err
}

// killed ends this process: in the middle of the first file that grows over the
// size, or once the work is done. A command dies there by itself, and we after it.
func (s Script) killed(ctx context.Context, do func(context.Context) error) error {
	over := make(chan os.Signal, 1)
	signal.Notify(over, syscall.SIGXFSZ)
	go func() {
		<-over
		die()
	}()
	restore, err := s.bound()
	if err != nil {
		return err
	}
	_ = do(ctx)
	restore()
	die()
	return nil
}

// die is the end that nobody can prepare for.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// Store does the node's part of a delivery, whose disk is full while the workstation
// says so.
func (s Script) Store(do func() error) error {
	if _, err := os.Stat(filling(s.path)); err != nil {
		return do()
	}
	s.Bytes = s.Far
	return s.full(do)
}

// full lets no file grow over the size. What is no disk of its own cannot be
// full: the limit of the process has the same effect on who writes, but for the
// name of the error (EFBIG, not ENOSPC).
func (s Script) full(do func() error) error {
	signal.Ignore(syscall.SIGXFSZ) // for the commands too: the write fails, and they go on
	defer signal.Reset(syscall.SIGXFSZ)
	restore, err := s.bound()
	if err != nil {
		return err
	}
	defer restore()
	if err := do(); err != nil {
		if errors.Is(err, syscall.EFBIG) {
			return jobs.Errorf("%w: %w", err, syscall.ENOSPC)
		}
		return err
	}
	return nil
}

// bound limits the size of files for this process, and for what it starts.
func (s Script) bound() (restore func(), err error) {
	if s.Bytes <= 0 {
		return func() {}, nil
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		return nil, err
	}
	limit := was
	limit.Cur = atMost(was.Max, s.Bytes)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return nil, err
	}
	var core unix.Rlimit // who dies of the limit leaves no core behind
	if unix.Getrlimit(unix.RLIMIT_CORE, &core) == nil {
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Max: core.Max})
	}
	return func() {
		_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &was)
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &core)
	}, nil
}

// atMost lowers a limit, whose type is not the same on every system.
func atMost[T int64 | uint64](limit T, n int64) T { return min(limit, T(n)) }

// pace is how often the two look for each other; patience how long one waits for
// the other, who may have died.
const (
	pace     = 2 * time.Millisecond
	patience = 30 * time.Second
)

// meet says that step n is where it is to be struck, or looked at, and waits to
// be let go on.
func (s Script) meet(ctx context.Context, n int) {
	if s.Dir == "" || os.WriteFile(s.at(n), nil, 0o600) != nil {
		return
	}
	for end := time.Now().Add(patience); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(pace) {
		if _, err := os.Stat(s.on(n)); err == nil {
			return
		}
	}
}

func (s Script) at(n int) string { return filepath.Join(s.Dir, fmt.Sprintf("at-%d", n)) }
func (s Script) on(n int) string { return filepath.Join(s.Dir, fmt.Sprintf("on-%d", n)) }

// Await waits until a step is where it is to be struck, or looked at: false when
// over was closed before.
func (s Script) Await(n int, over <-chan struct{}) bool {
	for {
		if _, err := os.Stat(s.at(n)); err == nil {
			return true
		}
		select {
		case <-over:
			return false
		case <-time.After(pace):
		}
	}
}

// GoOn lets a step go on that Await has seen.
func (s Script) GoOn(n int) error { return os.WriteFile(s.on(n), nil, 0o600) }
