package jobs

import "slices"

// Hide has texts masked in all that the step says, as a secret is: its output,
// its messages and its note. It is for what the step does not look up, but may
// come upon.
func (e *Env) Hide(texts ...string) {
	if e.hide != nil {
		e.hide(texts)
		return
	}
	e.hidden = append(slices.Clone(e.hidden), texts...)
}

// Hidden gives what is hidden from the outset, for whoever has the step done by
// another process. An op is not told.
func (e *Env) Hidden() []string { return e.hidden }

// Filter masks texts in what one step says, for whoever hears of the step from
// elsewhere.
type Filter struct{ seen masker }

// NewFilter makes a filter of what is to be masked, which may be nothing.
func NewFilter(texts ...string) *Filter {
	f := &Filter{}
	for _, t := range texts {
		f.seen.add(t)
	}
	return f
}

// Feed takes the next piece of output, and gives what can be passed on: what
// may be the start of a text is held back until Flush.
func (f *Filter) Feed(p []byte) []byte { return f.seen.feed(p) }

// Flush gives what was held back, at the end of the output.
func (f *Filter) Flush() []byte { return f.seen.flush() }

// Result masks what a result says.
func (f *Filter) Result(r Result) Result {
	if len(f.seen.secrets) == 0 {
		return r
	}
	r.Message, r.Hint, r.Note = f.seen.mask(r.Message), f.seen.mask(r.Hint), f.seen.mask(r.Note)
	r.Tail = slices.Clone(r.Tail)
	for i, line := range r.Tail {
		r.Tail[i] = f.seen.mask(line)
	}
	return r
}
