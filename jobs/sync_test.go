package jobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestSyncTree(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "d/b"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o400)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syncTree(dir); err != nil {
		t.Error(err)
	}
	if err := syncTree(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nothing: got %v, want %v", err, fs.ErrNotExist)
	}
}

// What it costs that 500 small files outlive a power loss: in one call, and file
// by file.
func BenchmarkSync(b *testing.B) {
	each := func(dir string) error {
		return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, syncDir(path))
		})
	}
	for name, sync := range map[string]func(string) error{"none": func(string) error { return nil }, "tree": syncTree, "each": each} {
		b.Run(name, func(b *testing.B) {
			for n := range b.N {
				dir := filepath.Join(b.TempDir(), fmt.Sprint(n))
				for i := range 500 {
					path := filepath.Join(dir, fmt.Sprint(i%20), fmt.Sprint(i))
					if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, make([]byte, 2000), 0o600)); err != nil {
						b.Fatal(err)
					}
				}
				if err := sync(dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
