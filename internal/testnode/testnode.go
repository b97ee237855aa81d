// Package testnode is a throwaway node: a real SSH and SFTP server, in this
// process, on a loopback port, with a home of its own. `conc demo` and the
// tests use it. sshd.go starts the system's sshd in its place, proxy.go spoils
// the line to either.
package testnode

import (
	"context"
	"time"
)

// Options of a node. The zero value works.
type Options struct {
	Dir         string // where home, keys and host key are made; "" is a new temporary directory, removed by Close
	User        string // the account's name; "" is "deploy"
	Shell       string // login shell; "" is /bin/sh
	RC          string // text of a rc file that the shell reads before every command, to be noisy with
	NoSFTP      bool
	MaxSessions int      // per connection; 0 is no limit
	Env         []string // further environment of commands
	// ExternalSFTP makes the SFTP subsystem start after RC's noise, as an sshd
	// with an external sftp-server does.
	ExternalSFTP bool
}

// Node is a running node.
type Node struct {
	Addr       string // 127.0.0.1:PORT
	Host       string
	Port       int
	User       string
	Home       string // the account's home on the "node"
	SSHDir     string // a .ssh for the operator: id_ed25519-<op_key test>, known_hosts with the node's key
	KeyFile    string // the operator's private key, in SSHDir
	KnownHosts string // the file in SSHDir
	HostKey    string // "SHA256:…"
}

// Start starts a node that serves until Close, or until ctx is done.
func Start(ctx context.Context, o Options) (*Node, error) { panic("contract") }

// Attrs gives the deploy.ini attributes that reach the node: admin, sshd.ip,
// sshd.port, op_key, bundle.
func (n *Node) Attrs() map[string]string { panic("contract") }

// Sessions tells how many connections and sessions there have been.
func (n *Node) Sessions() (connections, sessions int) { panic("contract") }

// Close ends the server, every process that it started, and removes what Start made.
func (n *Node) Close() error { panic("contract") }

// Proxy passes a TCP address on, and spoils the line on demand.
type Proxy struct {
	Addr string
	Port int
}

// NewProxy listens on a loopback port and passes connections on to addr.
func NewProxy(addr string) (*Proxy, error) { panic("contract") }

// Delay adds d/2 to each direction: d to a round trip. Bandwidth is not limited.
func (p *Proxy) Delay(d time.Duration) { panic("contract") }

// CutAfter resets every connection (RST) once n bytes went from client to server.
func (p *Proxy) CutAfter(n int64) { panic("contract") }

// Blackhole stops passing anything on, and keeps connections open, until off.
func (p *Proxy) Blackhole(on bool) { panic("contract") }

// Close ends every connection.
func (p *Proxy) Close() error { panic("contract") }
