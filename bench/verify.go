package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// contents are files by their path below a home: "sha256:…" of a file, "-> …"
// of a link. Directories are not told.
type contents map[string]string

func sum(text []byte) string {
	hash := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(hash[:])
}

func sumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
}

// look reads what is in a home's area.
func look(home string) (contents, error) {
	got := contents{}
	err := filepath.WalkDir(filepath.Join(home, area), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		name, err := filepath.Rel(home, path)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			got[name] = "-> " + target
			return err
		}
		got[name], err = sumFile(path)
		return err
	})
	return got, err
}

// differs gives the first difference, "" when there is none.
func differs(got, want contents) string {
	for _, path := range slices.Sorted(maps.Keys(want)) {
		switch has := got[path]; has {
		case want[path]:
		case "":
			return path + " is missing"
		default:
			return fmt.Sprintf("%s is %.20s, not %.20s", path, has, want[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[path]; !ok {
			return path + " should not be there"
		}
	}
	return ""
}
