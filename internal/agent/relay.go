package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// relay lends a workstation's connection to the node to its root agent, for the
// ops that move files between the hosts. What it reads and writes here is root's
// then; on the node it is the account's, as ever.
type relay struct {
	listener *net.UnixListener
	dir      string
	ctx      context.Context
	cancel   context.CancelFunc
	work     sync.WaitGroup

	mu  sync.Mutex
	far bundle.Far // of the running step: a line that was gone is another one
}

// filer is a bundle.Far that has file channels as bytes, too.
type filer interface {
	Files(ctx context.Context) (io.ReadWriteCloser, error)
}

// relayBody is one thing that the root agent wants of the node. After the reply
// to "files" the connection is a file channel.
type relayBody struct {
	Want       string             `json:"want"` // "files", or a call's method
	Query      *bundle.Query      `json:"query,omitempty"`
	Settlement *bundle.Settlement `json:"settlement,omitempty"`
}

const relayFiles = "files"

func newRelay() (*relay, error) {
	dir, err := os.MkdirTemp("", "conc-relay-") // 0700
	if err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	r := &relay{listener: l, dir: dir}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.work.Go(func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			r.work.Go(func() {
				defer conn.Close()
				stop := context.AfterFunc(r.ctx, func() { _ = conn.Close() })
				defer stop()
				if trusted(conn) {
					r.serve(conn)
				}
			})
		}
	})
	return r, nil
}

func (r *relay) lend(far bundle.Far) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.far = far
}

func (r *relay) close() {
	r.cancel()
	_ = r.listener.Close()
	r.work.Wait()
	_ = os.RemoveAll(r.dir)
}

// serve answers on one connection.
func (r *relay) serve(conn *net.UnixConn) {
	r.mu.Lock()
	far := r.far
	r.mu.Unlock()
	in := bufio.NewReader(conn)
	var want relayBody
	err := readLine(in, &want)
	switch {
	case err != nil:
		return
	case far == nil:
		err = jobs.Errorf("there is no connection to the node now")
	}
	var files io.ReadWriteCloser
	var result any
	switch {
	case err != nil:
	case want.Want == relayFiles:
		lends, ok := far.(filer)
		if !ok {
			err = jobs.Errorf("the connection to the node cannot be lent")
			break
		}
		if files, err = lends.Files(r.ctx); err == nil {
			defer files.Close()
		}
	case want.Want == callAsk && want.Query != nil:
		result, err = far.Ask(r.ctx, *want.Query)
	case want.Want == callSettle && want.Settlement != nil:
		err = far.Settle(r.ctx, *want.Settlement)
	default:
		err = badFrame("a wish for %.20q", want.Want)
	}
	var answer replyBody
	if err == nil {
		answer.Result, err = json.Marshal(result)
	}
	if err != nil {
		answer.Error = callError(err)
	}
	if writeLine(conn, answer) != nil || files == nil {
		return
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(conn, files)
		_ = conn.Close() // the node's end is gone
	}()
	_, _ = io.Copy(files, in)
	_ = files.Close()
	<-over
}

// borrowed is the node as the root agent of a workstation sees it.
type borrowed struct {
	Socket     string `json:"socket"`
	HomeDir    string `json:"home"`
	BundlePath string `json:"bundle"`
}

var _ bundle.Far = (*borrowed)(nil)

// ask puts a wish, and gives the connection after its answer, for the caller to
// close.
func (b *borrowed) ask(ctx context.Context, want relayBody, result any) (net.Conn, *bufio.Reader, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", b.Socket)
	if err != nil {
		return nil, nil, fmt.Errorf("the connection to the node is not lent any more: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	in := bufio.NewReader(conn)
	var r replyBody
	err = writeLine(conn, want)
	if err == nil {
		err = readLine(in, &r)
	}
	if err == nil {
		err = r.decode(result)
	}
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, err
	}
	return conn, in, nil
}

// SFTP opens a file channel over the workstation's own connection.
func (b *borrowed) SFTP(ctx context.Context) (*sftp.Client, error) {
	conn, in, err := b.ask(ctx, relayBody{Want: relayFiles}, nil)
	if err != nil {
		return nil, err
	}
	client, err := sftp.NewClientPipe(in, conn, sftp.UseConcurrentWrites(true), sftp.UseConcurrentReads(true))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return client, nil
}

// Spare gives none: each would be lent by a connection of its own.
func (b *borrowed) Spare(context.Context) (*sftp.Client, error) {
	return nil, errors.New("no further file channel is lent")
}

// Ask is Client.Ask, on that connection.
func (b *borrowed) Ask(ctx context.Context, q bundle.Query) (bundle.Answer, error) {
	var a bundle.Answer
	conn, _, err := b.ask(ctx, relayBody{Want: callAsk, Query: &q}, &a)
	if err != nil {
		return a, err
	}
	return a, conn.Close()
}

// Settle is Client.Settle, on that connection.
func (b *borrowed) Settle(ctx context.Context, s bundle.Settlement) error {
	conn, _, err := b.ask(ctx, relayBody{Want: callSettle, Settlement: &s}, nil)
	if err != nil {
		return err
	}
	return conn.Close()
}

// forget removes the socket, for a workstation's process that was killed.
func (b *borrowed) forget() {
	_ = os.Remove(b.Socket)
	_ = os.Remove(filepath.Dir(b.Socket))
}

// Home is the home directory on the node.
func (b *borrowed) Home() string { return b.HomeDir }

// Bundle is the bundle's path on the node.
func (b *borrowed) Bundle() string { return b.BundlePath }

// maxRelay bounds a line between the two: a manifest of many thousand files.
const maxRelay = 64 << 20

func writeLine(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		_, err = w.Write(append(data, '\n'))
	}
	return err
}

func readLine(r *bufio.Reader, v any) error {
	var line bytes.Buffer
	for {
		part, err := r.ReadSlice('\n')
		line.Write(part)
		switch {
		case err == nil:
			return json.Unmarshal(line.Bytes(), v)
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		case line.Len() > maxRelay:
			return badFrame("a line of more than %d bytes", maxRelay)
		}
	}
}
