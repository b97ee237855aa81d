package rehearsal

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Seeded is a file that is there before a run.
type Seeded struct {
	Content string
	Mode    fs.FileMode // 0: 0644, and 0755 for a directory
	Link    string
	Dir     bool
}

// Seed makes files below dir, by path. None of them may be there, but directories.
func Seed(dir string, files map[string]Seeded) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // it is only a handle
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		f := files[name]
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		switch {
		case f.Link != "":
			err = root.Symlink(f.Link, name)
		case f.Dir:
			err = root.MkdirAll(name, 0o755)
		default:
			err = write(root, name, f)
		}
		if err != nil {
			return err
		}
	}
	// What is in a directory is made before nobody may write there any more.
	for _, name := range slices.Backward(names) {
		if f := files[name]; f.Dir && f.Mode != 0 {
			err = errors.Join(err, root.Chmod(name, f.Mode))
		}
	}
	return err
}

func write(root *os.Root, name string, f Seeded) error {
	mode := f.Mode
	if mode == 0 {
		mode = 0o644
	}
	to, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = to.WriteString(f.Content)
	return errors.Join(err, to.Chmod(mode), to.Close())
}
