// Package bundle is the bundle directory: the lock that says a node is being
// reconfigured, and the place that files are delivered to.
package bundle

import (
	"fmt"
	"time"
)

// Owner is the record in an open bundle that says who holds the node.
type Owner struct {
	V       int       `json:"v"`   // 1
	Run     string    `json:"run"` // ULID
	User    string    `json:"user"`
	Host    string    `json:"host"` // the operator's workstation
	Since   time.Time `json:"since"`
	Node    string    `json:"node"`
	List    string    `json:"list"`
	Message string    `json:"message,omitempty"`
	Version string    `json:"version,omitempty"` // of conc
	Release string    `json:"release,omitempty"` // of the application: the node's "version" attribute
}

// Short is the form of a run id that people see: the last 8 characters.
func Short(run string) string {
	if len(run) <= 8 {
		return run
	}
	return run[len(run)-8:]
}

// HeldError says that the bundle is there already.
type HeldError struct {
	Dir   string
	Owner *Owner // nil: unknown
	Step  string // where its run is, as far as the node's journal tells; may be empty
	Alive bool   // an agent of that run is running now
}

func (e *HeldError) Error() string {
	if e.Owner == nil {
		return fmt.Sprintf("%s exists, owner unknown", e.Dir)
	}
	return fmt.Sprintf("%s exists, held by %s@%s, run %s", e.Dir, e.Owner.User, e.Owner.Host, Short(e.Owner.Run))
}
