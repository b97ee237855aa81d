package agent

import (
	"bufio"
	"encoding/binary"
	"io"
	"sync"
)

// maxQueued bounds the output that waits in a queue. What is not output waits
// without bound, and is bounded by what it tells of: steps, calls.
const maxQueued = 2 << 20

// queue holds frames between one who must not wait (a step, a reader of the
// line) and one who may be slow (the line, a terminal). Output that finds it
// full is refused; small pieces of output are joined.
type queue struct {
	mu     sync.Mutex
	frames []frame
	out    int           // bytes of output in frames
	wake   chan struct{} // holds one token when there may be something to pop
	closed bool
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// push appends frames, together. A progress, ping or pong takes the place of
// one that still waits.
func (q *queue) push(frames ...frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range frames {
		q.put(f)
	}
	q.signal()
}

func (q *queue) put(f frame) {
	switch f.kind {
	case kindProgress, kindPing, kindPong:
		for i := range q.frames {
			if q.frames[i].kind == f.kind && q.frames[i].step == f.step {
				q.frames[i].body = f.body
				return
			}
		}
	}
	q.frames = append(q.frames, f)
}

// pushOut appends a copy of a step's output, or none of it: false, when too
// much is waiting.
func (q *queue) pushOut(step int, p []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.out+len(p) > maxQueued {
		return false
	}
	q.putOut(step, p)
	return true
}

// pushCall appends a copy of a call's output, or none of it: false, when too
// much is waiting. p is not over maxOut.
func (q *queue) pushCall(id uint32, p []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.out+len(p) > maxQueued {
		return false
	}
	q.out += len(p)
	q.frames = append(q.frames, frame{kind: kindCallOut, body: append(binary.BigEndian.AppendUint32(nil, id), p...)})
	q.signal()
	return true
}

// pushNote appends a line of conc's own to a step's output, however much is
// waiting. There are two a step at most.
func (q *queue) pushNote(step int, text string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.putOut(step, []byte("\n[conc: "+text+"]\n"))
}

func (q *queue) putOut(step int, p []byte) {
	q.out += len(p)
	for len(p) > 0 {
		last := len(q.frames) - 1
		if last >= 0 && q.frames[last].kind == kindOut && q.frames[last].step == uint16(step) && len(q.frames[last].body) < maxOut {
			n := min(len(p), maxOut-len(q.frames[last].body))
			q.frames[last].body = append(q.frames[last].body, p[:n]...)
			p = p[n:]
			continue
		}
		n := min(len(p), maxOut)
		q.frames = append(q.frames, frame{kind: kindOut, step: uint16(step), body: append([]byte(nil), p[:n]...)})
		p = p[n:]
	}
	q.signal()
}

// pop takes the first frame, if there is one.
func (q *queue) pop() (f frame, ok, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.frames) == 0 {
		return frame{}, false, q.closed
	}
	f = q.frames[0]
	q.frames[0] = frame{}
	q.frames = q.frames[1:]
	switch f.kind {
	case kindOut:
		q.out -= len(f.body)
	case kindCallOut:
		q.out -= len(f.body) - idLen
	}
	return f, true, false
}

// close lets drain return once the queue is empty.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// drain writes frames as they come, until close or an error of w.
func (q *queue) drain(w io.Writer) error {
	b := bufio.NewWriterSize(w, maxOut)
	for {
		f, ok, closed := q.pop()
		if ok {
			if err := writeFrame(b, f); err != nil {
				return err
			}
			continue
		}
		if err := b.Flush(); err != nil {
			return err
		}
		if closed {
			return nil
		}
		<-q.wake
	}
}
