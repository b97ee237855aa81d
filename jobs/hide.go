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
