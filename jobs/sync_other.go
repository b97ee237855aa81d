//go:build !linux

package jobs

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// syncTree makes what is below dir last: file by file, where there is no call
// for all of it. What may not be read cannot be synced.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		if err := syncDir(path); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	})
}
