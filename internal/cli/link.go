package cli

import (
	"context"
	"errors"
	"sync"

	"example.org/conc/config"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/rehearsal"
	"example.org/conc/internal/sshconn"
)

// link is a node that was reached: the connection, and the agent on it.
type link struct {
	*agent.Client
	conn *sshconn.Conn
}

// Err says why the link is gone; nil while it is up.
func (l *link) Err() error {
	select {
	case <-l.conn.Done():
		return l.conn.Err()
	default:
		return l.Client.Err() // the agent may go while the connection stays
	}
}

// Close says goodbye to the agent and ends the connection.
func (l *link) Close() error {
	return errors.Join(l.Client.Close(), l.conn.Close())
}

// Leave says goodbye to the agent and ends the connection, without waiting for an
// answer: that would be a round trip for nothing new. Behind a jump host, where
// what is sent last passes through more hands, it is Close.
func (l *link) Leave() error {
	if len(l.conn.Target().Jump) > 0 {
		return l.Close()
	}
	l.Client.Bye()
	return errors.Join(l.conn.Close(), l.Client.Close())
}

// connect dials a node and starts the agent there.
func (p *program) connect(ctx context.Context, t sshconn.Target, node *config.Node, o agent.Options) (*link, error) {
	// To read the program takes as long as to log in at a node next door.
	var reading sync.WaitGroup
	if p.hash() == "" {
		reading.Go(func() { agent.Read(p.env.Executable) })
	}
	defer reading.Wait()
	ssh := p.sshOptions(node)
	ssh.Ways = o.Ways
	conn, err := sshconn.Dial(ctx, t, ssh)
	if err != nil {
		return nil, err
	}
	return p.start(ctx, conn, node, o)
}

// start starts the agent over a connection, which it closes when it cannot.
func (p *program) start(ctx context.Context, conn *sshconn.Conn, node *config.Node, o agent.Options) (*link, error) {
	o.Program = p.agentProgram()
	o.Node = node
	o.Executable = p.env.Executable
	o.Hash = p.hash()
	o.AgentDir = node.Get("agent.dir")
	o.BuildAgent = p.agentFor
	o.Typed = p.toType()
	client, err := agent.Start(ctx, transport(conn), o)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &link{Client: client, conn: conn}, nil
}

// hash gives the SHA-256 of this program, hex, where a rehearsal has read it for all
// of its commands; "": it is not known yet.
func (p *program) hash() string {
	s, _ := p.rehearsal.(rehearsal.Script)
	return s.Program
}

// target finds where a node is.
func (p *program) target(f *config.File, node *config.Node) (sshconn.Target, error) {
	return sshconn.Resolve(node, f.Node, p.sshOptions(node))
}

func (p *program) sshOptions(node *config.Node) sshconn.Options {
	return sshconn.Options{
		Home:   p.env.Home,
		Getenv: p.env.Getenv,
		Prompt: p.prompt,
		Warn:   p.warn,
		Pool:   &p.pool,
		// The answer, too, is to come within the limit.
		Connect: node.Duration("timeout.connect") * 19 / 20,
	}
}
