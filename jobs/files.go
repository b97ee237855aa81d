package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"example.org/conc/config"
)

// Mkdir makes a directory, and its parents.
type Mkdir struct {
	Path string
	Mode fs.FileMode // of Path itself; 0: 0755 when it is made, and left alone when it is there
}

func mkdirEntry() Entry {
	return Entry{
		Name:    "mkdir",
		Args:    "PATH [mode=0755]",
		Summary: "make a directory and its parents",
		Help: `Makes the directory PATH, and its parents, on the step's host. A relative PATH
starts at the home on the node, at deploy.ini's folder on the workstation;
bundle:x is inside the bundle. A directory that is there already is OK; with
mode= it is given that mode.

FAILED: a file is in the way, or the account may not write there.`,
		Example: "remote mkdir shop/releases mode=0750",
		Parse: func(args []string) (Op, error) {
			args, opts, err := options(args, "mode=")
			if err == nil {
				err = want(args, "PATH", 1, 1)
			}
			if err != nil {
				return nil, err
			}
			mode, err := parseMode(opts["mode="])
			if err != nil {
				return nil, err
			}
			op := Mkdir{Path: args[0], Mode: mode}
			return op, op.Validate()
		},
	}
}

// Validate checks the path.
func (m Mkdir) Validate() error { return exact(m.Path) }

// Repeatable says that it may be run again.
func (m Mkdir) Repeatable() {}

// ByHand gives the shell line.
func (m Mkdir) ByHand(n *config.Node) []string {
	lines := []string{"mkdir -p " + typed(n, m.Path)}
	if m.Mode != 0 {
		lines = append(lines, fmt.Sprintf("chmod %04o %s", m.Mode, typed(n, m.Path)))
	}
	return lines
}

// Do makes the directory.
func (m Mkdir) Do(ctx context.Context, env *Env) error {
	p := env.Path(m.Path)
	if m.Verify(ctx, env) == nil {
		env.Note("already there")
		return nil
	}
	if err := os.MkdirAll(p, 0o755); err != nil {
		return judged(err)
	}
	if m.Mode != 0 {
		return os.Chmod(p, m.Mode)
	}
	return nil
}

// Verify looks for the directory.
func (m Mkdir) Verify(_ context.Context, env *Env) error {
	p := env.Path(m.Path)
	info, err := os.Stat(p)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", p)
	case m.Mode != 0 && info.Mode().Perm() != m.Mode:
		return fmt.Errorf("%s has mode %04o, want %04o", p, info.Mode().Perm(), m.Mode)
	}
	return nil
}

// Symlink lets a symbolic link point somewhere else, atomically: a reader sees
// the old target or the new one.
type Symlink struct {
	Target string // relative to the link's directory, or as Env.Path when it starts with /, ~/ or bundle:
	Link   string
}

func symlinkEntry() Entry {
	return Entry{
		Name:    "symlink",
		Args:    "TARGET LINK",
		Summary: "switch a symbolic link atomically",
		Help: `Makes LINK point to TARGET, on the step's host; a LINK that is there is switched
in one step. A relative TARGET is kept as written: it starts at LINK's
directory, as for ln -s. The previous target is told on the step's line.

BLOCKED: LINK is a file or a directory and no link, or TARGET is not there:
nothing is changed. FAILED: LINK's directory is missing, or the account may not
write there.`,
		Example: "remote symlink releases/1.4.2 shop/current",
		Parse: func(args []string) (Op, error) {
			if err := want(args, "TARGET LINK", 2, 2); err != nil {
				return nil, err
			}
			op := Symlink{Target: args[0], Link: args[1]}
			return op, op.Validate()
		},
	}
}

// Validate checks the paths.
func (s Symlink) Validate() error { return exact(s.Target, s.Link) }

// Repeatable says that it may be run again.
func (s Symlink) Repeatable() {}

// ByHand gives the shell line. mv -T is what makes it atomic.
func (s Symlink) ByHand(n *config.Node) []string {
	link, next := typed(n, s.Link), typed(n, s.Link+".new")
	return []string{"ln -s " + typed(n, s.Target) + " " + next + " && mv -T " + next + " " + link}
}

func (s Symlink) paths(env *Env) (target, link string) {
	link = env.Path(s.Link)
	if env.rooted(s.Target) {
		return env.Path(s.Target), link
	}
	return s.Target, link
}

// rooted tells whether a path means the same wherever it is written.
func (e *Env) rooted(p string) bool {
	return filepath.IsAbs(p) || e.Path(p) != filepath.Join(e.Dir, p)
}

// Do switches the link.
func (s Symlink) Do(_ context.Context, env *Env) error {
	target, link := s.paths(env)
	info, err := os.Lstat(link)
	old := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return Blockedf("%s is a directory, not a link", link).WithHint("move it away first: mv %s %s.old", link, link)
	case info.Mode()&fs.ModeSymlink == 0:
		return Blockedf("%s is a file, not a link", link).WithHint("move it away first: mv %s %s.old", link, link)
	default:
		if old, err = os.Readlink(link); err != nil {
			return err
		}
	}
	if err := wantDir(filepath.Dir(link)); err != nil {
		return err
	}
	dest := target
	if !filepath.IsAbs(dest) {
		dest = filepath.Join(filepath.Dir(link), dest)
	}
	if _, err := os.Stat(dest); err != nil {
		return Blockedf("%s would point to %s, which is not there", link, dest).WithHint("a relative target starts at the link's own directory")
	}
	if old == target {
		env.Note("unchanged")
		return nil
	}
	temp, err := freshBeside(link)
	if err == nil {
		if err = os.Symlink(target, temp); err == nil {
			err = os.Rename(temp, link)
		}
	}
	if err != nil {
		return judged(err)
	}
	if old != "" {
		env.Note("was %s", old)
	}
	return syncDir(filepath.Dir(link))
}

// Verify reads the link.
func (s Symlink) Verify(_ context.Context, env *Env) error {
	target, link := s.paths(env)
	got, err := os.Readlink(link)
	if err == nil && got != target {
		err = fmt.Errorf("%s points to %s, want %s", link, got, target)
	}
	return err
}

// Remove removes files and directories with all that is in them.
type Remove struct{ Paths []string }

func removeEntry() Entry {
	return Entry{
		Name:    "remove",
		Args:    "PATH...",
		Summary: "remove files and directories",
		Help: `Removes each PATH, a directory with all that is in it, on the step's host. What
is removed is moved aside first, so that it is never half there under its own
name. A link is removed, not what it points to. A PATH that is not there is OK.
Patterns are refused; to prune old releases see keep.

BLOCKED: PATH is, or holds, the home, the bundle, ~/.conc or deploy.ini's
folder: none of the paths is touched. FAILED: the account may not remove it.`,
		Example: "remote remove shop/cache",
		Parse: func(args []string) (Op, error) {
			if err := want(args, "PATH...", 1, -1); err != nil {
				return nil, err
			}
			op := Remove{Paths: args}
			return op, op.Validate()
		},
	}
}

// Validate checks the paths.
func (r Remove) Validate() error {
	if len(r.Paths) == 0 {
		return errors.New("no path")
	}
	return exact(r.Paths...)
}

// Repeatable says that it may be run again.
func (r Remove) Repeatable() {}

// ByHand gives the shell lines.
func (r Remove) ByHand(n *config.Node) []string {
	var lines []string
	for _, p := range r.Paths {
		lines = append(lines, "rm -rf "+typed(n, p))
	}
	return lines
}

// Do removes them.
func (r Remove) Do(ctx context.Context, env *Env) error {
	for _, p := range r.Paths {
		if err := env.guard(env.Path(p)); err != nil {
			return err
		}
	}
	there := 0
	for _, p := range r.Paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := os.Lstat(env.Path(p)); err == nil {
			there++
		}
		if err := removeWhole(env.Path(p)); err != nil {
			return err
		}
	}
	switch n := len(r.Paths); {
	case there == 0:
		env.Note("not there")
	case there < n:
		env.Note("%d of %d, the others were not there", there, n)
	}
	return nil
}

// Verify looks whether they are gone.
func (r Remove) Verify(_ context.Context, env *Env) error {
	for _, p := range r.Paths {
		if _, err := os.Lstat(env.Path(p)); err == nil {
			return fmt.Errorf("%s is there", env.Path(p))
		} else if !gone(err) {
			return err
		}
	}
	return nil
}

func removeWhole(p string) error {
	if _, err := os.Lstat(p); err != nil {
		if gone(err) {
			return nil
		}
		return err
	}
	old, err := aside(p)
	if err != nil {
		// A mount point, or no right to write beside it, but to what is in it.
		return err
	}
	return discard(old)
}

// gone tells an error that says that a path is not there.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
