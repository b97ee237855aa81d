// Package agent is the far end of a deploy: conc itself, started on the node
// over an SSH exec channel, serving numbered steps over its standard input and
// output; and the workstation's side of that conversation.
//
// Both ends hold the same plan, so a stretch of steps is asked for by two
// numbers, and costs one round trip however many steps it has. Everything that
// comes over the line is bounded before it is held. What a node says is escaped
// in error messages here; output, results and owner records are handed on as
// they are, for the user interface to escape.
package agent

import (
	"context"
	"io"
	"time"

	"github.com/pkg/sftp"
	"github.com/rs/zerolog"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
)

// Program is what both ends must share: conc and the application compiled in.
type Program struct {
	Planner    jobs.Planner
	Procedures jobs.Procedures
	Version    string
}

// Recorder is a run's journal, open for writing. It is safe for concurrent use.
type Recorder interface {
	Record(records ...jobs.Record) error // on disk when it returns
	Close() error
}

// Journals keeps the journals of runs, in files.
type Journals interface {
	Open(path string) (Recorder, error)
	// Read gives the records of one; torn tells that its last line was cut short.
	Read(path string) (records []jobs.Record, torn bool, err error)
}

// Transport is a connection to a node; sshconn.Conn is made into one by the
// command line. It is asked from several goroutines.
type Transport interface {
	Start(ctx context.Context, command string) (Proc, error)
	SFTP(ctx context.Context) (*sftp.Client, error)
	Spare(ctx context.Context) (*sftp.Client, error) // one more file channel; an error where the connection has no room
	Warm(files int)                                  // begins to open so many, for SFTP and Spare to give
	Keep(client *sftp.Client)                        // takes one back, for them to give
	Ready()                                          // begins to open what the next Start needs
}

// Proc is a program started over a Transport. Close makes the blocked calls of
// the others return, at the latest when the transport finds its peer dead.
type Proc interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader
	Wait() error
	Close() error
}

// Options say how to start an agent.
type Options struct {
	Program    Program
	Executable string // this program's file: what is copied to the node
	Hash       string // its SHA-256, hex, where somebody has read it before; "": it is read
	AgentDir   string // agent.dir: more places for conc_<os>_<arch>; may be empty
	// BuildAgent gives the file of this program for a platform that there is none
	// for; nil: it cannot be had.
	BuildAgent func(ctx context.Context, goos, goarch string) (path string, err error)
	Node       *config.Node
	Plan       *jobs.Plan // nil: no steps will be run (unlock, status)
	Owner      bundle.Owner
	Record     *jobs.PlanRecord // what the node's journal says of this part of the run; Steps are filled in
	Secret     func(name string) (string, error)
	Secrets    []string                // names of those that procedures will need, beside those of the plan's steps
	Timeout    time.Duration           // for the start, upload not counted; 0 is 20 s
	Uploading  func(done, total int64) // progress of the agent's own upload; may be nil
	Channels   func() int              // how many file channels the plan's steps will want; nil: none
	Ways       int                     // how many channels the agent's own upload may take; 0 is 7
	Log        zerolog.Logger
	Typed      string // how the operator's commands begin, for hints of the agent: "conc -c shop.ini"; "" is "conc"

	pulse   pulse // for tests
	patient bool  // output waits for its sink, instead of being left out
}

// pulse says how the two ends watch each other: a PING every beat, and an end
// that was silent for longer than silence is dead.
type pulse struct{ beat, silence time.Duration }

func (p pulse) or(beat, silence time.Duration) pulse {
	if p.beat == 0 {
		p.beat = beat
	}
	if p.silence == 0 {
		p.silence = silence
	}
	return p
}

// Hello is what an agent says of its node.
type Hello struct {
	Version  string `json:"version"`
	Hash     string `json:"hash"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	UID      int    `json:"uid"`
	User     string `json:"user"`
	Hostname string `json:"hostname"`
	Home     string `json:"home"`
	BootID   string `json:"boot_id"`
	Free     int64  `json:"free"` // bytes, on the home's filesystem
	PID      int    `json:"pid"`
}

// StartError says why no agent answered on the node. Its message is escaped.
type StartError struct {
	Err  error
	Hint string
}

func (e *StartError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *StartError) Unwrap() error { return e.Err }

// LostError says that the link or the agent went away in the middle.
type LostError struct {
	Step int // that was running; 0: none
	Err  error
}

func (e *LostError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *LostError) Unwrap() error { return e.Err }
