package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/pkg/sftp"
)

// ErrNoSpace says that a file system is full.
var ErrNoSpace = errors.New("no space left on the node")

// InTheWayError says that a destination cannot be written for what is there.
type InTheWayError struct {
	Path string // absolute, on the node
	Why  string
}

func (e *InTheWayError) Error() string { return e.Path + ": " + e.Why }

// Far is the node as a delivery sees it: a file server, and an agent that has a
// Store.
type Far interface {
	SFTP(ctx context.Context) (*sftp.Client, error)  // a channel of the caller's own, who closes it
	Spare(ctx context.Context) (*sftp.Client, error) // one more; an error where the connection has no room for it
	Ask(ctx context.Context, q Query) (Answer, error)
	Settle(ctx context.Context, s Settlement) error
	Home() string   // absolute, on the node
	Bundle() string // absolute, on the node
}

// Sent says what a delivery did.
type Sent struct {
	Files, Bytes         int64 // of the manifest
	SentFiles, SentBytes int64 // that travelled, in whole or in part, as they are on this host
}

// Options of a delivery; the zero value is one that knows nothing from before.
type Options struct {
	Progress func(done, total int64) // in bytes, from one goroutine at a time; may be nil
	Index    *Index                  // of what was read before; may be nil
}

const (
	maxInline = 64 << 10  // bytes that go along with the question
	maxAlong  = 512 << 10 // bytes of a pack that goes along with the settlement
	grace     = time.Second
	near      = 10 * time.Millisecond // a question that is answered within that has no long way
)

// Deliver brings sources below root on the node: manifest, what is lacking,
// transfer, and then the agent hashes, syncs and renames. Only what the node does
// not have travels.
//
// When ctx is done Deliver returns within seconds, even on a dead link; what
// then still hangs in the link ends with it.
func Deliver(ctx context.Context, far Far, root string, sources []Source, o Options) (Sent, error) {
	s, err := deliver(ctx, far, root, sources, o)
	if err == nil || o.Index == nil || ctx.Err() != nil {
		return s, err
	}
	// What was known of a source may have been wrong: then the node said no to it.
	wrong, rerr := o.Index.wrong(ctx, sources)
	if rerr != nil || !wrong {
		return s, err
	}
	return deliver(ctx, far, root, sources, o)
}

func deliver(ctx context.Context, far Far, root string, sources []Source, o Options) (Sent, error) {
	m, infos, err := read(ctx, root, sources, o.Index)
	if err != nil {
		return Sent{}, err
	}
	d := &delivery{Options: o, far: far, m: m, sources: sources, infos: infos}
	reading, enough := context.WithCancel(ctx)
	defer enough()
	d.readLater(reading)
	s := Sent{Files: int64(len(m.Files))}
	for _, f := range m.Files {
		s.Bytes += f.Size
	}
	q := Query{Manifest: m}
	if s.Bytes <= maxInline && s.Bytes+int64(len(m.Files))<<10 <= 2*maxInline {
		if q.Inline, err = d.contents(); err != nil {
			return s, err
		}
	}
	asked := time.Now()
	a, err := far.Ask(ctx, q)
	d.near = time.Since(asked) < near
	if err == nil && a.Unread && len(d.later) > 0 {
		if _, err = d.sums(ctx); err == nil {
			a, err = far.Ask(ctx, q)
		}
	}
	if err == nil {
		err = d.understand(a)
	}
	if err != nil {
		return s, err
	}
	for _, i := range a.Took {
		s.SentFiles++
		s.SentBytes += m.Files[i].Size
	}
	if a.Done {
		return s, nil
	}
	if err := d.refine(ctx); err != nil {
		return s, err
	}
	for _, w := range d.wants {
		s.SentFiles++
		s.SentBytes += d.needed(w)
	}
	d.meter = meter{total: s.SentBytes, report: o.Progress}
	defer d.meter.stop()
	if err := d.send(ctx); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return s, err
	}
	d.meter.done()
	return s, nil
}

// delivery is one Deliver.
type delivery struct {
	Options
	far     Far
	m       Manifest
	sources []Source
	infos   []fs.FileInfo
	id      int
	into    string
	wants   []Want
	near    bool             // a round trip takes next to nothing
	later   map[int]*reading // files whose sum is not known yet, by index
	meter   meter
}

// contents reads all of the sources, which are few and small.
func (d *delivery) contents() ([][]byte, error) {
	all := make([][]byte, len(d.sources))
	for i, s := range d.sources {
		in, err := d.open(i)
		if err != nil {
			return nil, err
		}
		all[i], err = io.ReadAll(io.LimitReader(in, d.m.Files[i].Size+1))
		_ = in.Close()
		if err != nil {
			return nil, err
		}
		if sumHex(all[i]) != d.m.Files[i].SHA256 {
			return nil, changed(s.Local)
		}
	}
	return all, nil
}

// understand takes an answer in. Nothing in it is believed unseen.
func (d *delivery) understand(a Answer) error {
	last := -1
	for _, w := range a.Wants {
		if w.Index <= last || w.Index >= len(d.m.Files) {
			return fmt.Errorf("the node asks for file %d after %d of %d", w.Index, last, len(d.m.Files))
		}
		last = w.Index
		f := d.m.Files[w.Index]
		if w.Refused != "" {
			return &InTheWayError{Path: d.m.dest(f), Why: w.Refused}
		}
		var end int64
		for _, r := range w.Ranges {
			if r.At < end || r.Len < 0 || r.At > f.Size || r.Len > f.Size-r.At {
				return fmt.Errorf("the node asks for a piece of %s that is not there", f.Path)
			}
			end = r.At + r.Len
		}
	}
	for _, i := range a.Took {
		if i < 0 || i >= len(d.m.Files) {
			return fmt.Errorf("the node took file %d of %d", i, len(d.m.Files))
		}
	}
	d.id, d.into, d.wants = a.ID, a.Into, a.Wants
	return nil
}

// refine tells the node the chunks of those files that it has something like.
func (d *delivery) refine(ctx context.Context) error {
	q := Query{Refine: true, ID: d.id, Chunks: map[int][]byte{}}
	for _, w := range d.wants {
		if !w.Basis || len(q.Chunks) == maxRefined {
			continue
		}
		chunks, err := d.chunks(ctx, w.Index)
		if err != nil {
			return err
		}
		q.Chunks[w.Index] = packChunks(chunks)
	}
	if len(q.Chunks) == 0 {
		return nil
	}
	all := d.wants
	a, err := d.far.Ask(ctx, q)
	if err == nil {
		err = d.understand(a)
	}
	if err != nil {
		return err
	}
	for _, w := range d.wants {
		i := slices.IndexFunc(all, func(old Want) bool { return old.Index == w.Index })
		if i < 0 {
			return fmt.Errorf("the node asks for file %d, which it has", w.Index)
		}
		all[i] = w
	}
	d.wants = all
	return nil
}

// maxRefined bounds how many files' chunks are told at once.
const maxRefined = 200

func (d *delivery) chunks(ctx context.Context, i int) ([]Chunk, error) {
	in, err := d.open(i)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	sum, chunks, err := fingerprint(ctx, in, d.m.Files[i].Size)
	if err == nil && sum != d.m.Files[i].SHA256 || errors.Is(err, io.ErrUnexpectedEOF) {
		err = changed(d.sources[i].Local)
	}
	return chunks, err
}

// needed is how many bytes of a file the node wants.
func (d *delivery) needed(w Want) int64 {
	if len(w.Ranges) == 0 {
		return d.m.Files[w.Index].Size
	}
	var n int64
	for _, r := range w.Ranges {
		n += r.Len
	}
	return n
}

var errHangs = errors.New("the link does not answer")

// within runs fn, and waits for it until ctx has been done for a while. A call
// into a dead link ends only when the link is given up, by its deadlines.
func within(ctx context.Context, fn func() error) error {
	result := make(chan error, 1)
	go func() { result <- fn() }()
	stop := ctx.Done()
	if stop == nil { // a call that is always bounded
		closed := make(chan struct{})
		close(closed)
		stop = closed
	}
	select {
	case err := <-result:
		return err
	case <-stop:
	}
	select {
	case err := <-result:
		return err
	case <-time.After(grace):
		return errHangs
	}
}

// meter adds up what all workers send, and reports it now and then.
type meter struct {
	mu     sync.Mutex
	sent   int64
	total  int64
	last   time.Time
	report func(done, total int64)
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent += n
	if now := time.Now(); m.report != nil && now.Sub(m.last) > 50*time.Millisecond {
		m.last = now
		m.report(m.sent, m.total)
	}
}

// stop ends the reports: nobody is told anything after Deliver has returned.
func (m *meter) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.report = nil
}

func (m *meter) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.report != nil {
		m.report(m.total, m.total)
	}
}
