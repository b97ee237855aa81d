package jobs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/dustin/go-humanize"

	"example.org/conc/bundle"
	"example.org/conc/config"
)

// Deliver brings files of the workstation to the node. It is a local op.
type Deliver struct {
	Sources []string // patterns; see Env.Glob
	To      string   // "": the bundle; relative: inside it; "~/x": in the node's home; or absolute
}

func deliverEntry() Entry {
	return Entry{
		Name:    "deliver",
		Args:    "SOURCE... [to=DIR]",
		Summary: "bring files to the node",
		Help: `Sends files from the workstation to the node's bundle, under their own names.
SOURCE is a file, a directory (its files, with their paths below it) or a
pattern; ** matches any number of directories. A relative SOURCE starts at
deploy.ini's folder. to=DIR is below the bundle when it is relative; ~/DIR and
/DIR are elsewhere on the node.

The node is told sizes and hashes first, and gets only what it does not have.
What arrives is kept in the node's cache, hashed and synced, and renamed into
place last: a destination is always the old file or the new one, whole. A link
among the sources is followed, unless it leads out of the SOURCE directory that
it is in. Empty directories are not sent.

On the workstation only. BLOCKED: a pattern matches nothing. FAILED: something
that is no file is in a destination's place. ERROR: a source is missing,
unreadable or not a regular file, it changed while it was sent, the node's disk
is full, or the connection was lost: the old files are whole. Sources are looked
at before the lock is taken.`,
		Example: "local deliver dist/*.tar.gz",
		Parse: func(args []string) (Op, error) {
			args, opts, err := options(args, "to=")
			if err == nil {
				err = want(args, "SOURCE...", 1, -1)
			}
			if err != nil {
				return nil, err
			}
			op := Deliver{Sources: args, To: opts["to="]}
			return op, op.Validate()
		},
	}
}

// Validate checks the arguments.
func (d Deliver) Validate() error {
	if len(d.Sources) == 0 {
		return errors.New("no source")
	}
	for _, s := range d.Sources {
		if s == "" {
			return errors.New("an empty source")
		}
	}
	if d.To == "" {
		return nil
	}
	if !strings.HasPrefix(d.To, "/") && !strings.HasPrefix(d.To, "~") &&
		(path.Clean(d.To) == ".." || strings.HasPrefix(path.Clean(d.To), "../")) {
		return fmt.Errorf("to=%s leads out of the bundle", config.Mask(d.To))
	}
	return exact(d.To)
}

// Repeatable says that it may be run again.
func (d Deliver) Repeatable() {}

// Inert says that it makes nothing on the workstation.
func (d Deliver) Inert() {}

// Place is the workstation.
func (d Deliver) Place() Host { return Local }

// ByHand gives the shell line, from deploy.ini's folder.
func (d Deliver) ByHand(n *config.Node) []string {
	sources := make([]string, len(d.Sources))
	for i, s := range d.Sources {
		sources[i] = typed(n, s)
	}
	to := path.Join(n.Get("bundle"), d.To)
	if strings.HasPrefix(d.To, "/") || strings.HasPrefix(d.To, "~") {
		to = strings.TrimPrefix(d.To, "~/")
	}
	line := fmt.Sprintf("scp -rp %s-- %s %s", scpPort(n), strings.Join(sources, " "), scpPath(n, to+"/"))
	if d.To == "" || to == "~" {
		return []string{line}
	}
	return []string{farLine(n, "mkdir", "-p", to), line}
}

// farLine is a command that a person at the workstation runs on the node, from
// the home.
func farLine(n *config.Node, words ...string) string {
	port := strings.Replace(scpPort(n), "-P", "-p", 1)
	host := strings.TrimSuffix(scpPath(n, ""), ":")
	return "ssh " + port + host + " " + quote(quote(words...))
}

// Prepare looks at the sources.
func (d Deliver) Prepare(ctx context.Context, env *Env) error {
	_, err := d.sources(ctx, env, true)
	return err
}

// Do delivers.
func (d Deliver) Do(ctx context.Context, env *Env) error {
	if err := needsNode(env, "deliver"); err != nil {
		return err
	}
	sources, err := d.sources(ctx, env, false)
	if err != nil {
		return err
	}
	to := farPath(env.Far, d.To, env.Far.Bundle())
	sent, err := bundle.Deliver(ctx, env.Far, to, sources, env.delivery())
	if err != nil {
		return transfer(err)
	}
	env.Note("%s", tell(sent))
	return nil
}

// delivery is how this step delivers.
func (e *Env) delivery() bundle.Options {
	return bundle.Options{Progress: e.Progress, Index: e.Index}
}

// sources turns the patterns into files. Each must match; with try, each is
// opened, too.
func (d Deliver) sources(ctx context.Context, env *Env, try bool) ([]bundle.Source, error) {
	g := gathering{try: try, at: map[string]string{}}
	for _, pattern := range d.Sources {
		found, err := env.Glob(pattern)
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0 && hasMeta(pattern):
			return nil, Blockedf("%s matches no file in %s", pattern, env.Dir)
		case len(found) == 0:
			return nil, Errorf("%s: no such file", env.Path(pattern)).WithHint("build it first, or name it as it is")
		}
		for _, name := range found {
			if err := g.add(ctx, name); err != nil {
				return nil, Errorf("%w", err)
			}
		}
	}
	if len(g.sources) == 0 {
		return nil, Blockedf("%s: no files in there", strings.Join(d.Sources, " "))
	}
	return g.sources, nil
}

func tell(s bundle.Sent) string {
	files := "1 file"
	if s.Files != 1 {
		files = humanize.Comma(s.Files) + " files"
	}
	text := fmt.Sprintf("%s, %s, sha256 verified", files, humanize.Bytes(uint64(s.Bytes)))
	switch {
	case s.SentFiles == 0:
		text += ", all there already"
	case s.SentFiles < s.Files:
		text += fmt.Sprintf(", %s sent", humanize.Bytes(uint64(s.SentBytes)))
	}
	return text
}

// needsNode is for ops that move files between the hosts: they run on the
// workstation, and need a node.
func needsNode(env *Env, op string) error {
	switch {
	case env.Host == Remote:
		return Errorf("%s runs on the workstation", op).WithHint("write local, not remote, before %s", op)
	case env.Far == nil:
		return Errorf("%s needs the node, and this run has no connection to one", op)
	}
	return nil
}

// farPath is Env.Path for the node, seen from the workstation.
func farPath(far bundle.Far, p, base string) string {
	switch {
	case strings.HasPrefix(p, bundlePrefix):
		return path.Join(far.Bundle(), p[len(bundlePrefix):])
	case p == "~" || strings.HasPrefix(p, "~/"):
		return path.Join(far.Home(), strings.TrimPrefix(p[1:], "/"))
	case path.IsAbs(p):
		return path.Clean(p)
	}
	return path.Join(base, p)
}

// transfer gives a delivery's error its status: what stands on the node is a
// verdict, everything else leaves the outcome open.
func transfer(err error) error {
	var way *bundle.InTheWayError
	var known *Error
	switch {
	case errors.As(err, &way):
		return Failedf("%w", err).WithHint("look at it on the node, and move it away")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &known):
		return err
	case errors.Is(err, bundle.ErrNoSpace):
		return Errorf("%w", err).WithHint("make room on the node, then go on from this step; the old files are whole")
	}
	return Errorf("%w", err)
}
