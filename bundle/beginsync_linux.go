package bundle

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginSync has a piece of a file written to the disk, and does not wait for it.
func beginSync(f *os.File, at, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE) // advice
}
