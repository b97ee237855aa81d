package jobs

import (
	"io"
	"sync"
)

// recorder stands between an op and the outside: it masks, counts and keeps the
// end of the output, and passes it on. An op that outlives its step talks to a
// closed recorder, which hears nothing.
type recorder struct {
	mu       sync.Mutex
	closed   bool
	seen     *masker
	out      io.Writer
	progress func(done, total int64)
	note     string

	bytes int64
	tail  Tail
}

func newRecorder(env *Env) *recorder {
	r := &recorder{seen: &masker{}, out: env.Out, progress: env.Progress}
	r.hide(env.hidden)
	return r
}

// env gives a copy of env whose ways out lead through the recorder.
func (r *recorder) env(env *Env) *Env {
	e := *env
	e.Out = r
	e.Progress = func(done, total int64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.closed && r.progress != nil {
			r.progress(done, total)
		}
	}
	e.note = func(s string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.note = s
	}
	e.mask = r.mask
	e.hidden, e.hide = nil, r.hide
	lookup := env.Secret
	e.Secret = func(name string) (string, error) {
		v, err := lookup(name)
		if err == nil {
			r.hide([]string{v})
		}
		return v, err
	}
	return &e
}

func (r *recorder) hide(texts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range texts {
		r.seen.add(t)
	}
}

// Write takes output of any kind. It never fails, so that a command is not
// killed by a broken pipe because somebody stopped listening.
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.emit(r.seen.feed(p))
	}
	return len(p), nil
}

func (r *recorder) emit(p []byte) {
	if len(p) == 0 {
		return
	}
	r.bytes += int64(len(p))
	_, _ = r.tail.Write(p)
	if r.out != nil {
		_, _ = r.out.Write(p)
	}
}

// close passes on what was held back, and ends the recording.
func (r *recorder) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.emit(r.seen.flush())
	r.closed = true
}

// report puts what was recorded into the result.
func (r *recorder) report(res *Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	res.Bytes, res.Lines, res.Tail = r.bytes, r.tail.Count(), r.tail.Lines()
	res.Note = r.seen.mask(r.note)
}

// mask hides the secrets that the step looked up in a text of its own.
func (r *recorder) mask(s string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen.mask(s)
}
