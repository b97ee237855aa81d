package nodetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"example.org/conc/jobs"
)

// The procedures that a node is asked for.
const (
	procSuite = "nodetest.suite" // a suite; its results are written as JSON lines
	procCheck = "nodetest.check" // one check, as root; its result is the answer
	procClock = "nodetest.clock" // the time there, nanoseconds since 1970
)

type suiteParams struct {
	Specs   []Spec  `json:"specs"`
	Options Options `json:"options"`
}

type checkParams struct {
	Spec    Spec    `json:"spec"`
	Options Options `json:"options"`
}

// Procedures are what an agent must know in order to make checks, and to run Go
// tests.
func (c Catalogue) Procedures() jobs.Procedures {
	return jobs.Procedures{
		procRoom:  roomProcedure,
		procGo:    goProcedure,
		procSudo:  sudoProcedure,
		procClear: clearProcedure,
		procSuite: func(ctx context.Context, env *jobs.Env, params json.RawMessage) (any, error) {
			var p suiteParams
			if err := json.Unmarshal(params, &p); err != nil {
				return nil, err
			}
			var broken error
			lines := json.NewEncoder(env.Out)
			c.Run(ctx, env, p.Specs, p.Options, func(r Result) { broken = errors.Join(broken, lines.Encode(r)) })
			return len(p.Specs), broken
		},
		procCheck: func(ctx context.Context, env *jobs.Env, params json.RawMessage) (any, error) {
			var p checkParams
			if err := json.Unmarshal(params, &p); err != nil {
				return nil, err
			}
			ctx = context.WithValue(ctx, aheadKey{}, p.Options.Ahead)
			return c.once(ctx, env, p.Spec), nil
		},
		procClock: func(context.Context, *jobs.Env, json.RawMessage) (any, error) {
			return time.Now().UnixNano(), nil
		},
	}
}

// Caller is a node that can be asked: *agent.Client is one.
type Caller interface {
	Call(ctx context.Context, call jobs.Call, result any) error
}

// RunOn makes the suite's checks on a node, and reports each in the suite's
// order. It costs one round trip, and one more when the suite looks at the
// clock. Where it returns an error, the checks that were not reported have no
// result.
func (s Suite) RunOn(ctx context.Context, node Caller, o Options, report func(Result)) error {
	if len(s.Checks) == 0 {
		return nil
	}
	if o.Ahead == nil && slices.ContainsFunc(s.Checks, func(c Spec) bool { return c.kind() == "clock" }) {
		ahead, err := ahead(ctx, node)
		if err != nil {
			return err
		}
		o.Ahead = &ahead
	}
	in, out := io.Pipe()
	var asked error
	over := make(chan struct{})
	go func() {
		defer close(over)
		var n int
		asked = node.Call(ctx, jobs.Call{Procedure: procSuite, Params: suiteParams{s.Checks, o}, Out: out}, &n)
		_ = out.Close() // never fails
	}()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	next := 0
	var bad error
	for bad == nil && lines.Scan() {
		var r Result
		if bad = json.Unmarshal(lines.Bytes(), &r); bad != nil {
			break
		}
		if next >= len(s.Checks) || r.N != s.Checks[next].N {
			bad = errors.New("one is of a check that was not asked for")
			break
		}
		// What it is called is known here.
		r.Name, r.Check = s.Checks[next].Name, s.Checks[next].kind()
		next++
		report(r.sober())
	}
	if bad == nil {
		bad = lines.Err()
	}
	_ = in.CloseWithError(errTaken) // a call that is not over ends on it
	<-over
	switch {
	case bad != nil:
		return jobs.Errorf("the node's results cannot be read: %w", bad)
	case asked != nil:
		return asked
	case next < len(s.Checks):
		return jobs.Errorf("the node told of %d checks, not of %d", next, len(s.Checks))
	}
	return nil
}

// maxLine bounds, in bytes, one result on the line.
const maxLine = 1 << 20

var errTaken = errors.New("nothing more is taken")

// ahead measures by how much the node's clock is ahead of this one, give or
// take half the round trip.
func ahead(ctx context.Context, node Caller) (time.Duration, error) {
	sent := time.Now()
	var there int64
	if err := node.Call(ctx, jobs.Call{Procedure: procClock}, &there); err != nil {
		return 0, err
	}
	return time.Unix(0, there).Sub(sent.Add(time.Since(sent) / 2)), nil
}
