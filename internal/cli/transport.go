package cli

import (
	"context"
	"io"

	"github.com/pkg/sftp"

	"example.org/conc/internal/agent"
	"example.org/conc/internal/sshconn"
)

// transport makes a connection into what the agent is started over. The two
// packages do not know each other: this is where they meet.
func transport(conn *sshconn.Conn) agent.Transport { return connTransport{conn} }

type connTransport struct{ conn *sshconn.Conn }

func (t connTransport) Start(ctx context.Context, command string) (agent.Proc, error) {
	proc, err := t.conn.Start(ctx, command)
	if err != nil {
		return nil, err
	}
	return proc, nil
}

// Files opens a file channel as bytes.
func (t connTransport) Files(ctx context.Context) (io.ReadWriteCloser, error) {
	return t.conn.Files(ctx)
}

func (t connTransport) SFTP(ctx context.Context) (*sftp.Client, error) { return t.conn.SFTP(ctx) }

func (t connTransport) Spare(ctx context.Context) (*sftp.Client, error) { return t.conn.Spare(ctx) }

func (t connTransport) Warm(files int) { t.conn.Warm(files) }

func (t connTransport) Keep(client *sftp.Client) { t.conn.Keep(client) }

func (t connTransport) Ready() { t.conn.Ready() }
