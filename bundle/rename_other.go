//go:build !linux

package bundle

import (
	"errors"
	"os"
)

// renameNew says that a rename which never replaces is not to be had here.
func renameNew(from, to string) error {
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: errors.ErrUnsupported}
}
