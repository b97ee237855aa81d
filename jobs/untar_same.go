package jobs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"example.org/conc/bundle"
)

// comparison holds a tree that an archive made against one that is there.
type comparison struct {
	ctx  context.Context
	diff string // the first difference; "" when the archive's part is there, unchanged
	more int    // names inside the one that is there which the archive has not
	one  string // the first of them
	a, b []byte
}

// compare looks at one name of the archive, and all that is below it. It only
// fails when ctx is done: what cannot be read is a difference.
func (c *comparison) compare(fresh, place, name string) error {
	if err := c.ctx.Err(); err != nil || c.diff != "" {
		return err
	}
	want, err := os.Lstat(fresh)
	if err != nil {
		return err
	}
	got, err := os.Lstat(place)
	switch {
	case gone(err):
		c.differ("%s is not there", name)
		return nil
	case err != nil:
		c.differ("%s cannot be looked at: %v", name, err)
		return nil
	case want.Mode().Type() != got.Mode().Type():
		c.differ("%s is %s there, %s in the archive", name, whatItIs(got), whatItIs(want))
		return nil
	}
	switch {
	case want.Mode()&fs.ModeSymlink != 0:
		return c.links(fresh, place, name)
	case want.Mode().Perm() != got.Mode().Perm():
		c.differ("%s has mode %04o there, %04o in the archive", name, got.Mode().Perm(), want.Mode().Perm())
	case want.IsDir():
		return c.directories(fresh, place, name)
	case want.Size() != got.Size():
		c.differ("%s has %d bytes there, %d in the archive", name, got.Size(), want.Size())
	default:
		return c.files(fresh, place, name)
	}
	return nil
}

func (c *comparison) differ(format string, args ...any) { c.diff = fmt.Sprintf(format, args...) }

func (c *comparison) links(fresh, place, name string) error {
	want, err := os.Readlink(fresh)
	if err != nil {
		return err
	}
	if got, err := os.Readlink(place); err != nil || got != want {
		c.differ("%s points to %q there, to %q in the archive", name, got, want)
	}
	return nil
}

func (c *comparison) directories(fresh, place, name string) error {
	want, err := os.ReadDir(fresh)
	if err != nil {
		return err
	}
	got, err := os.ReadDir(place)
	if err != nil {
		c.differ("%s cannot be read: %v", name, err)
		return nil
	}
	for _, e := range want {
		if err := c.compare(filepath.Join(fresh, e.Name()), filepath.Join(place, e.Name()), path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	for _, e := range got {
		if slices.ContainsFunc(want, func(w fs.DirEntry) bool { return w.Name() == e.Name() }) {
			continue
		}
		if c.more++; c.more == 1 {
			c.one = path.Join(name, e.Name())
		}
	}
	return nil
}

// files compares content, of one size.
func (c *comparison) files(fresh, place, name string) error {
	want, err := os.Open(fresh)
	if err != nil {
		return err
	}
	defer want.Close()
	got, _, err := bundle.OpenRegular(place)
	if err != nil {
		c.differ("%s cannot be read: %v", name, err)
		return nil
	}
	defer got.Close()
	if c.a == nil {
		c.a, c.b = make([]byte, 256<<10), make([]byte, 256<<10)
	}
	for {
		n, werr := io.ReadFull(want, c.a)
		m, gerr := io.ReadFull(got, c.b)
		switch {
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case !bytes.Equal(c.a[:n], c.b[:m]):
			c.differ("%s has other content", name)
			return nil
		case werr == io.EOF || werr == io.ErrUnexpectedEOF:
			return nil
		case werr != nil:
			return werr
		case gerr != nil:
			c.differ("%s cannot be read: %v", name, gerr)
			return nil
		}
	}
}

func whatItIs(info fs.FileInfo) string {
	switch {
	case info.IsDir():
		return "a directory"
	case info.Mode()&fs.ModeSymlink != 0:
		return "a link"
	case info.Mode().IsRegular():
		return "a file"
	}
	return "a special file"
}
