package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
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

// Far is the node as a delivery sees it: a file server, and an agent that
// judges what has arrived.
type Far interface {
	SFTP(ctx context.Context) (*sftp.Client, error) // a channel of the caller's own, who closes it
	Lacking(ctx context.Context, m Manifest) ([]Want, error)
	Settle(ctx context.Context, m Manifest, sent []Want) error
	Home() string   // absolute, on the node
	Bundle() string // absolute, on the node
}

// Sent says what a delivery did.
type Sent struct {
	Files, Bytes         int64 // of the manifest
	SentFiles, SentBytes int64 // that travelled
}

const (
	workers     = 8         // files on their way at the same time
	inFlight    = 64        // packets of one file on their way
	small       = 32 << 10  // goes as one packet, whatever the server
	frameBudget = 200 << 10 // bytes of JSON in one question to the agent
	grace       = time.Second
)

// Deliver brings sources below root on the node: manifest, what is lacking,
// transfer to temporary names, hash, sync and rename by the agent. progress is
// called with bytes, from one goroutine at a time; it may be nil.
//
// When ctx is done Deliver returns within seconds, even on a dead link; what
// then still hangs in the link ends with it.
func Deliver(ctx context.Context, far Far, root string, sources []Source, progress func(done, total int64)) (Sent, error) {
	m, infos, err := read(ctx, root, sources)
	if err != nil {
		return Sent{}, err
	}
	d := &delivery{far: far, m: m, sources: sources, infos: infos, begun: make([]bool, len(sources))}
	s := Sent{Files: int64(len(m.Files))}
	for _, f := range m.Files {
		s.Bytes += f.Size
	}
	for batch := range d.batches(d.all()) {
		if err := d.ask(ctx, batch); err != nil {
			return s, err
		}
	}
	for _, w := range d.wants {
		s.SentFiles++
		s.SentBytes += m.Files[w.Index].Size
	}
	if len(d.wants) == 0 {
		return s, nil
	}
	d.meter = meter{total: s.SentBytes, report: progress}
	defer d.meter.stop()

	client, err := far.SFTP(ctx)
	if err != nil {
		return s, err
	}
	defer within(context.Background(), func() error { return client.Close() })
	err = within(ctx, func() error {
		return each(ctx, workers, len(d.wants), func(ctx context.Context, i int) error {
			return d.send(ctx, client, i)
		})
	})
	if err == nil {
		err = d.settle(ctx)
	}
	if err != nil {
		if !errors.Is(err, errHangs) {
			d.withdraw(client)
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return s, err
	}
	d.meter.done()
	return s, nil
}

type delivery struct {
	far     Far
	m       Manifest
	sources []Source
	infos   []fs.FileInfo
	wants   []Want
	begun   []bool // by index in wants: there may be a temporary file
	meter   meter
}

func (d *delivery) all() []Want {
	all := make([]Want, len(d.m.Files))
	for i := range all {
		all[i].Index = i
	}
	return all
}

// batches cuts wants so that a question about each part fits in a frame, and
// its answer too.
func (d *delivery) batches(wants []Want) func(yield func([]Want) bool) {
	return func(yield func([]Want) bool) {
		start, size := 0, 0
		for i, w := range wants {
			file, _ := json.Marshal(d.m.Files[w.Index])
			temp, _ := json.Marshal(path.Join(d.m.Root, path.Dir(d.m.Files[w.Index].Path)))
			cost := len(file) + len(temp) + 150
			if size+cost > frameBudget && i > start {
				if !yield(wants[start:i]) {
					return
				}
				start, size = i, 0
			}
			size += cost
		}
		if start < len(wants) {
			yield(wants[start:])
		}
	}
}

// part is the manifest of a batch alone.
func (d *delivery) part(batch []Want) Manifest {
	m := Manifest{Root: d.m.Root, Files: make([]File, len(batch))}
	for i, w := range batch {
		m.Files[i] = d.m.Files[w.Index]
	}
	return m
}

// ask asks the node which files of a batch it lacks.
func (d *delivery) ask(ctx context.Context, batch []Want) error {
	wants, err := d.far.Lacking(ctx, d.part(batch))
	if err != nil {
		return err
	}
	last := -1
	for _, w := range wants {
		if w.Index <= last || w.Index >= len(batch) {
			return fmt.Errorf("the node asks for file %d after %d of %d", w.Index, last, len(batch))
		}
		last = w.Index
		w.Index = batch[w.Index].Index
		if w.Refused != "" {
			return &InTheWayError{Path: d.m.dest(d.m.Files[w.Index]), Why: w.Refused}
		}
		d.wants = append(d.wants, w)
	}
	return nil
}

// send sends one file to its temporary name: open, write, close.
func (d *delivery) send(ctx context.Context, client *sftp.Client, i int) error {
	w := d.wants[i]
	f, local := d.m.Files[w.Index], d.sources[w.Index].Local
	in, info, err := OpenRegular(local)
	if err != nil {
		return err
	}
	defer in.Close()
	if !same(info, d.infos[w.Index]) {
		return changed(local)
	}
	d.begun[i] = true
	out, err := client.OpenFile(w.Temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return d.refused(client, w, 0, err)
	}
	r := &reading{ctx: ctx, r: io.LimitReader(in, f.Size), meter: &d.meter}
	err = pour(out, r, f.Size)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	switch {
	case r.err != nil:
		return r.err
	case err != nil:
		return d.refused(client, w, r.n, err)
	}
	// By path as well: the file may have been replaced by another one.
	byPath, err := os.Stat(local)
	if info, serr := in.Stat(); r.n != f.Size || err != nil || serr != nil ||
		!same(info, d.infos[w.Index]) || !same(byPath, d.infos[w.Index]) {
		return changed(local)
	}
	return nil
}

// pour writes all of r. A large file's packets go at the same time; should one
// of them fail, the file has a hole, and no one will rename it.
func pour(out *sftp.File, r io.Reader, size int64) error {
	if size > small {
		_, err := out.ReadFromWithConcurrency(r, inFlight)
		return err
	}
	data, err := io.ReadAll(r)
	if err == nil && len(data) > 0 {
		_, err = out.Write(data)
	}
	return err
}

// refused says why the node did not take a file. The protocol has no word for
// a full disk, so the file system is asked.
func (d *delivery) refused(client *sftp.Client, w Want, written int64, err error) error {
	f := d.m.Files[w.Index]
	dest := d.m.dest(f)
	var status *sftp.StatusError
	if !errors.As(err, &status) {
		return fmt.Errorf("%s: %w", dest, err)
	}
	vfs, verr := client.StatVFS(path.Dir(w.Temp))
	if verr != nil {
		return fmt.Errorf("%s: the node refused it: %w", dest, err)
	}
	block := max(vfs.Frsize, 1)
	free := vfs.Bavail * block
	if free < uint64(max(f.Size-written, 0))+block+inFlight*small {
		return fmt.Errorf("%s: %w: %s to send, %s free", dest, ErrNoSpace, humanize.Bytes(uint64(f.Size)), humanize.Bytes(free))
	}
	return fmt.Errorf("%s: the node refused it: %w (%s free there)", dest, err, humanize.Bytes(free))
}

// settle has the agent judge what arrived. Only then does any destination change.
func (d *delivery) settle(ctx context.Context) error {
	done := 0
	for batch := range d.batches(d.wants) {
		sent := make([]Want, len(batch))
		for i, w := range batch {
			sent[i] = Want{Index: i, Temp: w.Temp}
		}
		if err := d.far.Settle(ctx, d.part(batch), sent); err != nil {
			return err
		}
		for i := range batch {
			d.begun[done+i] = false
		}
		done += len(batch)
	}
	return nil
}

// withdraw removes the temporary files, as far as the link allows. What it
// cannot reach is removed by the next delivery of the same files.
func (d *delivery) withdraw(client *sftp.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = within(ctx, func() error {
		return each(ctx, workers, len(d.wants), func(_ context.Context, i int) error {
			if d.begun[i] || d.m.Files[d.wants[i].Index].Mode&0o004 == 0 {
				_ = client.Remove(d.wants[i].Temp)
			}
			return nil
		})
	})
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

// reading is a source on its way: it ends with its ctx, and counts.
type reading struct {
	ctx   context.Context
	r     io.Reader
	n     int64
	err   error // of the source, not of the node
	meter *meter
}

func (r *reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		r.err = err
		return 0, err
	}
	n, err := r.r.Read(p)
	r.n += int64(n)
	r.meter.add(int64(n))
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
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
