// Package bundle is the bundle directory: the lock that says a node is being
// reconfigured, and the place that files are delivered to.
package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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
	Release string    `json:"release,omitempty"` // of the application: the node's "version" attribute, or else the program's
	Program *Program  `json:"program,omitempty"` // that the run was begun with
}

// Short is the form of a run id that people see: the last 8 characters.
func Short(run string) string {
	if len(run) <= 8 {
		return run
	}
	return run[len(run)-8:]
}

// HeldError says that the bundle is there already. It travels as JSON.
type HeldError struct {
	Dir   string
	Owner *Owner // nil: unknown
	Step  string // where its run is, as far as the node's records tell; may be empty
	Alive bool   // an agent of that run is running now
}

func (e *HeldError) Error() string {
	if e.Owner == nil {
		return fmt.Sprintf("%s exists, owner unknown", e.Dir)
	}
	return fmt.Sprintf("%s exists, held by %s@%s, run %s", e.Dir, e.Owner.User, e.Owner.Host, Short(e.Owner.Run))
}

// maxOwner bounds an owner record when it is read: anybody may have written it.
const maxOwner = 64 << 10

// ReadOwner reads the record of the bundle at dir: fs.ErrNotExist when there
// is no bundle, nil and no error when its owner is unknown. What the record
// says is not to be trusted, and not escaped.
func ReadOwner(dir string) (*Owner, error) {
	fi, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return nil, nil
	}
	data, err := readBounded(filepath.Join(dir, OwnerFile), maxOwner)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Without its record, or closed since we looked: the second look tells.
		if _, err := os.Lstat(dir); err != nil {
			return nil, err
		}
		return nil, nil
	case errors.Is(err, errNotRecord), errors.Is(err, fs.ErrPermission):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var o Owner
	if json.Unmarshal(data, &o) != nil || o.Run == "" {
		return nil, nil
	}
	return &o, nil
}

var errNotRecord = errors.New("not a record of conc")

// readBounded reads a small regular file. A link, a FIFO or a larger file is
// errNotRecord: opening one never waits.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) || errors.Is(err, syscall.ENXIO) {
		return nil, errNotRecord
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() || fi.Size() > limit {
		return nil, errNotRecord
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errNotRecord
	}
	return data, err
}
