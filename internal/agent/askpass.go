package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// AskpassVariable makes of this program sudo's askpass helper: its value is the
// socket that gives the password. It holds nothing secret.
const AskpassVariable = "CONC_ASKPASS"

// maxPassword bounds a password, in bytes. sudo itself takes fewer.
const maxPassword = 4 << 10

// askpassLimit is how long the helper and the agent wait for each other.
const askpassLimit = 5 * time.Second

// Askpass is the helper: it writes what the socket gives. A socket that gives
// nothing is an error, which sudo takes as "no password".
func Askpass(socket string, out io.Writer) error {
	conn, err := net.DialTimeout("unix", socket, askpassLimit)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(askpassLimit))
	answer, err := io.ReadAll(io.LimitReader(conn, maxPassword+1))
	defer clear(answer)
	if err == nil && len(answer) == 0 {
		err = errors.New("no password is given a second time")
	}
	if err != nil {
		return err
	}
	_, err = out.Write(answer)
	return err
}

// askpass gives a password to one helper, and nothing to the next: on a wrong
// password sudo asks again, and shall not try the same one three times.
type askpass struct {
	listener *net.UnixListener
	dir      string
	asked    atomic.Int32
	over     chan struct{}
}

// offer begins to wait for the helper. The password is the caller's to clear,
// after close.
func offer(password []byte) (*askpass, error) {
	// The home's path may be longer than a socket's may be.
	dir, err := os.MkdirTemp("", "conc-askpass-") // 0700
	if err != nil {
		return nil, fmt.Errorf("the password cannot be handed to sudo: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	if err == nil {
		err = os.Chmod(l.Addr().String(), 0o600)
	}
	if err != nil {
		if l != nil {
			_ = l.Close()
		}
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("the password cannot be handed to sudo: %w", err)
	}
	a := &askpass{listener: l, dir: dir, over: make(chan struct{})}
	go a.serve(password)
	return a, nil
}

func (a *askpass) socket() string { return a.listener.Addr().String() }

func (a *askpass) serve(password []byte) {
	defer close(a.over)
	for {
		conn, err := a.listener.AcceptUnix()
		if err != nil {
			return
		}
		if trusted(conn) && a.asked.Add(1) == 1 {
			_ = conn.SetDeadline(time.Now().Add(askpassLimit))
			_, _ = conn.Write(password)
			_, _ = conn.Write([]byte("\n"))
		}
		_ = conn.Close()
	}
}

// again tells whether sudo asked once more: it did not take the first answer.
func (a *askpass) again() bool { return a.asked.Load() > 1 }

// close ends it. Nobody reads the password after that.
func (a *askpass) close() {
	_ = a.listener.Close()
	<-a.over
	_ = os.RemoveAll(a.dir)
}
