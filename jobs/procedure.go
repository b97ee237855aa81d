package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
)

// Procedure is work that is asked for by name and done on either host, outside
// of a list of steps: a suite of checks, say. What it writes to env.Out is its
// caller's, whole and in order, so a caller that is slow slows it down. Its
// parameters and its result travel as JSON.
type Procedure func(ctx context.Context, env *Env, params json.RawMessage) (any, error)

// Procedures is what a program can be asked for, by name.
type Procedures map[string]Procedure

// Call asks for a procedure.
type Call struct {
	Procedure string
	Sudo      bool      // as root
	Params    any       // made JSON of
	Out       io.Writer // takes what it writes; nil is nobody
}

// Do carries out a procedure here, with the env it is given. Secrets that it
// looks up are masked in its output and its error; what it returns is not
// looked through: Env.Mask does that. A panic is an error.
func (ps Procedures) Do(ctx context.Context, env *Env, name string, params json.RawMessage) (result json.RawMessage, err error) {
	p, ok := ps[name]
	if !ok {
		return nil, Errorf("this program has no procedure %q", name)
	}
	rec := newRecorder(env)
	e := rec.env(env)
	defer rec.close()
	defer func() {
		if v := recover(); v != nil {
			e.Log.Error().Interface("panic", v).Bytes("stack", debug.Stack()).Msg("a procedure panicked")
			err = Errorf("panic: %v", v)
		}
		if err != nil {
			masked := &Error{Status: StatusOf(err), Err: &cutShort{text: rec.mask(err.Error()), why: err}}
			if e := (*Error)(nil); errors.As(err, &e) {
				masked.Hint = rec.mask(e.Hint)
			}
			err = masked
		}
	}()
	answer, err := p(ctx, e, params)
	if err != nil {
		return nil, err
	}
	result, err = json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("the result of %s: %w", name, err)
	}
	return result, nil
}
