package testnode

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/crypto/ssh"
)

// server is the SSH server of a node. Every goroutine of it is counted in work.
type server struct {
	o        Options
	homes    map[string]string // by user
	rc       string            // file that every command reads first; "" for none
	mark     string            // KEY=value in the environment of all that it starts
	config   *ssh.ServerConfig
	listener net.Listener
	work     sync.WaitGroup

	connections, sessions atomic.Int64

	mu      sync.Mutex
	closed  bool
	conns   map[net.Conn]bool
	running map[*command]bool
}

func newServer(o Options, user, home string, operator ssh.PublicKey, host ssh.Signer) *server {
	s := &server{
		o: o, homes: map[string]string{user: home},
		mark:  "CONC_TESTNODE=" + ulid.Make().String(),
		conns: map[net.Conn]bool{}, running: map[*command]bool{},
	}
	s.config = &ssh.ServerConfig{
		ServerVersion: "SSH-2.0-conc_testnode",
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if s.homes[c.User()] != "" && bytes.Equal(key.Marshal(), operator.Marshal()) {
				return nil, nil
			}
			return nil, errors.New("not the operator's key")
		},
	}
	s.config.AddHostKey(host)
	return s
}

// accept serves connections until the listener is closed.
func (s *server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors, say
			continue
		}
		s.mu.Lock()
		if s.closed {
			_ = conn.Close()
		} else {
			s.conns[conn] = true
			s.work.Go(func() { s.serve(conn) })
		}
		s.mu.Unlock()
	}
}

// serve is one connection from its first byte to its end.
func (s *server) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	sc, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	s.connections.Add(1)

	// Nothing is asked of the server beside its channels, but keepalives want
	// an answer, which may be no.
	s.work.Go(func() { ssh.DiscardRequests(requests) })
	var open atomic.Int64
	for nc := range channels {
		switch {
		case nc.ChannelType() == "direct-tcpip" && s.o.Forward:
			s.work.Go(func() { s.forward(nc) })
		case nc.ChannelType() != "session":
			_ = nc.Reject(ssh.UnknownChannelType, "not served")
		case s.o.MaxSessions > 0 && open.Load() >= int64(s.o.MaxSessions):
			_ = nc.Reject(ssh.ConnectionFailed, "open failed") // as OpenSSH says it
		default:
			open.Add(1)
			s.sessions.Add(1)
			s.work.Go(func() {
				defer open.Add(-1)
				s.session(sc, nc)
			})
		}
	}
}

// forward passes a connection on to a loopback port.
func (s *server) forward(nc ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	if err := ssh.Unmarshal(nc.ExtraData(), &to); err != nil || to.Host != "127.0.0.1" && to.Host != "localhost" {
		_ = nc.Reject(ssh.Prohibited, "loopback only")
		return
	}
	conn, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(to.Port))), 5*time.Second)
	if err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, requests, err := nc.Accept()
	if err != nil {
		_ = conn.Close()
		return
	}
	s.work.Go(func() { ssh.DiscardRequests(requests) })
	join(ch, conn)
}

// close ends everything, and says what would not end within limit.
func (s *server) close(limit time.Duration) error {
	s.mu.Lock()
	s.closed = true
	err := s.listener.Close()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()

	err = errors.Join(err, s.endCommands(limit))
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
		return err
	case <-time.After(limit):
		return errors.Join(err, fmt.Errorf("a connection to the node did not end within %v", limit))
	}
}
