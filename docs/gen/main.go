// Command gen writes the pages of the manual that follow from the program: the
// references of its commands, its ops and its checks. Run it from the top of the
// tree, as `go run ./docs/gen`; a test says when its pages are stale.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"example.org/conc/internal/cli"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// manual is the folder that the pages belong in.
const manual = "docs/manual"

func main() {
	if err := write(manual, pages()); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// pages gives the text of each page by its path in the manual.
func pages() map[string]string {
	all := commandPages(cli.Root(cli.App{}))
	all["ops.rst"] = opsPage(append(jobs.Stock(), nodetest.Stock().Op()))
	all["checks.rst"] = checksPage(nodetest.Stock())
	return all
}

// write makes the folder's generated pages those that are given.
func write(dir string, pages map[string]string) error {
	if err := os.MkdirAll(filepath.Join(dir, commandDir), 0o755); err != nil {
		return err
	}
	stale, err := written(dir)
	if err != nil {
		return err
	}
	for _, path := range stale {
		if _, ok := pages[path]; ok {
			continue
		}
		if err := os.Remove(filepath.Join(dir, path)); err != nil {
			return err
		}
	}
	for path, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// written lists the generated pages that the folder holds.
func written(dir string) ([]string, error) {
	var all []string
	for _, pattern := range []string{"ops.rst", "checks.rst", filepath.Join(commandDir, "*")} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			path, err = filepath.Rel(dir, path)
			if err != nil {
				return nil, err
			}
			all = append(all, filepath.ToSlash(path))
		}
	}
	slices.Sort(all)
	return all, nil
}
