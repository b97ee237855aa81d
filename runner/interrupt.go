package runner

import "sync"

// Interrupt carries the operator's Ctrl-C to the runs of one command. One
// Interrupt serves any number of runners.
type Interrupt struct {
	mu     sync.Mutex
	raised int
	levels [2]chan struct{}
}

// NewInterrupt returns an Interrupt that nobody has raised yet.
func NewInterrupt() *Interrupt {
	return &Interrupt{levels: [2]chan struct{}{make(chan struct{}), make(chan struct{})}}
}

// Raise says it once more, and tells how often it was said. The first time,
// no further step is started; the second, the running step is cancelled. What a
// third time means is the caller's: to leave at once, it cancels the context.
func (i *Interrupt) Raise() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.raised < len(i.levels) {
		close(i.levels[i.raised])
	}
	i.raised++
	return i.raised
}

// Stop is closed when no further step is to be started.
func (i *Interrupt) Stop() <-chan struct{} { return i.levels[0] }

// Cancel is closed when the running step is to be ended.
func (i *Interrupt) Cancel() <-chan struct{} { return i.levels[1] }

// Raised tells whether it was said at all.
func (i *Interrupt) Raised() bool {
	select {
	case <-i.levels[0]:
		return true
	default:
		return false
	}
}
