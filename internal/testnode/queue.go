package testnode

import (
	"sync"
	"time"
)

// piece is some bytes on the line, or the end of them.
type piece struct {
	due   time.Time
	data  []byte
	end   bool
	reset bool // the end was not an orderly one
}

// queue is the line itself: what was read at one end and not yet written at the
// other. It keeps the order.
type queue struct {
	mu     sync.Mutex
	change *sync.Cond
	pieces []piece
	size   int
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.change = sync.NewCond(&q.mu)
	return q
}

// put waits for room. It is false when nobody takes any more.
func (q *queue) put(p piece) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.size >= inFlight && !q.closed {
		q.change.Wait()
	}
	if q.closed {
		return false
	}
	q.pieces = append(q.pieces, p)
	q.size += len(p.data)
	q.change.Broadcast()
	return true
}

// take waits for a piece.
func (q *queue) take() piece {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pieces) == 0 {
		q.change.Wait()
	}
	p := q.pieces[0]
	q.pieces[0] = piece{}
	q.pieces = q.pieces[1:]
	q.size -= len(p.data)
	q.change.Broadcast()
	return p
}

// close lets a waiting put go.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.change.Broadcast()
}
