package testnode

import (
	"io"
	"net"
	"os/exec"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// session serves one session channel: one command, login shell, or SFTP.
func (s *server) session(sc *ssh.ServerConn, nc ssh.NewChannel) {
	ch, requests, err := nc.Accept()
	if err != nil {
		return
	}
	var (
		work    sync.WaitGroup
		started bool
		cmd     *command
		tty     *terminal
	)
	for req := range requests {
		var text struct{ Value string }
		ok := false
		switch {
		case req.Type == "window-change" && tty != nil:
			if cmd != nil {
				cmd.resize(req.Payload)
			}
		case started:
		case req.Type == "pty-req":
			tty = wanted(req.Payload)
			if req.WantReply {
				_ = req.Reply(tty != nil, nil)
			}
			continue
		case req.Type == "exec" && ssh.Unmarshal(req.Payload, &text) == nil:
			cmd, ok = s.command(sc, ch, tty, text.Value), true
		case req.Type == "shell":
			cmd, ok = s.command(sc, ch, tty, ""), true
		case req.Type == "subsystem" && ssh.Unmarshal(req.Payload, &text) == nil:
			if ok = text.Value == "sftp" && !s.o.NoSFTP; ok {
				work.Go(func() { s.sftp(sc, ch) })
			}
		}
		started = started || ok
		// The reply goes out first: a client takes output before it for noise.
		if req.WantReply {
			_ = req.Reply(ok, nil)
		}
		if ok && cmd != nil {
			work.Go(cmd.run)
		}
	}
	// The client has closed the channel. What was started goes on, without us.
	if cmd != nil {
		cmd.hangUp()
	}
	work.Wait()
	_ = ch.Close()
}

// sftp serves the files of this machine, from the home on.
func (s *server) sftp(sc *ssh.ServerConn, ch ssh.Channel) {
	defer ch.Close()
	if s.o.ExternalSFTP && s.rc != "" {
		noise := exec.Command(s.o.Shell, "-c", s.withRC("true"))
		noise.Dir, noise.Env = s.homes[sc.User()], s.environment(sc)
		noise.Stdout, noise.Stderr = ch, ch.Stderr()
		_ = noise.Run()
	}
	var files io.ReadWriteCloser = ch
	if s.o.Full != nil {
		files = &bounded{ReadWriteCloser: ch, limit: s.o.Full}
	}
	srv, err := sftp.NewServer(files, sftp.WithServerWorkingDirectory(s.homes[sc.User()]))
	if err != nil {
		return
	}
	_ = srv.Serve() // closes what the client left open
	sendExit(ch, 0)
}

func sendExit(ch ssh.Channel, code int) {
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
}

// join copies both ways until both are done.
func join(ch ssh.Channel, conn net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(conn, ch)
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		_, _ = io.Copy(ch, conn)
		_ = ch.CloseWrite()
	})
	both.Wait()
	_ = ch.Close()
	_ = conn.Close()
}
