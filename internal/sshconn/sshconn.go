// Package sshconn reaches a node over SSH: keys, agent, known hosts, jump
// hosts, deadlines, and a refusal that says what to do.
package sshconn

import (
	"context"
	"io"
	"time"

	"github.com/pkg/sftp"

	"example.org/conc/config"
)

// Target is where a node is, and how to get there.
type Target struct {
	Node    string // name, for messages
	User    string
	Host    string // name or address, as dialled
	Port    int
	OpKey   string   // op_key; "" is the agent and the default keys
	HostKey string   // pin "SHA256:…"; "" is known_hosts
	Jump    []Target // hops before it, the first to dial first
	Files   []string // identity files named by ~/.ssh/config
	Known   []string // known_hosts files; empty: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
}

// String gives user@host:port, with brackets for an IPv6 literal.
func (t Target) String() string { panic("contract") }

// SSHArgs gives the arguments with which the user's own ssh program reaches
// the same place with the same options: {"-p", "22", "-i", KEY, "deploy@host"}.
func (t Target) SSHArgs() []string { panic("contract") }

// Resolve finds a node's target in its attributes, filled in by ~/.ssh/config:
// an attribute of deploy.ini always wins. nodes gives the nodes that sshd.jump
// names. No network. The error names the key.
func Resolve(node *config.Node, nodes func(string) (*config.Node, error), o Options) (Target, error) {
	panic("contract")
}

// Options is what a connection takes from its surroundings. Home is needed;
// the rest works as zero.
type Options struct {
	Home   string              // whose .ssh is read
	Getenv func(string) string // SSH_AUTH_SOCK; nil is os.Getenv
	// Prompt asks for a passphrase, a password or a keyboard-interactive answer,
	// without echo. nil: nobody can be asked.
	Prompt  func(ctx context.Context, question string) (string, error)
	Warn    func(string)  // a line skipped in known_hosts, say; nil is silence
	Connect time.Duration // for one dial with authentication, all hops; 0 is 20 s
	Retry   time.Duration // how long refused dials are tried again, before authentication; 0 is 10 s
}

// Kind is why a node could not be reached.
type Kind int

// The kinds of Error.
const (
	Unreachable Kind = iota // no connection, or no SSH on it
	UnknownKey              // no key on record for the host
	ChangedKey              // another key on record
	NoAuth                  // the server let us not in, or no key could be used
	Lost                    // it was up, and is gone
)

// Error is the only error that Dial and Conn return for the far end's doing.
// The command line ends with exit code 4 on all kinds but Lost.
type Error struct {
	Kind Kind
	Err  error
	Hint string
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Conn is an authenticated connection. Every read and write under it has a
// deadline: a peer that is silent for 20 s is Lost, and all that waits on the
// connection returns then.
type Conn struct{}

// Dial connects and authenticates, through the jump hosts if there are any.
func Dial(ctx context.Context, t Target, o Options) (*Conn, error) { panic("contract") }

// Proc is a program started on the node.
type Proc interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader
	Wait() error  // *ssh.ExitError, *ssh.ExitMissingError or *Error{Lost}
	Close() error // closes the channel; does not end the program
}

// Start starts a program. When the server allows no further session on this
// connection, a second connection to the same target is made for it.
func (c *Conn) Start(ctx context.Context, command string) (Proc, error) { panic("contract") }

// SFTP opens a file channel; noise before the server's first packet (a login
// shell that prints) is skipped, up to 64 KiB. As for Start, a second
// connection is made where one session is all that is allowed. Each call opens
// a channel of its own; packets are 255 KiB where the server is OpenSSH.
func (c *Conn) SFTP(ctx context.Context) (*sftp.Client, error) { panic("contract") }

// Target is where the connection leads.
func (c *Conn) Target() Target { panic("contract") }

// Done is closed when the connection is gone; Err then says why.
func (c *Conn) Done() <-chan struct{} { panic("contract") }

// Err gives the reason after Done: *Error{Lost}, or nil after Close.
func (c *Conn) Err() error { panic("contract") }

// Close ends the connection and everything on it, and waits for the
// goroutines that it has.
func (c *Conn) Close() error { panic("contract") }

// HostKey is a key that a server showed.
type HostKey struct {
	Type        string // "ssh-ed25519"
	Fingerprint string // "SHA256:…"
	Line        string // for known_hosts
	State       State
}

// State is how a key compares with what is on record.
type State int

// The states of a HostKey.
const (
	New State = iota
	Known
	Changed
)

// Scan fetches the target's host keys, one per type it offers, without
// logging in. The hops before it are logged in to, strictly.
func Scan(ctx context.Context, t Target, o Options) ([]HostKey, error) { panic("contract") }

// Record adds keys to the user's known_hosts file (0600, made if missing, its
// folder 0700), whole or not at all, and returns its path.
func Record(t Target, keys []HostKey, o Options) (string, error) { panic("contract") }
