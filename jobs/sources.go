package jobs

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"example.org/conc/bundle"
)

// gathering collects the files to deliver, in order.
type gathering struct {
	try     bool // open each, to see whether it can be read
	sources []bundle.Source
	at      map[string]string // path at the destination: local file
}

// add takes a file under its own name, or a directory's files under theirs.
func (g *gathering) add(ctx context.Context, name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	base := filepath.Base(name)
	if !info.IsDir() {
		return g.file(name, base)
	}
	top, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	return filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return firstError(err, ctx.Err())
		}
		if d.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			if err := stays(top, p); err != nil {
				return err
			}
		}
		return g.file(p, path.Join(base, filepath.ToSlash(rel)))
	})
}

// stays refuses a link in a source directory that leads out of it, or to a
// directory: the one would send what nobody meant, the other might never end.
func stays(top, link string) error {
	dest, err := filepath.EvalSymlinks(link)
	if gone(err) {
		return fmt.Errorf("%q: a link to something that is not there", link)
	}
	if err != nil {
		return err
	}
	if !strings.HasPrefix(dest, strings.TrimSuffix(top, "/")+"/") {
		return fmt.Errorf("%q: the link leads out of %s", link, top)
	}
	if info, err := os.Stat(dest); err != nil || info.IsDir() {
		return fmt.Errorf("%q: a link to a directory; deliver a tar archive of it", link)
	}
	return nil
}

// file takes one file, that must be regular and readable.
func (g *gathering) file(local, dest string) error {
	if err := bundle.CheckPath(dest); err != nil {
		return err
	}
	if other, twice := g.at[dest]; twice {
		if other == local {
			return nil
		}
		return fmt.Errorf("%s and %s would both become %s", other, local, dest)
	}
	if g.try {
		if err := bundle.Readable(local); err != nil {
			return err
		}
	}
	g.at[dest] = local
	g.sources = append(g.sources, bundle.Source{Local: local, Path: dest})
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
