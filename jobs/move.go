package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"example.org/conc/config"
)

// Move renames a file or a directory.
type Move struct {
	From, To string
	Replace  bool // what is at To goes
}

func moveEntry() Entry {
	return Entry{
		Name:    "move",
		Args:    "FROM TO [replace]",
		Summary: "rename a file or a directory",
		Help: `Renames FROM to TO, its exact new path, on the step's host. Onto another file
system it is copied to a hidden name beside TO, synced, renamed, and then
removed at FROM. With replace, what was at TO is moved aside first and deleted
last.

BLOCKED: TO is there and replace is not given, FROM is not there (whether it was
moved before, conc cannot know), or FROM or TO
is or holds the home, the bundle, ~/.conc or deploy.ini's folder: nothing is
changed. FAILED: TO's directory is missing, or the account may not write there.
ERROR: the disk is full.`,
		Example: "remote move shop/config.new shop/config replace",
		Parse: func(args []string) (Op, error) {
			args, opts, err := options(args, "replace")
			if err == nil {
				err = want(args, "FROM TO", 2, 2)
			}
			if err != nil {
				return nil, err
			}
			_, replace := opts["replace"]
			op := Move{From: args[0], To: args[1], Replace: replace}
			return op, op.Validate()
		},
	}
}

// Validate checks the paths.
func (m Move) Validate() error { return exact(m.From, m.To) }

// ByHand gives the shell line.
func (m Move) ByHand(n *config.Node) []string {
	from, to := typed(n, m.From), typed(n, m.To)
	if m.Replace {
		return []string{"rm -rf " + to + " && mv -T " + from + " " + to}
	}
	return []string{"test ! -e " + to + " && mv -nT " + from + " " + to}
}

// Do moves it.
func (m Move) Do(ctx context.Context, env *Env) error {
	from, to := env.Path(m.From), env.Path(m.To)
	if err := firstError(env.guard(from), env.guard(to)); err != nil {
		return err
	}
	if to == from || strings.HasPrefix(to, from+"/") || strings.HasPrefix(from, to+"/") {
		return Blockedf("%s and %s are inside one another", from, to)
	}
	if _, err := os.Lstat(from); gone(err) {
		if _, err := os.Lstat(to); err == nil {
			return Blockedf("%s is not there, and %s is", from, to).
				WithHint("if it has been moved already, go on from the next step")
		}
		return Blockedf("%s is not there", from)
	} else if err != nil {
		return err
	}
	_, err := os.Lstat(to)
	there := err == nil
	switch {
	case there && !m.Replace:
		return Blockedf("%s is there already", to).WithHint("the word replace in the line replaces it")
	case !there && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := wantDir(filepath.Dir(to)); err != nil {
		return err
	}
	near, err := sameDevice(from, filepath.Dir(to))
	if err != nil {
		return err
	}
	if near {
		err = swap(from, to, there)
	}
	if !near || errors.Is(err, syscall.EXDEV) { // one device may still be mounted twice
		err = carry(ctx, from, to, there)
	}
	if err != nil {
		return judged(err)
	}
	return firstError(syncDir(filepath.Dir(to)), syncDir(filepath.Dir(from)))
}

// Verify looks at both ends.
func (m Move) Verify(_ context.Context, env *Env) error {
	if _, err := os.Lstat(env.Path(m.From)); err == nil {
		return fmt.Errorf("%s is still there", env.Path(m.From))
	} else if !gone(err) {
		return err
	}
	_, err := os.Lstat(env.Path(m.To))
	return err
}

// carry moves from to another file system: a synced copy in a hidden directory
// beside to takes to's name, and only then from is removed.
func carry(ctx context.Context, from, to string, there bool) error {
	dir, err := os.MkdirTemp(filepath.Dir(to), ".conc-move-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ready := filepath.Join(dir, "new")
	if err := copyTree(ctx, from, ready); err != nil {
		return err
	}
	if err := swap(ready, to, there); err != nil {
		return err
	}
	if err := removeWhole(from); err != nil {
		return fmt.Errorf("%s is moved, but the old one could not be removed: %w", to, err)
	}
	return nil
}

// sameDevice tells whether a rename can work.
func sameDevice(from, dir string) (bool, error) {
	a, err := os.Lstat(from)
	if err != nil {
		return false, err
	}
	b, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	sa, aok := a.Sys().(*syscall.Stat_t)
	sb, bok := b.Sys().(*syscall.Stat_t)
	return aok && bok && sa.Dev == sb.Dev, nil
}

// swap renames ready to to. What is there is moved aside before, back when
// that fails, and deleted after.
func swap(ready, to string, there bool) error {
	if !there {
		return os.Rename(ready, to)
	}
	old, err := aside(to)
	if err != nil {
		return err
	}
	if err := os.Rename(ready, to); err != nil {
		if berr := os.Rename(old, to); berr != nil {
			return Errorf("%w; what was there is now %s: %w", err, old, berr)
		}
		_ = os.Remove(filepath.Dir(old))
		return err
	}
	return discard(old)
}

// copyTree copies files, directories and links with their modes and times, and
// syncs them. Anything else is refused.
func copyTree(ctx context.Context, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case info.IsDir():
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := copyTree(ctx, filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
		if err := syncDir(to); err != nil {
			return err
		}
	case info.Mode().IsRegular():
		if err := copyFile(ctx, from, to); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is neither file, directory nor link: it cannot be moved to another file system", from)
	}
	if err := keepOwner(to, info); err != nil {
		return err
	}
	return firstError(os.Chmod(to, info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)),
		os.Chtimes(to, info.ModTime(), info.ModTime()))
}

func copyFile(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, &intake{ctx: ctx, r: in})
	return errors.Join(err, out.Sync(), out.Close())
}

// keepOwner gives p the owner that info tells of, where we may: as root.
func keepOwner(p string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(p, int(st.Uid), int(st.Gid))
}
