package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rs/zerolog"

	"example.org/conc/bundle"
	"example.org/conc/config"
)

// Env is what an op is given. Its fields are set by conc; an op does not
// change them.
type Env struct {
	Node *config.Node // the node's attributes, on both hosts
	Host Host         // the host that the op is on
	Step int          // the step's number, from 1

	Home   string       // the home directory on this host, absolute
	Dir    string       // where relative paths start: Home on the node, deploy.ini's folder on the workstation
	Bundle string       // the bundle's path on this host, absolute
	Owner  bundle.Owner // who runs this, for the lock

	SSH []string // how the user's own ssh reaches the node, ending in user@host: for a local op; else nil

	Log      zerolog.Logger
	Out      io.Writer                         // live output: bytes of any kind, bounded and escaped by conc
	Progress func(done, total int64)           // in bytes; never nil; total 0 when not known
	Index    *bundle.Index                     // what is known of local files; may be nil
	Far      bundle.Far                        // the node, for a local op of a run that has one; else nil
	Secret   func(name string) (string, error) // looks a secret up by its name; never nil

	// Ask is for hold: nil to go on, ErrNoAnswer when nobody can be asked. Once
	// ctx is done nobody is asked any more.
	Ask func(ctx context.Context, question string) error

	// Leave is closed when the operator leaves at once: what is being ended gets
	// no more time. nil: never.
	Leave <-chan struct{}

	// Call carries out one of the program's procedures on this host, and puts
	// what it returns into result; nil where there are none.
	Call func(ctx context.Context, c Call, result any) error

	hidden []string       // see Hide
	hide   func([]string) // while the step runs

	note func(string)
	mask func(string) string
}

// Mask hides in s the secrets that were looked up so far, and every token of one.
func (e *Env) Mask(s string) string {
	if e.mask == nil {
		return config.Mask(s)
	}
	return e.mask(s)
}

// Note sets the remark on the step's OK line: "118.2 MB, sha256 verified". The
// last one counts.
func (e *Env) Note(format string, args ...any) {
	if e.note != nil {
		e.note(fmt.Sprintf(format, args...))
	}
}

// ErrNoAnswer says that a question was put and nobody can answer it.
var ErrNoAnswer = errors.New("nobody can be asked")

// Attr gives a node's attribute with its secrets revealed, for an op's own use.
func (e *Env) Attr(key string) (string, error) {
	return config.Reveal(e.Node.Get(key), e.Secret)
}
