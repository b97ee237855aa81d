package jobs

import (
	"path/filepath"
	"strings"
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

// Glob lists the files that a source pattern matches, sorted; doublestar's
// syntax. A pattern without meta characters gives that file if it is there.
func (e *Env) Glob(pattern string) ([]string, error) { panic("contract") }

// One gives the one file that pattern matches. None or several is BLOCKED, with
// the candidates named.
func (e *Env) One(pattern string) (string, error) { panic("contract") }
