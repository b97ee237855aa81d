package bundle

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames from to to, which must not exist: fs.ErrExist when it does,
// in one atomic step; errors.ErrUnsupported where the kernel or the filesystem
// cannot.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
