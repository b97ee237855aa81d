package bundle

import (
	"os"

	"golang.org/x/sys/unix"
)

// reflink makes out share in's blocks, where the file system can.
func reflink(out, in *os.File) error { return unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) }

// syncAll writes what the file system of a directory still has in memory.
func syncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}
