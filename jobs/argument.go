package jobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"al.essio.dev/pkg/shellescape"

	"example.org/conc/config"
)

// options takes the words key=value out of args, for the keys given ("to="),
// and the bare words ("replace"). What is left are the positional ones. A key
// twice, and an empty word, are errors.
func options(args []string, keys ...string) (rest []string, opts map[string]string, err error) {
	opts = map[string]string{}
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		if a != key {
			key += "="
		}
		switch _, twice := opts[key]; {
		case a == "":
			return nil, nil, errors.New("an empty argument")
		case !slices.Contains(keys, key):
			rest = append(rest, a)
		case twice:
			return nil, nil, fmt.Errorf("%s is given twice", key)
		case value == "" && strings.HasSuffix(key, "="):
			return nil, nil, fmt.Errorf("%s has no value", key)
		default:
			opts[key] = value
		}
	}
	return rest, opts, nil
}

// want checks how many positional arguments there are.
func want(args []string, usage string, least, most int) error {
	if len(args) < least || most >= 0 && len(args) > most {
		return fmt.Errorf("got %d arguments, want %s", len(args), usage)
	}
	return nil
}

// parseMode reads permission bits, octal: "0755"; 0 for "".
func parseMode(s string) (fs.FileMode, error) {
	if s == "" {
		return 0, nil
	}
	m, err := strconv.ParseUint(s, 8, 32)
	if err != nil || m == 0 || m > 0o777 {
		return 0, fmt.Errorf("mode %q is not octal permission bits, 0001 to 0777", s)
	}
	return fs.FileMode(m), nil
}

func hasMeta(p string) bool { return strings.ContainsAny(p, `*?[{`) }

// exact refuses patterns where one path is meant.
func exact(paths ...string) error {
	for _, p := range paths {
		switch {
		case p == "":
			return errors.New("an empty path")
		case hasMeta(p):
			return fmt.Errorf("%q is a pattern; an exact path is needed here", config.Mask(p))
		case strings.HasPrefix(p, "~") && p != "~" && !strings.HasPrefix(p, "~/"):
			return fmt.Errorf("%q: only ~/ is known, not another user's home", config.Mask(p))
		}
	}
	return nil
}

// typed gives a path as a person would type it on the host, from the home:
// quoted, but with ~, and the characters of a pattern, still meaning something.
func typed(n *config.Node, p string) string {
	if rest, ok := strings.CutPrefix(p, bundlePrefix); ok {
		p = path.Join("~", n.Get("bundle"), rest)
	}
	home := ""
	if p == "~" || strings.HasPrefix(p, "~/") {
		home, p = p[:min(2, len(p))], p[min(2, len(p)):]
		if p == "" {
			return home
		}
	} else if strings.HasPrefix(p, "-") {
		p = "./" + p
	}
	if !hasMeta(p) {
		return home + shellescape.Quote(p)
	}
	var b strings.Builder
	for _, r := range p {
		if r < 0x80 && r > 0 && !strings.ContainsRune("*?[]{},._-+=:@%/", r) && !isAlnum(r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return home + b.String()
}

func isAlnum(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// whereabouts is an op whose lines for a person differ between the hosts.
type whereabouts interface{ on(h Host) Op }

// typedSource is typed for what an op reads: see Env.Source. The node is the
// host when none is named.
func typedSource(n *config.Node, h Host, p string) string {
	if h != Local && !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "~") && !strings.HasPrefix(p, bundlePrefix) {
		p = bundlePrefix + p
	}
	return typed(n, p)
}

// guard refuses to remove or replace what a deploy must not lose: the root, the
// home, the bundle, conc's own directory, deploy.ini's folder, and whatever they
// are in; and conc's own files in the bundle and below ~/.conc.
func (e *Env) guard(p string) error {
	for _, keep := range []string{"/", e.Home, e.Bundle, e.Dir, filepath.Join(e.Home, ".conc")} {
		if keep == "" {
			continue
		}
		for _, a := range []string{p, settled(p)} {
			for _, b := range []string{filepath.Clean(keep), settled(keep)} {
				if a == b || strings.HasPrefix(b, strings.TrimSuffix(a, "/")+"/") {
					return Blockedf("%s holds %s: conc does not remove it", p, b)
				}
			}
		}
	}
	for _, own := range []string{filepath.Join(e.Home, ".conc") + "/", filepath.Join(e.Bundle, ".conc-")} {
		if strings.HasPrefix(p, own) || strings.HasPrefix(settled(p), own) {
			return Blockedf("%s is conc's own: conc does not remove it", p)
		}
	}
	return nil
}

// settled is p with the links in its parents followed, as far as they are there.
func settled(p string) string {
	dir, err := filepath.EvalSymlinks(filepath.Dir(p))
	if err != nil {
		return filepath.Clean(p)
	}
	return filepath.Join(dir, filepath.Base(p))
}

// aside renames p to a hidden name beside it, which it returns: what is being
// removed is never half there under its own name.
func aside(p string) (string, error) {
	dir, err := os.MkdirTemp(filepath.Dir(p), ".conc-old-")
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) { // of a name that nobody knows
			err = at.Err
		}
		return "", fmt.Errorf("%s cannot be moved out of the way: %w", p, err)
	}
	old := filepath.Join(dir, filepath.Base(p))
	if err := os.Rename(p, old); err != nil {
		_ = os.Remove(dir)
		return "", err
	}
	return old, nil
}

// discard deletes what aside moved away, read-only directories too.
func discard(old string) error {
	dir := filepath.Dir(old)
	if err := os.RemoveAll(dir); err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// syncDir makes a rename in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// wantDir wants a directory to be there, for what is to be made in it.
func wantDir(dir string) error {
	_, err := os.Stat(dir)
	if gone(err) {
		return Failedf("there is no directory %s", dir).WithHint("a mkdir before this step makes it")
	}
	return err
}

// judged gives an error of the file system its status: a full disk is no
// verdict of the op's.
func judged(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return Errorf("no space left: %w", err).WithHint("make room there, then go on from this step")
	}
	return err
}
