package agent

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"example.org/conc/bundle"
)

// What is kept of a step's output. All of it is counted, and its last lines are
// in the step's result in any case.
const (
	liveBurst = 1 << 20   // bytes that are shown live at once
	liveRate  = 256 << 10 // bytes a second after that
	maxLog    = 16 << 20  // bytes of out-NN.log on the node
)

// outlet takes one step's output at the speed at which it comes: to the
// workstation as far as the line and a person can follow, and to a bounded file
// on the node.
type outlet struct {
	step int
	q    *queue
	path string // of the file, for people
	now  func() time.Time

	mu      sync.Mutex
	file    io.WriteCloser // nil: none
	room    int64          // bytes left in the file
	unkept  int64          // bytes that were not written to it
	tokens  float64        // bytes that may be shown now
	filled  time.Time
	dropped int64 // bytes that were not shown
	skip    bool  // the last piece was dropped: go on at the start of a line
}

func (se *session) outlet(step int) *outlet {
	name := fmt.Sprintf("out-%02d.log", step)
	o := &outlet{
		step: step, q: se.out, now: time.Now, tokens: liveBurst, filled: time.Now(),
		path: filepath.Join("~", ".conc", "runs", se.owner.Run, name),
	}
	// Without the file the step is run all the same: what counts is its status.
	f, err := os.OpenFile(filepath.Join(bundle.RunDir(se.Home, se.owner.Run), name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		se.Log.Warn().Err(err).Msg("the output is not kept")
		return o
	}
	o.file, o.room = f, maxLog
	if fi, err := f.Stat(); err == nil {
		o.room = max(0, maxLog-fi.Size())
	}
	return o
}

// Write never waits for the workstation, and never fails.
func (o *outlet) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep(p)
	o.show(p)
	return len(p), nil
}

func (o *outlet) keep(p []byte) {
	if o.file == nil {
		return
	}
	n := min(int64(len(p)), o.room)
	if n > 0 {
		if _, err := o.file.Write(p[:n]); err != nil {
			n, o.room = 0, 0
		}
	}
	o.room = max(0, o.room-n)
	o.unkept += int64(len(p)) - n
}

func (o *outlet) show(p []byte) {
	now := o.now()
	o.tokens = min(liveBurst, o.tokens+now.Sub(o.filled).Seconds()*liveRate)
	o.filled = now
	shown := p
	if o.skip {
		shown = shown[bytes.IndexByte(shown, '\n')+1:]
		if len(shown) == len(p) { // still in the middle of a line
			o.dropped += int64(len(p))
			return
		}
	}
	if float64(len(shown)) > o.tokens || !o.q.pushOut(o.step, shown) {
		if o.dropped == 0 {
			o.q.pushNote(o.step, "output truncated here: it comes faster than it can be shown")
		}
		o.dropped += int64(len(p))
		o.skip = true
		return
	}
	o.tokens -= float64(len(shown))
	o.dropped += int64(len(p) - len(shown))
	o.skip = false
}

func (o *outlet) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dropped > 0 {
		where := ""
		if o.file != nil && o.unkept == 0 {
			where = "; all of it is on the node in " + o.path
		} else if o.file != nil {
			where = fmt.Sprintf("; its first %d MiB are on the node in %s", maxLog>>20, o.path)
		}
		o.q.pushNote(o.step, fmt.Sprintf("output truncated: %d bytes were not shown%s", o.dropped, where))
	}
	if o.file == nil {
		return
	}
	if o.unkept > 0 {
		fmt.Fprintf(o.file, "\n[conc: output truncated: %d bytes more were not kept]\n", o.unkept)
	}
	_ = o.file.Close()
	o.file = nil
}
