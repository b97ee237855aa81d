package jobs

import (
	"context"
	"time"
)

// Result is how a step ended, in a form that can travel.
type Result struct {
	Step    int           `json:"step"`
	Status  Status        `json:"status"`
	Message string        `json:"message,omitempty"` // the error, without the step's name
	Hint    string        `json:"hint,omitempty"`
	Exit    int           `json:"exit,omitempty"`
	Signal  int           `json:"signal,omitempty"`
	Tries   int           `json:"tries,omitempty"` // over 1 only when it was retried
	Took    time.Duration `json:"took"`            // nanoseconds
	Tail    []string      `json:"tail,omitempty"`  // the last lines of output, at most 20, each at most 1000 bytes, not escaped
	Lines   int           `json:"lines,omitempty"` // lines of output in all
	Bytes   int64         `json:"bytes,omitempty"` // bytes of output in all
	Note    string        `json:"note,omitempty"`  // what an OK step wants said on its line ("118.2 MB, sha256 verified")
	Owner   []byte        `json:"owner,omitempty"` // the holder's record, JSON, when a lock was BLOCKED
}

// Sink is told what happens while steps run. Its methods are called in order
// from one goroutine at a time and must not block for long.
type Sink interface {
	Begin(step int)
	Output(step int, p []byte) // p is valid until the call returns
	Progress(step int, done, total int64)
	End(r Result)
}

// Perform runs one step to its end on this host: secrets revealed, time limit
// held, retries done, a panic turned into ERROR, output counted and its tail
// kept. It is the only place where an op is run, on either host. env.Out gets
// the output as it comes.
//
// A step whose op has not returned 15 s after its limit or its cancellation is
// ERROR: it may still be running.
func Perform(ctx context.Context, s Step, env *Env) Result { panic("contract") }
