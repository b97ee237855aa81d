package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"sync"

	"github.com/pkg/sftp"
)

const (
	pieceLen = 255 << 10 // bytes of a write: what OpenSSH takes in a packet
	inFlight = 8         // writes of a channel at the same time: its window of 2 MiB
	mostWays = 7         // channels; sshd's MaxSessions is 10, and three programs may be about
)

// sending is a file on its way to the node, over several channels.
type sending struct {
	in   *os.File
	size int64
	temp string
	tell func(done, total int64)

	mu    sync.Mutex
	next  int64 // where the next piece begins
	done  int64
	err   error
	files []*sftp.File
	ways  []*sftp.Client // for whoever made this to close
	over  bool           // and they are closed
}

func newSending(name string, tell func(done, total int64)) (*sending, error) {
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	return &sending{in: in, size: info.Size(), temp: path.Join(binDir, uploadPrefix+hex.EncodeToString(random)), tell: tell}, nil
}

// open opens the file on a channel, whichever is the first to.
func (u *sending) open(client *sftp.Client) (*sftp.File, error) {
	f, err := client.OpenFile(u.temp, os.O_WRONLY|os.O_CREATE)
	if err == nil {
		u.mu.Lock()
		u.files = append(u.files, f)
		u.mu.Unlock()
	}
	return f, err
}

// ways is how many channels an upload takes.
func (l *launch) ways(size int64) int {
	most := l.Ways
	if most == 0 {
		most = mostWays
	}
	return int(min(int64(most), size/(inFlight*pieceLen)+1))
}

// warm makes sure that so many file channels are there or on their way.
func (l *launch) warm(files int) {
	if more := files - l.warmed; more > 0 {
		l.warmed = files
		l.t.Warm(more)
	}
}

// release gives file channels back, as many as the plan has a use for.
func (l *launch) release(clients []*sftp.Client) {
	keep := 0
	if l.Channels != nil {
		keep = l.Channels()
	}
	for i, client := range clients {
		if i < keep {
			l.t.Keep(client)
		} else {
			go client.Close() //nolint:errcheck // it ends with the connection at the latest
		}
	}
}

// send writes the file, and makes it executable. It begins on one channel;
// further ones join in as they come.
func (u *sending) send(ctx context.Context, l *launch, client *sftp.Client) error {
	joining, enough := context.WithCancel(ctx)
	defer enough()
	var all sync.WaitGroup
	for range l.ways(u.size) - 1 {
		all.Go(func() {
			further, err := l.t.Spare(joining)
			if err != nil {
				return // the others do its part
			}
			u.join(further)
			if u.left() {
				if f, err := u.open(further); err == nil {
					u.write(f)
				}
			}
		})
	}
	first, err := u.begin(client)
	if err == nil {
		all.Go(func() {
			if err := first.Chmod(0o700); err != nil {
				u.fail(err)
			}
		})
		u.write(first)
	} else {
		u.fail(err)
	}
	enough()
	all.Wait()
	return u.err
}

// begin opens the file on the first channel. Where that fails the directories
// are not there yet, or cannot be.
func (u *sending) begin(client *sftp.Client) (*sftp.File, error) {
	first, err := u.open(client)
	if err == nil {
		return first, nil
	}
	for _, dir := range []string{path.Dir(binDir), binDir} {
		if err := makeDir(client, dir); err != nil {
			return nil, &dirError{dir, err}
		}
	}
	return u.open(client)
}

// join takes a channel in.
func (u *sending) join(client *sftp.Client) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ways = append(u.ways, client)
	if u.over {
		go client.Close() //nolint:errcheck // as in hangUp
	}
}

// hangUp closes the channels: that ends a transfer that nobody waits for.
func (u *sending) hangUp() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for _, client := range u.ways {
		go client.Close() //nolint:errcheck // it ends with the connection at the latest
	}
}

// left tells whether there is anything more to write.
func (u *sending) left() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err == nil && u.next < u.size
}

func (u *sending) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
	}
}

// write writes pieces on one channel until there are none.
func (u *sending) write(f *sftp.File) {
	var all sync.WaitGroup
	for range inFlight {
		all.Go(func() {
			buf := make([]byte, pieceLen)
			for {
				u.mu.Lock()
				at := u.next
				n := min(pieceLen, u.size-at)
				if u.err != nil || n <= 0 {
					u.mu.Unlock()
					return
				}
				u.next += n
				u.mu.Unlock()
				if err := u.piece(f, buf[:n], at); err != nil {
					u.fail(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func (u *sending) piece(f *sftp.File, buf []byte, at int64) error {
	if _, err := u.in.ReadAt(buf, at); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New(u.in.Name() + " has changed since this program was started")
		}
		return err
	}
	if _, err := f.WriteAt(buf, at); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.done += int64(len(buf))
	if u.tell != nil {
		u.tell(u.done, u.size)
	}
	return nil
}

// close closes the file on all channels at the same time.
func (u *sending) close() error {
	errs := make([]error, len(u.files))
	var all sync.WaitGroup
	for i, f := range u.files {
		all.Go(func() { errs[i] = f.Close() })
	}
	all.Wait()
	return errors.Join(errs...)
}
