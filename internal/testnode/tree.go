package testnode

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Tree lists what is below a directory, sorted: directories with a slash, links
// with their target. Links are not followed.
func Tree(dir string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			name += "/"
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			name += " -> " + to
		}
		list = append(list, name)
		return nil
	})
	return list, err
}
