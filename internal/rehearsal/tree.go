package rehearsal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.org/conc/bundle"
)

// Node is something on a node, as far as two looks at it can be compared. The
// node's home is the same text in every file, wherever it is.
type Node struct {
	Kind fs.FileMode // type and permissions
	Size int64       // of a file, with the home as ~
	Sum  [32]byte    // of a file's content, or a link's target
}

// Tree is what is below a home, by path: not what is conc's own.
type Tree map[string]Node

// wholeLimit is the size up to which a file is looked through for the home's path.
const wholeLimit = 16 << 20

// Look takes a Tree of a home. What vanishes while it looks is not there.
func Look(home string) (Tree, error) {
	t := Tree{}
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || path == home {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(home, path)
		if err != nil {
			return err
		}
		if name == ".conc" {
			return filepath.SkipDir
		}
		if base := filepath.Base(name); strings.HasPrefix(base, ".conc-") || base == bundle.OwnerFile {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		node, err := lookAt(home, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		t[name] = node
		return err
	})
	return t, err
}

func lookAt(home, path string) (Node, error) {
	fi, err := os.Lstat(path)
	if err != nil {
		return Node{}, err
	}
	n := Node{Kind: fi.Mode()}
	switch {
	case fi.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		n.Sum = sha256.Sum256([]byte(strings.ReplaceAll(to, home, "~")))
		return n, err
	case !fi.Mode().IsRegular():
		return n, nil
	}
	n.Size = fi.Size()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	defer f.Close()
	if n.Size > wholeLimit {
		h := sha256.New()
		_, err = io.Copy(h, f)
		n.Sum = [32]byte(h.Sum(nil))
		return n, err
	}
	text, err := io.ReadAll(f)
	text = bytes.ReplaceAll(text, []byte(home), []byte("~"))
	n.Size, n.Sum = int64(len(text)), sha256.Sum256(text)
	return n, err
}

// Differences are the paths at which two trees are not the same, sorted.
func (t Tree) Differences(u Tree) []string {
	paths := map[string]bool{}
	for path, n := range t {
		if m, ok := u[path]; !ok || m != n {
			paths[path] = true
		}
	}
	for path := range u {
		if _, ok := t[path]; !ok {
			paths[path] = true
		}
	}
	return slices.Sorted(maps.Keys(paths))
}
