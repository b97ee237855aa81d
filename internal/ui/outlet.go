package ui

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// maxWaiting bounds the live output that waits for a stream to take it.
	maxWaiting = 1 << 20
	// stall is how long whoever writes waits for a stream to take it. When it has
	// not by then, nobody waits until it has taken all there is.
	stall = 500 * time.Millisecond
	// joined is up to how many bytes pieces of live output are written as one.
	joined = 4 << 10
)

// outlet writes to the two streams, in order, and keeps nobody waiting for a
// terminal that is stopped (Ctrl-S), or for a pipe that nobody reads. Live output
// that waits is bounded: the oldest goes, and that is said. All else stays until
// it is written. To streams that cannot stall, as files, nothing of this applies.
type outlet struct {
	out, err io.Writer
	async    bool
	notice   func(lost int64) (io.Writer, []byte) // what stands for output that was left out

	mu       sync.Mutex
	sure     []piece       // each of the two
	live     []piece       // in order
	last     int           // the number of the newest piece
	waiting  int           // bytes in live
	lost     int64         // bytes of live output that went
	stalled  bool          // nobody waits for what is written
	question string        // that stands open on err
	asked    bool          // and is the last thing there
	idle     chan struct{} // closed when there is nothing to write; nil when there is nothing now
}

type piece struct {
	n    int
	w    io.Writer
	data []byte
}

func newOutlet(out, err io.Writer) *outlet {
	return &outlet{out: out, err: err, async: stalls(out) || stalls(err)}
}

// stalls tells whether a stream may keep a writer waiting without end.
func stalls(stream io.Writer) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && !info.Mode().IsRegular()
}

// put has data written to one of the streams, in its turn.
func (o *outlet) put(w io.Writer, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.breakLine(w)
	o.add(w, data)
}

// add writes data to a stream, with o.mu held.
func (o *outlet) add(w io.Writer, data []byte) {
	if !o.async {
		// A reader that went away must not end a deploy.
		_, _ = w.Write(data)
		return
	}
	o.last++
	o.sure = append(o.sure, piece{o.last, w, bytes.Clone(data)})
	o.await()
}

// putLive is put for what may be left out.
func (o *outlet) putLive(w io.Writer, data []byte) {
	if !o.async {
		o.put(w, data)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.breakLine(w)
	for o.waiting+len(data) > maxWaiting && len(o.live) > 0 {
		gone := len(o.live[0].data)
		o.lost, o.waiting, o.live = o.lost+int64(gone), o.waiting-gone, o.live[1:]
	}
	o.waiting += len(data)
	if i := len(o.live) - 1; i >= 0 && o.live[i].n == o.last && o.live[i].w == w && len(o.live[i].data) < joined {
		o.live[i].data = append(o.live[i].data, data...)
		return // whoever put the first of it has waited
	}
	o.last++
	o.live = append(o.live, piece{o.last, w, bytes.Clone(data)})
	o.await()
}

// breakLine ends the line of an open question, with o.mu held.
func (o *outlet) breakLine(w io.Writer) {
	if o.asked && Terminal(w) {
		o.asked = false
		o.add(o.err, []byte("\n"))
	}
}

// await has somebody write what waits, and waits for it, with o.mu held.
func (o *outlet) await() {
	if o.idle == nil {
		o.idle = make(chan struct{})
		go o.write()
	}
	if o.stalled {
		return
	}
	idle := o.idle
	o.mu.Unlock()
	done := within(idle, stall)
	o.mu.Lock()
	o.stalled = !done && o.idle != nil
}

// within waits for c to be closed, but no longer than limit.
func within(c <-chan struct{}, limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

// write writes until there is nothing left.
func (o *outlet) write() {
	for {
		p, ok := o.next()
		if !ok {
			return
		}
		_, _ = p.w.Write(p.data) // as in add
	}
}

// next takes the oldest piece out.
func (o *outlet) next() (p piece, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case len(o.live) > 0 && (len(o.sure) == 0 || o.live[0].n < o.sure[0].n):
		if o.lost > 0 {
			p.w, p.data = o.notice(o.lost)
			o.lost = 0
			return p, true
		}
		p, o.live = o.live[0], o.live[1:]
		o.waiting -= len(p.data)
	case len(o.sure) > 0:
		p, o.sure = o.sure[0], o.sure[1:]
	default:
		close(o.idle)
		o.idle, o.stalled = nil, false
		return p, false
	}
	return p, true
}

// busy tells whether something waits to be written.
func (o *outlet) busy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.idle != nil
}

// flush waits until everything is written, but no longer than limit; 0 is none.
func (o *outlet) flush(limit time.Duration) {
	o.mu.Lock()
	idle := o.idle
	o.mu.Unlock()
	switch {
	case idle == nil:
	case limit > 0:
		within(idle, limit)
	default:
		<-idle
	}
}

// ask puts a question, which stays the last thing on the terminal until answered.
func (o *outlet) ask(question string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.question, o.asked = question, true
	o.add(o.err, []byte(question))
}

// more writes what belongs to a question.
func (o *outlet) more(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(o.err, []byte(text))
}

// askAgain puts the question below what was written since.
func (o *outlet) askAgain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.question != "" && !o.asked {
		o.asked = true
		o.add(o.err, []byte(o.question))
	}
}

func (o *outlet) answered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.question, o.asked = "", false
}

// way is one of the outlet's streams, as a writer.
type way struct {
	o    *outlet
	w    io.Writer
	live bool
}

// Write never fails: a reader that went away must not end a deploy.
func (w way) Write(p []byte) (int, error) {
	if w.live {
		w.o.putLive(w.w, p)
	} else {
		w.o.put(w.w, p)
	}
	return len(p), nil
}
