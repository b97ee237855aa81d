package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"example.org/conc/bundle"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

func (p *program) mountCmd() *cobra.Command {
	var undo bool
	cmd := &cobra.Command{
		Use:   "mount NODE [DIR]",
		Short: "Mount a node's open bundle on this workstation, with sshfs",
		Long: `Mount the open bundle of NODE on DIR, with the sshfs program, and print the path.
Without DIR it is the bundle's other half on this workstation, when the same run
has it open, or else a directory of conc's own. BLOCKED when no bundle is open.

--umount undoes it, and connects to nothing. Do it before the run goes on to its
end: a bundle that is mounted cannot be closed here.`,
		Example: `  cd "$(conc mount web1)"
  conc mount web1 --umount`,
		Args:              between(1, 2),
		ValidArgsFunction: p.completeNode(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := ""
			if len(args) > 1 {
				if dir = args[1]; dir == "" {
					return usagef("the directory's name is empty")
				}
				dir = absolute(dir)
			}
			return p.mount(cmd.Context(), args[0], dir, undo)
		},
	}
	cmd.Flags().BoolVar(&undo, "umount", false, "unmount it")
	return cmd
}

func (p *program) mount(ctx context.Context, name, dir string, undo bool) error {
	t, err := p.at(name)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	if undo {
		return p.unmount(ctx, t, dir)
	}
	owner, err := p.openBundle(ctx, t)
	if err != nil {
		return err
	}
	if dir == "" {
		if dir = p.localBundle(t); owner.Run == "" || bundle.Check(dir, owner.Run) != nil {
			dir = p.mountDir(t)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
		}
	}
	if err := (jobs.MountSSHFS{Dir: dir}).Do(ctx, p.mountEnv(t, owner)); err != nil {
		return err
	}
	if who := owner.User + "@" + owner.Host; owner.Run != "" && who != p.who() {
		p.warn(fmt.Sprintf("this bundle is that of run %s, and %s's", bundle.Short(owner.Run), who))
	}
	return p.mounted(t, dir, true)
}

// unmount takes the mount away: of dir, or of wherever mount puts it by itself.
func (p *program) unmount(ctx context.Context, t task, dir string) error {
	dirs := []string{p.localBundle(t), p.mountDir(t)}
	if dir != "" {
		dirs = []string{dir}
	}
	env := p.mountEnv(t, bundle.Owner{})
	for _, d := range dirs {
		if (jobs.MountSSHFS{Dir: d}).Verify(ctx, env) != nil {
			continue
		}
		if err := (jobs.UnmountSSHFS{Dir: d}).Do(ctx, env); err != nil {
			return err
		}
		if d == p.mountDir(t) {
			_ = os.Remove(d) // it is conc's own, and empty now
		}
		return p.mounted(t, d, false)
	}
	return jobs.Blockedf("%s: nothing is mounted on %s", t.node.Name(), dirs[len(dirs)-1])
}

// mountJSON says where a bundle is mounted, for programs.
type mountJSON struct {
	V       int    `json:"v"`
	Type    string `json:"type"`
	Node    string `json:"node"`
	Dir     string `json:"dir"`
	Mounted bool   `json:"mounted"`
}

func (p *program) mounted(t task, dir string, is bool) error {
	if p.flags.json {
		return p.printJSON(mountJSON{V: 1, Type: "mount", Node: t.node.Name(), Dir: dir, Mounted: is})
	}
	_, err := fmt.Fprintln(p.streams.Out, ui.Line(dir))
	return err
}

// mountDir is conc's own place for a mount of a node.
func (p *program) mountDir(t task) string {
	return filepath.Join(p.env.StateDir, "mounts", filepath.Base(p.localBundle(t)))
}

// mountEnv is what the ops of that name are given in a run.
func (p *program) mountEnv(t task, owner bundle.Owner) *jobs.Env {
	return &jobs.Env{
		Node: t.node, Host: jobs.Local, Home: p.env.Home, Bundle: p.localBundle(t), Owner: owner,
		SSH: p.sshArgs(t.target), Log: zerolog.Nop(), Out: p.streams.Err,
	}
}

// openBundle tells whose bundle is open on a node, by its files alone: BLOCKED
// when none is. A bundle without a record of its owner has an empty one.
func (p *program) openBundle(ctx context.Context, t task) (bundle.Owner, error) {
	var owner bundle.Owner
	there, err := p.nodeHistory(ctx, t)
	if err != nil {
		return owner, err
	}
	defer there.close()
	dir := t.node.Get("bundle")
	switch fi, err := there.files.Lstat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return owner, jobs.Blockedf("%s: no bundle is open on this node", t.node.Name()).
			WithHint("open one, and halt there: %s", p.toType("deploy", t.node.Name(), "--to", "STEP"))
	case err != nil:
		return owner, fmt.Errorf("~/%s on the node: %w", dir, err)
	case !fi.IsDir():
		return owner, jobs.Blockedf("%s: ~/%s is no directory", t.node.Name(), dir)
	}
	f, err := there.open(path.Join(dir, bundle.OwnerFile))
	if err != nil {
		return owner, nil //nolint:nilerr // its owner is unknown
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil || json.Unmarshal(data, &owner) != nil {
		owner = bundle.Owner{}
	}
	return owner, nil
}
