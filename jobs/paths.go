package jobs

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// bundlePrefix starts a path inside the bundle: "bundle:app.conf".
const bundlePrefix = "bundle:"

// Path gives the absolute path that an op's argument means on this host. A
// relative one starts at Env.Dir, "~/x" at the home, "bundle:x" at the bundle.
func (e *Env) Path(p string) string {
	switch {
	case strings.HasPrefix(p, bundlePrefix):
		return filepath.Join(e.Bundle, p[len(bundlePrefix):])
	case p == "~" || strings.HasPrefix(p, "~/"):
		return filepath.Join(e.Home, strings.TrimPrefix(p[1:], "/"))
	case filepath.IsAbs(p):
		return filepath.Clean(p)
	}
	return filepath.Join(e.Dir, p)
}

// Source is Path for a file that an op reads: on the node a relative one starts
// at the bundle, where deliveries land.
func (e *Env) Source(p string) string {
	if e.Host == Remote && !filepath.IsAbs(p) && !strings.HasPrefix(p, bundlePrefix) && !strings.HasPrefix(p, "~") {
		p = bundlePrefix + p
	}
	return e.Path(p)
}

// Glob lists the files and directories that a source pattern matches, sorted;
// doublestar's syntax: * ? [a-z] {a,b} and ** for any depth. As in a shell, a
// leading dot is only matched by a dot. A pattern without meta characters gives
// that file if it is there.
func (e *Env) Glob(pattern string) ([]string, error) {
	dir, rel := e.split(pattern)
	found, err := doublestar.Glob(os.DirFS(dir), rel, doublestar.WithNoHidden(), doublestar.WithFailOnIOErrors())
	if err != nil {
		return nil, Errorf("%s: %w", pattern, err)
	}
	for i, f := range found {
		found[i] = filepath.Join(dir, filepath.FromSlash(f))
	}
	slices.Sort(found)
	return found, nil
}

// split parts a source pattern into a directory, which is taken as it is, and
// a pattern below it: the home's own name may have meta characters in it.
func (e *Env) split(pattern string) (dir, rel string) {
	switch {
	case strings.HasPrefix(pattern, bundlePrefix):
		dir, rel = e.Bundle, pattern[len(bundlePrefix):]
	case pattern == "~" || strings.HasPrefix(pattern, "~/"):
		dir, rel = e.Home, pattern[1:]
	case filepath.IsAbs(pattern):
		dir, rel = doublestar.SplitPattern(path.Clean(pattern))
		return dir, rel
	case e.Host == Remote:
		dir, rel = e.Bundle, pattern
	default:
		dir, rel = e.Dir, pattern
	}
	rel = path.Clean(strings.TrimLeft(rel, "/"))
	for rel == ".." || strings.HasPrefix(rel, "../") {
		dir, rel = filepath.Dir(dir), path.Clean(strings.TrimPrefix(rel[2:], "/"))
	}
	return dir, rel
}

// maxCandidates is how many of several matches an error names.
const maxCandidates = 5

// One gives the one file that pattern matches. None or several is BLOCKED, with
// the candidates named.
func (e *Env) One(pattern string) (string, error) {
	found, err := e.Glob(pattern)
	if err != nil {
		return "", err
	}
	return single(pattern, found, e)
}

func single(pattern string, found []string, e *Env) (string, error) {
	switch len(found) {
	case 0:
		dir, rel := e.split(pattern)
		return "", Blockedf("nothing matches %s in %s", rel, dir)
	case 1:
		return found[0], nil
	}
	names := make([]string, 0, maxCandidates)
	for _, f := range found[:min(len(found), maxCandidates)] {
		names = append(names, filepath.Base(f))
	}
	more := ""
	if n := len(found) - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return "", Blockedf("%d match %s: %s%s", len(found), pattern, strings.Join(names, ", "), more)
}
