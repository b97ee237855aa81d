// Package agent is the far end of a deploy: conc itself, started on the node
// over an SSH exec channel, serving numbered steps over its standard input and
// output; and the workstation's side of that conversation.
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
	Planner jobs.Planner
	Version string
}

// Recorder keeps the node's journal; runner.Journal is one. Begin must be on
// disk when it returns.
type Recorder interface {
	Begin(step int, name string) error
	End(r jobs.Result) error
	Close() error
}

// Server is the agent. Its zero value needs Program and Home.
type Server struct {
	Program Program
	Home    string
	Log     zerolog.Logger
	// Record opens the journal of a run at ~/.conc/runs/<run>/journal; nil: none is kept.
	Record func(path string, run string) (Recorder, error)
}

// Serve speaks the protocol until BYE, or the far side is gone. It returns nil
// when the conversation ended as agreed.
func (s *Server) Serve(ctx context.Context, in io.Reader, out io.Writer) error { panic("contract") }

// Transport is a connection to a node; sshconn.Conn is made into one by the
// command line. It is asked from several goroutines.
type Transport interface {
	Start(ctx context.Context, command string) (Proc, error)
	SFTP(ctx context.Context) (*sftp.Client, error)
}

// Proc is a program started over a Transport.
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
	AgentDir   string // agent.dir: more places for conc_<os>_<arch>; may be empty
	Node       *config.Node
	Plan       *jobs.Plan // nil: no steps will be run (unlock, status)
	Owner      bundle.Owner
	Secret     func(name string) (string, error)
	Timeout    time.Duration           // for the start, upload not counted; 0 is 20 s
	Uploading  func(done, total int64) // progress of the agent's own upload; may be nil
	Log        zerolog.Logger
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

// Client is a running agent as the workstation sees it. It is a bundle.Far.
type Client struct{}

// Start makes sure that the node has this program, starts it there, shakes
// hands and configures it.
func Start(ctx context.Context, t Transport, o Options) (*Client, error) { panic("contract") }

// Hello is what the agent said of its node.
func (c *Client) Hello() Hello { panic("contract") }

// RunSteps runs the plan's steps from..to (all remote) as one stretch: the
// agent goes from one to the next by itself and stops at the first that is not
// OK. sink hears everything in order. The error is about the conversation
// (*LostError when the link is gone); a step's outcome is in its Result only.
func (c *Client) RunSteps(ctx context.Context, from, to int, sink jobs.Sink) error {
	panic("contract")
}

// Stop asks the agent to start no further step; Cancel to end the running one.
func (c *Client) Stop() error   { panic("contract") }
func (c *Client) Cancel() error { panic("contract") }

// Unlock moves run's bundle aside and gives its new path. It is refused while
// that run's agent lives.
func (c *Client) Unlock(ctx context.Context, run string) (string, error) { panic("contract") }

// Held tells who holds the node's bundle: nil when it is free.
func (c *Client) Held(ctx context.Context) (*bundle.HeldError, error) { panic("contract") }

// SFTP, Lacking, Settle, Home and Bundle make the client a bundle.Far.
func (c *Client) SFTP(ctx context.Context) (*sftp.Client, error) { panic("contract") }
func (c *Client) Lacking(ctx context.Context, m bundle.Manifest) ([]bundle.Want, error) {
	panic("contract")
}
func (c *Client) Settle(ctx context.Context, m bundle.Manifest, sent []bundle.Want) error {
	panic("contract")
}
func (c *Client) Home() string   { panic("contract") }
func (c *Client) Bundle() string { panic("contract") }

// Close says goodbye, and waits for the agent to end, 5 s at most.
func (c *Client) Close() error { panic("contract") }

// LostError says that the link or the agent went away in the middle.
type LostError struct {
	Step int // that was running; 0: none
	Err  error
}

func (e *LostError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *LostError) Unwrap() error { return e.Err }
