package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"al.essio.dev/pkg/shellescape"
	"github.com/dustin/go-humanize"

	"example.org/conc/bundle"
	"example.org/conc/config"
)

// Put brings one file of the workstation to an exact path on the node. It is a
// local op.
type Put struct {
	Source      string // on the workstation
	Destination string // on the node; relative: in the home
	Mode        fs.FileMode
}

func putEntry() Entry {
	return Entry{
		Name:    "put",
		Args:    "SOURCE DESTINATION [mode=0644]",
		Summary: "bring one file to an exact path on the node",
		Help: `Sends one file of the workstation to DESTINATION on the node, as deliver does:
temporary name, hash, rename. SOURCE may be a pattern that matches one file. A
relative DESTINATION starts at the home, bundle:x is inside the bundle; its
directory is made. The mode is the source's own unless it is given.

On the workstation only. BLOCKED: a pattern matches no file, or several. FAILED:
a directory is in DESTINATION's place. ERROR: as for deliver.`,
		Example: "local put build/shop.service .config/systemd/user/shop.service",
		Parse: func(args []string) (Op, error) {
			args, opts, err := options(args, "mode=")
			if err == nil {
				err = want(args, "SOURCE DESTINATION", 2, 2)
			}
			if err != nil {
				return nil, err
			}
			mode, err := parseMode(opts["mode="])
			if err != nil {
				return nil, err
			}
			op := Put{Source: args[0], Destination: args[1], Mode: mode}
			return op, op.Validate()
		},
	}
}

// Validate checks the arguments.
func (p Put) Validate() error {
	if p.Source == "" {
		return errors.New("an empty source")
	}
	return fileName(p.Destination)
}

// fileName is exact for the path of a file: a directory's is refused.
func fileName(p string) error {
	if strings.HasSuffix(p, "/") || p == "~" || path.Base(p) == "." || path.Base(p) == ".." {
		return fmt.Errorf("%q is a directory's name; name the file itself: %s", config.Mask(p), config.Mask(path.Join(p, "NAME")))
	}
	return exact(p)
}

// Repeatable says that it may be run again.
func (p Put) Repeatable() {}

// Inert says that it makes nothing on the workstation.
func (p Put) Inert() {}

// Place is the workstation.
func (p Put) Place() Host { return Local }

// ByHand gives the shell line, from deploy.ini's folder.
func (p Put) ByHand(n *config.Node) []string {
	var lines []string
	dest := farTyped(n, p.Destination)
	if dir := path.Dir(dest); dir != "." && dir != n.Get("bundle") {
		lines = append(lines, farLine(n, "mkdir", "-p", dir))
	}
	lines = append(lines, fmt.Sprintf("scp -p %s-- %s %s", scpPort(n), typed(n, p.Source), scpPath(n, dest)))
	if p.Mode != 0 {
		lines = append(lines, farLine(n, "chmod", fmt.Sprintf("%04o", p.Mode), dest))
	}
	return lines
}

// Prepare looks at the source.
func (p Put) Prepare(_ context.Context, env *Env) error {
	_, err := p.source(env)
	return err
}

func (p Put) source(env *Env) (string, error) {
	name := env.Path(p.Source)
	if hasMeta(p.Source) {
		var err error
		if name, err = env.One(p.Source); err != nil {
			return "", err
		}
	}
	f, _, err := bundle.OpenRegular(name)
	if err != nil {
		return "", Errorf("%w", err)
	}
	return name, f.Close()
}

// Do sends the file.
func (p Put) Do(ctx context.Context, env *Env) error {
	if err := needsNode(env, "put"); err != nil {
		return err
	}
	name, err := p.source(env)
	if err != nil {
		return err
	}
	dest := farPath(env.Far, p.Destination, env.Far.Home())
	sent, err := bundle.Deliver(ctx, env.Far, path.Dir(dest),
		[]bundle.Source{{Local: name, Path: path.Base(dest), Mode: p.Mode}}, env.delivery())
	if err != nil {
		return transfer(err)
	}
	env.Note("%s", tell(sent))
	return nil
}

// Fetch brings one file of the node to the workstation. It is a local op.
type Fetch struct {
	Source      string // on the node; relative: in the home
	Destination string // on the workstation
}

func fetchEntry() Entry {
	return Entry{
		Name:    "fetch",
		Args:    "SOURCE DESTINATION",
		Summary: "bring one file of the node to the workstation",
		Help: `Copies one file of the node to DESTINATION on the workstation: to a temporary
name, synced, renamed. A relative SOURCE starts at the node's home, bundle:x is
inside the bundle; a relative DESTINATION starts at deploy.ini's folder, and its
directory is made. A file that is there is replaced.

On the workstation only. FAILED: SOURCE is not there or not a file, DESTINATION
is a directory or a device, or cannot be written. ERROR: it changed while it was
read, or the connection was lost: the old file is whole.`,
		Example: "local fetch shop/var/migration.log logs/migration.log",
		Parse: func(args []string) (Op, error) {
			if err := want(args, "SOURCE DESTINATION", 2, 2); err != nil {
				return nil, err
			}
			op := Fetch{Source: args[0], Destination: args[1]}
			return op, op.Validate()
		},
	}
}

// Validate checks the arguments.
func (f Fetch) Validate() error { return firstError(fileName(f.Source), fileName(f.Destination)) }

// Repeatable says that it may be run again.
func (f Fetch) Repeatable() {}

// Place is the workstation.
func (f Fetch) Place() Host { return Local }

// ByHand gives the shell line, from deploy.ini's folder.
func (f Fetch) ByHand(n *config.Node) []string {
	line := fmt.Sprintf("scp -p %s-- %s %s", scpPort(n), scpPath(n, farTyped(n, f.Source)), typed(n, f.Destination))
	if dir := path.Dir(f.Destination); dir != "." {
		return []string{"mkdir -p " + typed(n, dir), line}
	}
	return []string{line}
}

// Do fetches the file.
func (f Fetch) Do(ctx context.Context, env *Env) error {
	if err := needsNode(env, "fetch"); err != nil {
		return err
	}
	from, dest := farPath(env.Far, f.Source, env.Far.Home()), env.Path(f.Destination)
	dir := filepath.Dir(dest)
	_, missing := os.Stat(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return judged(err)
	}
	n, err := bundle.Fetch(ctx, env.Far, from, dest, env.Progress)
	if err != nil {
		if missing != nil {
			_ = os.Remove(dir) // if nothing came into it
		}
		var local *bundle.LocalError
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, bundle.ErrNotAFile) || errors.As(err, &local) {
			return judged(err)
		}
		return transfer(err)
	}
	env.Note("%s", humanize.Bytes(uint64(n)))
	return nil
}

// farTyped is typed for a path on the node as scp takes it: from the home.
func farTyped(n *config.Node, p string) string {
	if rest, ok := strings.CutPrefix(p, bundlePrefix); ok {
		return path.Join(n.Get("bundle"), rest)
	}
	return strings.TrimPrefix(p, "~/")
}

func scpPort(n *config.Node) string {
	if port := n.Get("sshd.port"); port != "" && port != "22" {
		return "-P " + port + " "
	}
	return ""
}

func scpPath(n *config.Node, p string) string {
	host := n.Get("sshd.ip")
	if host == "" {
		host = n.Name()
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if admin := n.Get("admin"); admin != "" {
		host = admin + "@" + host
	}
	return shellescape.Quote(host + ":" + p)
}
