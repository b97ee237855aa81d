package rehearsal

import (
	"sync"
	"testing"
)

// The passes of a rehearsal run at a time, and whoever listens hears one line
// after the other: what it does with them needs no lock.
func TestProgressIsToldOneLineAtATime(t *testing.T) {
	t.Parallel()
	const passes, lines = 4, 100
	var heard []string
	r := &Rehearsal{Tell: func(s string) { heard = append(heard, s) }}
	var all sync.WaitGroup
	for range passes {
		all.Go(func() {
			for step := range lines {
				r.tell("step %d", step)
			}
		})
	}
	all.Wait()
	if len(heard) != passes*lines {
		t.Errorf("got %d lines, want %d", len(heard), passes*lines)
	}
}
