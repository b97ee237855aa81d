package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"sync"

	"github.com/dustin/go-humanize"
	"github.com/pkg/sftp"
)

const (
	large    = 256 << 10    // bytes of a piece that goes by itself
	writeLen = 255 << 10    // bytes of one write: what OpenSSH takes in a packet
	jobLen   = 4 * writeLen // bytes that one runner writes at the same time
	runners  = 3            // of a channel: together they fill its window of 2 MiB, and have more at hand
	nearWays = 2            // channels, where a window's length does not matter
	perWay   = 2 << 20      // bytes that make one more channel worth its opening: a window
	packLen  = 4 << 20      // bytes of a pack
)

// MaxWays is how many file channels a delivery uses at most: sshd's MaxSessions is
// 10, and the agent's is one of them.
const MaxWays = 8

// Ways is how many file channels a delivery of so many bytes makes use of: none,
// where they can travel with the agent's calls.
func Ways(bytes int64) int {
	if bytes <= maxAlong {
		return 0
	}
	return int(min(bytes/perWay+1, MaxWays))
}

// target is a file on the node that is being written.
type target struct {
	path  string
	size  int64
	index int      // of the file that it is; -1: a pack
	in    *os.File // the file's source
	data  []byte   // the pack

	mu      sync.Mutex
	left    int            // jobs that are not done
	whole   bool           // all of the file, from its beginning
	written map[int64]bool // jobs that are done, by offset, beyond those before which all are
	upto    int64          // all before it is written
	told    int64          // of it, the node
	handles map[*sftp.Client]*handle
}

type handle struct {
	once sync.Once
	f    *sftp.File
	err  error
}

// job is a part of a target that one runner writes.
type job struct {
	t     *target
	at, n int64
}

// slice is a part of a file that goes in a pack.
type slice struct {
	index int
	Range
}

// outbox is what is to be sent, and what has been.
type outbox struct {
	*delivery
	jobs   chan job
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	packs  []string   // that have arrived
	ins    []*os.File // the sources that are read
	number int        // of the next pack
	hints  sync.WaitGroup
}

// send brings everything that is wanted to the node, and has it put in its place.
func (d *delivery) send(ctx context.Context) error {
	whole, small, err := d.sort()
	if err != nil {
		return err
	}
	var direct, packed int64
	for _, s := range whole {
		direct += s.Len
	}
	for _, s := range small {
		packed += s.Len
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &outbox{delivery: d, jobs: make(chan job), cancel: cancel}
	var first []byte
	if direct == 0 && packed <= 4*maxAlong {
		if first, err = d.packOne(ctx, small); err != nil {
			return err
		}
		if len(first) <= maxAlong {
			d.meter.add(packed)
			return d.far.Settle(ctx, Settlement{ID: d.id, Data: first, Last: true})
		}
		small, packed = nil, int64(len(first))
	}
	ways := max(1, Ways(direct+packed)) // what is not packed goes by one
	if d.near {                         // more of them would only wait for each other there
		ways = min(ways, nearWays)
	}
	err = within(ctx, func() error { return b.run(ctx, whole, small, first, ways) })
	last := Settlement{ID: d.id, Last: true}
	if err == nil { // nothing is on its way any more
		last.Packs = b.packs
		last.Sums, err = d.sums(ctx)
	}
	if err == nil {
		err = d.far.Settle(ctx, last)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // what a hint was told is why
	}
	cancel(nil) // a hint is advice: its answer is not waited for
	b.hints.Wait()
	return err
}

// hint tells the node by the way what has arrived, so that it need not do all of
// its work at the end. What it says of that now is what it would say then.
func (b *outbox) hint(ctx context.Context, s Settlement) {
	b.hints.Go(func() {
		if err := b.far.Settle(ctx, s); ctx.Err() == nil {
			b.fail(err)
		}
	})
}

// run opens the channels and sends.
func (b *outbox) run(ctx context.Context, whole, small []slice, first []byte, ways int) error {
	var work, made sync.WaitGroup
	for i := range ways {
		work.Go(func() {
			open := b.far.Spare
			if i == 0 { // one is enough
				open = b.far.SFTP
			}
			client, err := open(ctx)
			if err != nil {
				if i == 0 {
					b.cancel(err)
				}
				return
			}
			// What counts has been answered: a goodbye is not waited for.
			defer func() { go client.Close() }() //nolint:errcheck // it ends with the connection at the latest
			var own sync.WaitGroup
			for range runners {
				own.Go(func() { b.runner(ctx, client) })
			}
			own.Wait()
		})
	}
	made.Go(func() { b.fail(b.makePacks(ctx, small, first)) })
	made.Go(func() { b.fail(b.makeWhole(ctx, whole)) })
	made.Wait()
	close(b.jobs)
	work.Wait()
	for _, in := range b.ins {
		_ = in.Close() // where something went wrong; else it is closed
	}
	return context.Cause(ctx)
}

func (b *outbox) fail(err error) {
	if err != nil {
		b.cancel(err)
	}
}

// add has a target written.
func (b *outbox) add(ctx context.Context, t *target, ranges []Range) error {
	t.handles, t.written = map[*sftp.Client]*handle{}, map[int64]bool{}
	var all []job
	for _, r := range ranges {
		for at := r.At; at < r.At+r.Len; at += jobLen {
			all = append(all, job{t, at, min(jobLen, r.At+r.Len-at)})
		}
	}
	t.left = len(all)
	for _, j := range all {
		select {
		case b.jobs <- j:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// makeWhole makes targets of the pieces that go by themselves, by file.
func (b *outbox) makeWhole(ctx context.Context, whole []slice) error {
	for len(whole) > 0 {
		i := whole[0].index
		n := slices.IndexFunc(whole, func(s slice) bool { return s.index != i })
		if n < 0 {
			n = len(whole)
		}
		ranges := make([]Range, n)
		for k, s := range whole[:n] {
			ranges[k] = s.Range
		}
		whole = whole[n:]
		in, err := b.open(i)
		if err != nil {
			return err
		}
		b.ins = append(b.ins, in)
		f := b.m.Files[i]
		t := &target{path: path.Join(b.into, b.m.partial(f)), size: f.Size, index: i, in: in, whole: n == 1 && ranges[0] == Range{0, f.Size}}
		if err := b.add(ctx, t, ranges); err != nil {
			return err
		}
	}
	return nil
}

// makePacks makes packs, and targets of them.
func (b *outbox) makePacks(ctx context.Context, small []slice, first []byte) error {
	send := func(data []byte) error {
		if len(data) == 0 {
			return nil
		}
		name := packName(b.id, b.number)
		b.number++
		return b.add(ctx, &target{path: path.Join(b.into, name), size: int64(len(data)), index: -1, data: data}, []Range{{0, int64(len(data))}})
	}
	if err := send(first); err != nil {
		return err
	}
	p := &packer{}
	for _, s := range small {
		err := b.record(ctx, p, s, func() error {
			if p.size() < packLen {
				return nil
			}
			return send(p.finish())
		})
		if err != nil {
			return err
		}
	}
	return send(p.finish())
}

// runner writes one job after the other on a channel.
func (b *outbox) runner(ctx context.Context, client *sftp.Client) {
	for {
		var j job
		var ok bool
		select {
		case j, ok = <-b.jobs:
		case <-ctx.Done():
		}
		if !ok {
			return
		}
		err := b.write(ctx, client, j)
		if err == nil {
			b.wrote(ctx, j)
			err = b.done(ctx, j.t)
		}
		b.fail(err)
	}
}

// pieces are the buffers of single writes; a write is over when it is answered.
var pieces = sync.Pool{New: func() any { b := make([]byte, writeLen); return &b }}

// write writes a job's bytes, all of its packets at the same time.
func (b *outbox) write(ctx context.Context, client *sftp.Client, j job) error {
	h := j.t.handle(client)
	if h.err != nil {
		return b.refused(client, j.t, h.err)
	}
	n := int((j.n + writeLen - 1) / writeLen)
	return each(ctx, n, n, func(_ context.Context, i int) error {
		at := j.at + int64(i)*writeLen
		size := min(writeLen, j.at+j.n-at)
		data := j.t.data
		if data != nil {
			data = data[at : at+size]
		} else {
			buf := pieces.Get().(*[]byte)
			defer pieces.Put(buf)
			data = (*buf)[:size]
			if _, err := j.t.in.ReadAt(data, at); err != nil {
				return b.readError(j.t.index, err)
			}
		}
		if _, err := h.f.WriteAt(data, at); err != nil {
			return b.refused(client, j.t, err)
		}
		b.meter.add(size)
		return nil
	})
}

// handle opens a target on a channel, once.
func (t *target) handle(client *sftp.Client) *handle {
	t.mu.Lock()
	h := t.handles[client]
	if h == nil {
		h = &handle{}
		t.handles[client] = h
	}
	t.mu.Unlock()
	h.once.Do(func() { h.f, h.err = client.OpenFile(t.path, os.O_WRONLY|os.O_CREATE) })
	return h
}

// hintLen is how much of a file arrives between two hints.
const hintLen = 32 << 20

// wrote has the node hash what has arrived of a large file while the rest comes.
func (b *outbox) wrote(ctx context.Context, j job) {
	t := j.t
	if !t.whole || t.size < 2*hintLen {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written[j.at] = true
	for t.written[t.upto] {
		delete(t.written, t.upto)
		t.upto = min(t.upto+jobLen, t.size)
	}
	if t.upto-t.told >= hintLen {
		t.told = t.upto
		b.hint(ctx, Settlement{ID: b.id, Written: map[int]int64{t.index: t.upto}})
	}
}

// done counts a job. With the last one the target is whole: its handles are
// closed, which nobody waits for, and of a pack the node is told.
func (b *outbox) done(ctx context.Context, t *target) error {
	t.mu.Lock()
	t.left--
	over := t.left == 0
	t.mu.Unlock()
	if !over {
		return nil
	}
	for _, h := range t.handles {
		if h.f != nil {
			go h.f.Close() //nolint:errcheck // ends with the channel at the latest; every write has been answered
		}
	}
	if t.index >= 0 {
		err := b.still(t.index, t.in)
		_ = t.in.Close()
		return err
	}
	t.data = nil
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packs = append(b.packs, path.Base(t.path))
	if len(b.packs) < 2 {
		return nil
	}
	b.hint(ctx, Settlement{ID: b.id, Packs: b.packs[len(b.packs)-2 : len(b.packs)-1]})
	return nil
}

// refused says why the node did not take a file. The protocol has no word for
// a full disk, so the file system is asked.
func (b *outbox) refused(client *sftp.Client, t *target, err error) error {
	name := t.path
	if t.index >= 0 {
		name = b.m.dest(b.m.Files[t.index])
	}
	var status *sftp.StatusError
	if !errors.As(err, &status) {
		return fmt.Errorf("%s: %w", name, err)
	}
	vfs, verr := client.StatVFS(path.Dir(t.path))
	if verr != nil {
		return fmt.Errorf("%s: the node refused it: %w", name, err)
	}
	block := max(vfs.Frsize, 1)
	free := vfs.Bavail * block
	if free < uint64(t.size)+block+MaxWays*runners*jobLen {
		return fmt.Errorf("%s: %w: %s to send, %s free", name, ErrNoSpace, humanize.Bytes(uint64(t.size)), humanize.Bytes(free))
	}
	return fmt.Errorf("%s: the node refused it: %w (%s free there)", name, err, humanize.Bytes(free))
}
