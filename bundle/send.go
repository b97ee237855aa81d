package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	runners  = 2            // of a channel: together they fill its window of 2 MiB
	maxWays  = 7            // channels; sshd's MaxSessions is 10
	perWay   = 1 << 20      // bytes that make one more channel worth its opening
	packLen  = 4 << 20      // bytes of a pack
)

// target is a file on the node that is being written.
type target struct {
	path  string
	size  int64
	index int      // of the file that it is; -1: a pack
	in    *os.File // the file's source
	data  []byte   // the pack

	mu      sync.Mutex
	left    int // jobs that are not done
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

	mu      sync.Mutex
	packs   []string // that have arrived, and were not told of
	number  int      // of the next pack
	telling sync.WaitGroup
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
	err = within(ctx, func() error {
		return b.run(ctx, whole, small, first, int(min((direct+packed)/perWay+1, maxWays)))
	})
	if err == nil {
		err = d.far.Settle(ctx, Settlement{ID: d.id, Packs: b.packs, Last: true})
	}
	return err
}

// sort parts what is wanted into pieces that go by themselves, and those that go
// in packs: the small ones, and those that can be made smaller.
func (d *delivery) sort() (whole, small []slice, err error) {
	for _, w := range d.wants {
		f := d.m.Files[w.Index]
		ranges := w.Ranges
		if len(ranges) == 0 {
			ranges = []Range{{0, f.Size}}
		}
		shrinks, looked := false, false
		for _, r := range ranges {
			if r.Len >= large && !looked {
				looked = true
				if shrinks, err = d.shrinks(w.Index); err != nil {
					return nil, nil, err
				}
			}
			if r.Len >= large && !shrinks {
				whole = append(whole, slice{w.Index, r})
			} else {
				small = append(small, slice{w.Index, r})
			}
		}
	}
	return whole, small, nil
}

// shrinks looks at three places of a file.
func (d *delivery) shrinks(i int) (bool, error) {
	in, err := d.open(i)
	if err != nil {
		return false, err
	}
	defer in.Close()
	size := d.m.Files[i].Size
	buf, packed, raw := make([]byte, 32<<10), 0, 0
	for _, at := range []int64{0, size / 2, size - min(size, int64(len(buf)))} {
		n, err := in.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		raw += n
		packed += len(encoders().EncodeAll(buf[:n], nil))
	}
	return packed < raw*7/10, nil
}

// packOne makes one pack of all the slices.
func (d *delivery) packOne(ctx context.Context, small []slice) ([]byte, error) {
	p := &packer{}
	for _, s := range small {
		if err := d.record(ctx, p, s, nil); err != nil {
			return nil, err
		}
	}
	return p.finish(), nil
}

// record reads a slice into a pack; full, if it is set, is called whenever the
// pack has grown.
func (d *delivery) record(ctx context.Context, p *packer, s slice, full func() error) error {
	in, err := d.open(s.index)
	if err != nil {
		return err
	}
	defer in.Close()
	buf := make([]byte, min(s.Len, blockSize))
	for done := int64(0); done < s.Len || s.Len == 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf = buf[:min(s.Len-done, blockSize)]
		if _, err := in.ReadAt(buf, s.At+done); err != nil && (!errors.Is(err, io.EOF) || len(buf) > 0) {
			return d.readError(s.index, err)
		}
		p.record(s.index, s.At+done, buf)
		done += int64(len(buf))
		if full != nil {
			if err := full(); err != nil {
				return err
			}
		}
		if s.Len == 0 {
			break
		}
	}
	return d.still(s.index, in)
}

// open opens a source, as it was when it was read first.
func (d *delivery) open(i int) (*os.File, error) {
	in, info, err := OpenRegular(d.sources[i].Local)
	if err != nil {
		return nil, err
	}
	if !same(info, d.infos[i]) {
		_ = in.Close()
		return nil, changed(d.sources[i].Local)
	}
	return in, nil
}

// still makes sure that a source is what it was: the file that was read, and,
// since that may have been replaced by another one, what is under its name.
func (d *delivery) still(i int, in *os.File) error {
	byPath, err := os.Stat(d.sources[i].Local)
	if info, serr := in.Stat(); err != nil || serr != nil || !same(info, d.infos[i]) || !same(byPath, d.infos[i]) {
		return changed(d.sources[i].Local)
	}
	return nil
}

func (d *delivery) readError(i int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return changed(d.sources[i].Local)
	}
	return err
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
	b.telling.Wait()
	return context.Cause(ctx)
}

func (b *outbox) fail(err error) {
	if err != nil {
		b.cancel(err)
	}
}

// add has a target written.
func (b *outbox) add(ctx context.Context, t *target, ranges []Range) error {
	t.handles = map[*sftp.Client]*handle{}
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
		w := b.wants[slices.IndexFunc(b.wants, func(w Want) bool { return w.Index == i })]
		if err := b.add(ctx, &target{path: w.Object, size: b.m.Files[i].Size, index: i, in: in}, ranges); err != nil {
			_ = in.Close()
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
			err = b.done(ctx, j.t)
		}
		b.fail(err)
	}
}

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
			data = make([]byte, size)
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
	// The last pack is told of with the end of it all, those before it by the way.
	told := b.packs[: len(b.packs)-1 : len(b.packs)-1]
	b.packs = b.packs[len(b.packs)-1:]
	b.telling.Go(func() { b.fail(b.far.Settle(ctx, Settlement{ID: b.id, Packs: told})) })
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
	if free < uint64(t.size)+block+maxWays*runners*jobLen {
		return fmt.Errorf("%s: %w: %s to send, %s free", name, ErrNoSpace, humanize.Bytes(uint64(t.size)), humanize.Bytes(free))
	}
	return fmt.Errorf("%s: the node refused it: %w (%s free there)", name, err, humanize.Bytes(free))
}
