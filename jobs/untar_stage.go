package jobs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// stage is the hidden directory in which a tree grows, on the file system of
// its destination, until it can be renamed there.
type stage struct {
	dest  string
	whole bool // dest is not there yet: it appears in one step
	dir   string
	made  []string // parents of dest that were made, outermost first
	root  *os.Root // dir/new, where the tree grows
	done  bool
}

func newStage(dest string) (*stage, error) {
	s := &stage{dest: dest}
	if err := s.open(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) open() error {
	dest := s.dest
	info, err := os.Stat(dest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.whole = true
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dest)
	}
	in := dest
	if s.whole {
		in = filepath.Dir(dest)
		if err := s.parents(in); err != nil {
			return err
		}
	}
	// What a stage of this destination left when it was killed goes first.
	prefix := fmt.Sprintf(".conc-untar-%x-", sha256.Sum256([]byte(dest)))[:28] + "-"
	entries, err := os.ReadDir(in)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			if err := os.RemoveAll(filepath.Join(in, e.Name())); err != nil {
				return err
			}
		}
	}
	if s.dir, err = os.MkdirTemp(in, prefix); err != nil {
		return err
	}
	if err := os.Mkdir(s.tree(), 0o777); err != nil {
		return err
	}
	s.root, err = os.OpenRoot(s.tree())
	return err
}

func (s *stage) tree() string { return filepath.Join(s.dir, "new") }

func (s *stage) parents(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.parents(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	s.made = append(s.made, dir)
	return nil
}

// close removes what is left of the stage: all of it, and the parents, when
// the tree did not get to its place.
func (s *stage) close() {
	if s.root != nil {
		_ = s.root.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
	if !s.done {
		for i := len(s.made) - 1; i >= 0; i-- {
			_ = os.Remove(s.made[i])
		}
	}
}

// entered tells what enter found at the destination.
type entered struct {
	names, same int    // top-level names of the archive; those that were there, unchanged
	more        int    // names inside those which the archive has not
	one         string // the first of them
}

// enter syncs the tree, so that a power loss after the step leaves no file of it
// empty, and renames it to its place, but for top-level names that are there
// already and hold the same. When a rename fails those before it are taken back.
func (s *stage) enter(ctx context.Context, env *Env, replace bool) (entered, error) {
	if s.whole {
		if err := syncTree(s.tree()); err != nil {
			return entered{}, err
		}
		if err := os.Rename(s.tree(), s.dest); err != nil {
			return entered{}, err
		}
		s.done = true
		return entered{}, syncDir(filepath.Dir(s.dest))
	}
	entries, err := os.ReadDir(s.tree())
	if err != nil {
		return entered{}, err
	}
	in := entered{names: len(entries)}
	missing, err := s.check(ctx, env, entries, replace, &in)
	if err != nil || len(missing) == 0 {
		return in, err
	}
	if err := syncTree(s.tree()); err != nil {
		return in, err
	}
	return in, s.move(missing)
}

func (s *stage) move(entries []fs.DirEntry) error {
	old := filepath.Join(s.dir, "old")
	if err := os.Mkdir(old, 0o700); err != nil {
		return err
	}
	var back []func() error
	move := func(from, to string) error {
		if err := os.Rename(from, to); err != nil {
			return err
		}
		back = append(back, func() error { return os.Rename(to, from) })
		return nil
	}
	for _, e := range entries {
		place := filepath.Join(s.dest, e.Name())
		err := move(place, filepath.Join(old, e.Name()))
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = move(filepath.Join(s.tree(), e.Name()), place)
		}
		if err != nil {
			for i := len(back) - 1; i >= 0; i-- {
				if berr := back[i](); berr != nil {
					kept := s.dir
					s.dir = "" // what was moved away stays there
					return Errorf("%w; taking it back: %w; the old ones are in %s", err, berr, kept)
				}
			}
			return err
		}
	}
	s.done = true
	return syncDir(s.dest)
}

// check finds what of the tree is to be moved to the destination: what is not
// there with the same content already. A name that is taken by something else
// is BLOCKED, unless it is to be replaced.
func (s *stage) check(ctx context.Context, env *Env, entries []fs.DirEntry, replace bool, in *entered) ([]fs.DirEntry, error) {
	var missing []fs.DirEntry
	for _, e := range entries {
		place := filepath.Join(s.dest, e.Name())
		if _, err := os.Lstat(place); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, e)
			continue
		}
		if replace {
			if err := env.guard(place); err != nil {
				return nil, err
			}
		}
		c := comparison{ctx: ctx}
		if err := c.compare(filepath.Join(s.tree(), e.Name()), place, e.Name()); err != nil {
			return nil, err
		}
		switch {
		case c.diff == "" && (c.more == 0 || !replace):
			in.same++
			if in.more += c.more; in.one == "" {
				in.one = c.one
			}
		case replace:
			missing = append(missing, e)
		default:
			return nil, Blockedf("%s has %s already, and it differs: %s", s.dest, e.Name(), c.diff).
				WithHint("the word replace in the line replaces it; or move it away: mv %s %s", quote(place), quote(place+".old"))
		}
	}
	return missing, nil
}
