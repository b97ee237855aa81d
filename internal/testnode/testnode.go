// Package testnode is a throwaway node: a real SSH and SFTP server, in this
// process, on a loopback port, with a home of its own. `conc demo` and the
// tests use it. proxy.go spoils the line to it; the package sshdtest below
// starts the system's sshd in its place.
//
// It is not a sandbox: like an sshd, it runs commands, and serves files, as the
// user that the process has. It lets in nobody but the holder of the key that
// it made, and listens on 127.0.0.1 only.
package testnode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// OpKey is the op_key of a node whose Options name none.
const OpKey = "test"

// Options of a node. The zero value works.
type Options struct {
	Dir         string // where home, keys and host key are made; "" is a new temporary directory, removed by Close
	User        string // the account's name; "" is "deploy"
	OpKey       string // op_key of the operator's key; "" is OpKey
	Shell       string // login shell; "" is /bin/sh
	RC          string // text of a rc file that the shell reads before every command, to be noisy with
	NoSFTP      bool
	MaxSessions int      // per connection; 0 is no limit
	Env         []string // further environment of commands
	// ExternalSFTP makes the SFTP subsystem start after RC's noise, as an sshd
	// with an external sftp-server does.
	ExternalSFTP bool
	// Full gives the size that a file may grow to by SFTP at this moment, as if the
	// disk were full then; 0 is any. nil: the disk has room.
	Full     func() int64
	Forward  bool // pass connections on to loopback ports, as a jump host does
	Accounts int  // further ones, each as good as a node of its own: see Account
}

// Node is a running node.
type Node struct {
	Addr       string // 127.0.0.1:PORT
	Host       string
	Port       int
	User       string
	OpKey      string // op_key, to find KeyFile by
	Home       string // the account's home on the "node"
	SSHDir     string // a .ssh for the operator: id_ed25519-<OpKey>, known_hosts with the node's key
	KeyFile    string // the operator's private key, in SSHDir
	KnownHosts string // the file in SSHDir
	HostKey    string // "SHA256:…"

	hostLine string // type and key, for a line of known_hosts
	temp     string // what Start made; "" when Options.Dir was given
	server   *server
	closing  sync.Once
	closed   error
	unwatch  func() bool
}

// Start starts a node that serves until Close, or until ctx is done.
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := &Node{User: o.User}
	if n.User == "" {
		n.User = "deploy"
	}
	if o.Shell == "" {
		o.Shell = "/bin/sh"
	}
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "conc-node-"); err != nil {
			return nil, err
		}
		n.temp = dir
		defer func() {
			if err != nil {
				_ = os.RemoveAll(dir)
			}
		}()
	}
	// The account's own idea of its home must be the one that getcwd gives.
	if dir, err = filepath.Abs(dir); err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, err
	}
	n.Home = filepath.Join(dir, "home")
	if err := os.MkdirAll(n.Home, 0o700); err != nil {
		return nil, err
	}
	if n.OpKey = o.OpKey; n.OpKey == "" {
		n.OpKey = OpKey
	}
	operator, err := n.makeKeys(filepath.Join(dir, ".ssh"))
	if err != nil {
		return nil, err
	}
	host, err := newHostKey()
	if err != nil {
		return nil, err
	}
	s := newServer(o, n.User, n.Home, operator, host)
	for i := range o.Accounts {
		user, home := n.Account(i)
		if err := os.MkdirAll(home, 0o700); err != nil {
			return nil, err
		}
		s.homes[user] = home
	}
	if o.RC != "" {
		s.rc = filepath.Join(dir, "rc")
		if err := os.WriteFile(s.rc, []byte(o.RC+"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	if s.listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	n.server = s
	n.SetAddr(s.listener.Addr().String())
	if err := n.Trust(n.Addr, host.PublicKey()); err != nil {
		_ = s.listener.Close()
		return nil, err
	}
	s.work.Go(s.accept)
	n.unwatch = context.AfterFunc(ctx, func() { _ = n.Close() })
	return n, nil
}

// SetAddr sets Addr, Host and Port.
func (n *Node) SetAddr(addr string) {
	host, port, _ := net.SplitHostPort(addr)
	n.Addr, n.Host = addr, host
	n.Port, _ = strconv.Atoi(port)
}

// Attrs gives the deploy.ini attributes that reach the node: admin, sshd.ip,
// sshd.port, op_key, bundle.
func (n *Node) Attrs() map[string]string {
	return map[string]string{
		"admin":     n.User,
		"sshd.ip":   n.Host,
		"sshd.port": strconv.Itoa(n.Port),
		"op_key":    n.OpKey,
		"bundle":    "test-bundle",
	}
}

// Account gives the i-th of the further accounts, from 0. They have the same key,
// address and host key as User, and a home of their own.
func (n *Node) Account(i int) (user, home string) {
	user = fmt.Sprintf("%s-%d", n.User, i)
	return user, filepath.Join(filepath.Dir(n.Home), "homes", user)
}

// Through records the node's host key for the proxy's port, too, and gives the
// attributes that reach the node through the proxy.
func (n *Node) Through(p *Proxy) (map[string]string, error) {
	if err := n.record(p.Addr); err != nil {
		return nil, err
	}
	attrs := maps.Clone(n.Attrs())
	attrs["sshd.port"] = strconv.Itoa(p.Port)
	return attrs, nil
}

// Sessions tells how many connections and sessions there have been.
func (n *Node) Sessions() (connections, sessions int) {
	return int(n.server.connections.Load()), int(n.server.sessions.Load())
}

// Processes gives the processes of the node with text in their command line,
// such as " agent". It needs /proc.
func (n *Node) Processes(text string) []int { return Running(n.server.mark, text) }

// Close ends the server, every process that it started, and removes what Start
// made. It may be called again, and gives the same answer.
func (n *Node) Close() error {
	n.closing.Do(func() {
		n.unwatch()
		n.closed = n.server.close(5 * time.Second)
		if n.temp != "" {
			if err := os.RemoveAll(n.temp); err != nil {
				n.closed = errors.Join(n.closed, fmt.Errorf("remove the node's directory: %w", err))
			}
		}
	})
	return n.closed
}
