package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"example.org/conc/config"
)

// Keep prunes old releases.
type Keep struct {
	Pattern string // of the releases; relative: as Env.Path
	N       int    // how many to keep; 0: 5
	Except  string // a link whose target stays, too; may be empty
}

func keepEntry() Entry {
	return Entry{
		Name:    "keep",
		Args:    "PATTERN N [except=LINK]",
		Summary: "keep the newest releases and remove the others",
		Help: `Of the files or directories that PATTERN matches, keeps the N newest by the
versions in their names (1.10 is newer than 1.9, 1.4.0 newer than 1.4.0-rc1;
times do not count) and removes the others, oldest first. On the node a relative
PATTERN starts at the home. What a symbolic link in the same directory or in the
one above points to, or into, always stays, and so does what except=LINK points
to: the release in use is never removed. Put it last in the list.

BLOCKED: one of the others is or holds the home, the bundle, ~/.conc or
deploy.ini's folder, or LINK is there and no link: nothing is removed. FAILED:
the account may not remove it.`,
		Example: "remote keep shop/releases/* 5 except=shop/current",
		Parse: func(args []string) (Op, error) {
			args, opts, err := options(args, "except=")
			if err == nil {
				err = want(args, "PATTERN N", 2, 2)
			}
			if err != nil {
				return nil, err
			}
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 1 {
				return nil, fmt.Errorf("N is %q, want a number from 1", config.Mask(args[1]))
			}
			op := Keep{Pattern: args[0], N: n, Except: opts["except="]}
			return op, op.Validate()
		},
	}
}

// Validate checks the arguments.
func (k Keep) Validate() error {
	switch {
	case k.N < 0:
		return fmt.Errorf("N is %d, want a number from 1", k.N)
	case !hasMeta(filepath.Base(k.Pattern)):
		return fmt.Errorf("%q is no pattern such as releases/*", config.Mask(k.Pattern))
	case !doublestar.ValidatePattern(k.Pattern):
		return fmt.Errorf("%q is not a valid pattern", config.Mask(k.Pattern))
	case k.Except != "":
		return exact(k.Except)
	}
	return nil
}

// Repeatable says that it may be run again.
func (k Keep) Repeatable() {}

// ByHand gives the shell lines: to look first, for a person can tell which one is in use.
func (k Keep) ByHand(n *config.Node) []string {
	link := ""
	if k.Except != "" {
		link = " " + typed(n, k.Except)
	}
	return []string{
		"ls -ld" + link + " " + typed(n, k.Pattern),
		fmt.Sprintf("printf '%%s\\n' %s | sort -V | head -n -%d   # these may go: rm -rf", typed(n, k.Pattern), k.number()),
	}
}

func (k Keep) number() int {
	if k.N == 0 {
		return 5
	}
	return k.N
}

// Do removes the old ones.
func (k Keep) Do(ctx context.Context, env *Env) error {
	old, err := k.old(env)
	if err != nil {
		return err
	}
	for _, p := range old {
		if err := env.guard(p); err != nil {
			return err
		}
	}
	for _, p := range old {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := removeWhole(p); err != nil {
			return err
		}
	}
	switch n := len(old); {
	case n == 0:
		env.Note("nothing to remove")
	case n == 1:
		env.Note("removed %s", filepath.Base(old[0]))
	default:
		env.Note("removed %s to %s, %d in all", filepath.Base(old[0]), filepath.Base(old[n-1]), n)
	}
	return nil
}

// Verify looks whether any are left that should be gone.
func (k Keep) Verify(_ context.Context, env *Env) error {
	old, err := k.old(env)
	if err == nil && len(old) > 0 {
		err = fmt.Errorf("%d old ones are there, %s the oldest", len(old), old[0])
	}
	return err
}

// old lists what is to go, oldest first.
func (k Keep) old(env *Env) ([]string, error) {
	dir, pattern := filepath.Split(env.Path(k.Pattern))
	found, err := releases(filepath.Clean(dir), pattern)
	if err != nil {
		return nil, err
	}
	used, err := k.inUse(env, filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b string) int {
		return compareVersions(filepath.Base(a), filepath.Base(b))
	})
	var old []string
	for _, p := range found[:max(len(found)-k.number(), 0)] {
		real, err := filepath.EvalSymlinks(p)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(used, func(u string) bool { return u == real || strings.HasPrefix(u, real+"/") }) {
			old = append(old, p)
		}
	}
	return old, nil
}

// releases lists what matches in dir; links and hidden names are none.
func releases(dir, pattern string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 || strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(pattern, ".") {
			continue
		}
		if ok, err := doublestar.Match(pattern, e.Name()); err != nil {
			return nil, err
		} else if ok {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found, nil
}

// inUse lists what links point to: those in dir, in the directory above, and Except.
func (k Keep) inUse(env *Env, dir string) ([]string, error) {
	var links []string
	for _, d := range []string{dir, filepath.Dir(dir)} {
		entries, err := os.ReadDir(d)
		if err != nil && !gone(err) && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		for _, e := range entries {
			if e.Type()&fs.ModeSymlink != 0 {
				links = append(links, filepath.Join(d, e.Name()))
			}
		}
	}
	if k.Except != "" {
		p := env.Path(k.Except)
		switch info, err := os.Lstat(p); {
		case gone(err): // nothing is in use yet
		case err != nil:
			return nil, err
		case info.Mode()&fs.ModeSymlink == 0:
			return nil, Blockedf("%s is not a link", p)
		default:
			links = append(links, p)
		}
	}
	var used []string
	for _, l := range links {
		if real, err := filepath.EvalSymlinks(l); err == nil {
			used = append(used, real)
		}
	}
	return used, nil
}
