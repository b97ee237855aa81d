package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"example.org/conc/config"
	"example.org/conc/internal/rehearsal"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// rehearseOptions are the flags of rehearse.
type rehearseOptions struct {
	list   string
	faults []string
	forks  int // 0: not typed
	limit  time.Duration
}

func (p *program) rehearseCmd() *cobra.Command {
	var o rehearseOptions
	cmd := &cobra.Command{
		Use:   "rehearse [NODE]",
		Short: "Try a job list on a throwaway node, with a fault at each step",
		Long: `Run a node's job list against a throwaway node on this machine, with that node's
attributes: first as it is, and then with each kind of fault at each step. After
each fault the run is gone on with as conc itself proposes. NODE may be left out
when deploy.ini has one.

These are promises, and one that is not kept is a violation, which names the step:
the lock is held as long as the list says; a file is the old one or the new one,
whole; no step is done twice that does not say that it may be repeated; no step is
OK when what it calls says no; and what it comes to is the same as without the fault.

The faults: fail (the op says no, and has done nothing), hang (it did its work and
does not return), cut (the line), kill (the process that runs the op, in the middle
of a file where it writes one), gone (conc on the workstation is killed), stop
(Ctrl-C), full (no file can grow beyond a size, as on a full disk).

Nothing connects to NODE. The steps are run for real, as your account, on this
machine: what is below the home is thrown away, and local steps work in a copy of
the folder of deploy.ini. A step that writes to /etc writes to this machine's.
Programs that must not run are named in the section [rehearse], and stood in for:

  [rehearse]
  stub         = systemctl apt-get   ; they do nothing, and exit with 0
  stub pg_dump = exit=0 stdout="..."
  files        = rehearse/node       ; what is in the node's home before
  ignore       = var/log/*           ; what may be different each time
  forks        = 1                   ; the list uses a port: one node at a time
  before back  = release version=1.0 release
                                     ; run before the list "back" is rehearsed

sudo needs no password. A secret is taken from CONC_SECRET_NAME.

The exit code is 0 when there is no violation, and 1 when there is one, or when
the list does not get to its end even without a fault.`,
		Example: `  conc rehearse web1
  conc rehearse web1 --jobs rollback
  conc rehearse web1 --fault kill --fault full`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("forks") && o.forks < 1 || o.limit <= 0 {
				return usagef("--forks is at least 1, and --limit over 0")
			}
			return p.rehearse(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.list, "jobs", "", "rehearse this `LIST` instead of the node's own")
	f.StringArrayVar(&o.faults, "fault", nil, "only this kind of `FAULT`; may be given several times")
	f.IntVarP(&o.forks, "forks", "f", 0, "use `N` throwaway nodes at a time, not what [rehearse] says or one for each processor")
	f.DurationVar(&o.limit, "limit", 10*time.Minute, "end a single command after this `DURATION`")
	_ = cmd.RegisterFlagCompletionFunc("jobs", p.completeLists)
	_ = cmd.RegisterFlagCompletionFunc("fault", cobra.FixedCompletions(faultNames(rehearsal.Faults), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func faultNames(all []rehearsal.Fault) []string {
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = string(f)
	}
	return names
}

func (p *program) rehearse(ctx context.Context, args []string, o rehearseOptions) (err error) {
	faults, err := chosenFaults(o.faults)
	if err != nil {
		return err
	}
	f, node, err := p.rehearsed(args)
	if err != nil {
		return err
	}
	plan, err := p.planner().Plan(f, node, o.list)
	if err != nil {
		return err
	}
	// What was made for it is removed when it is interrupted, too.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	dir, err := os.MkdirTemp("", "conc-rehearse-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r, err := p.newRehearsal(f, plan, dir)
	if err != nil {
		return err
	}
	r.Faults, r.Limit = faults, o.limit
	r.Forks = cmp.Or(o.forks, f.Rehearse().Forks, max(2, runtime.NumCPU()))
	report, err := r.Run(ctx)
	var clean *rehearsal.CleanError
	switch {
	case ctx.Err() != nil:
		return interruption("interrupted: there is no verdict, and nothing is left behind")
	case errors.As(err, &clean):
		if !p.flags.quiet && !p.flags.json {
			fmt.Fprint(p.streams.Err, clean.Screen)
		}
		return jobs.Failedf("%s: %w", node.Name(), clean).WithHint("name in [rehearse] what must not run for real as a stub, the files that the list needs, or the lists that come before it")
	case err != nil:
		return fmt.Errorf("%s: the rehearsal could not be made: %w", node.Name(), err)
	}
	if len(report.Violations) > 0 && r.Forks > 1 && !p.flags.quiet && !p.flags.json {
		fmt.Fprintf(p.streams.Err, "%d throwaway nodes were used at a time. Does the list use what this machine has one of, such as a port? Then: --forks 1\n", r.Forks)
	}
	return p.showRehearsal(report)
}

func chosenFaults(names []string) ([]rehearsal.Fault, error) {
	if len(names) == 0 {
		return rehearsal.Faults, nil
	}
	for _, name := range names {
		if !slices.Contains(rehearsal.Faults, rehearsal.Fault(name)) {
			return nil, usagef("--fault: %q is none of %s", name, strings.Join(faultNames(rehearsal.Faults), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(rehearsal.Faults), func(f rehearsal.Fault) bool {
		return !slices.Contains(names, string(f))
	}), nil
}

// rehearsed finds the node: that which is named, or the only one there is.
func (p *program) rehearsed(args []string) (*config.File, *config.Node, error) {
	if len(args) == 1 {
		return p.node(args[0])
	}
	f, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	names := f.NodeNames()
	if len(names) != 1 {
		return nil, nil, usagef("%s has %d nodes: name one", ui.Line(f.Path), len(names))
	}
	node, err := f.Node(names[0])
	return f, node, err
}

// newRehearsal gathers what a rehearsal is made of.
func (p *program) newRehearsal(f *config.File, plan *jobs.Plan, dir string) (*rehearsal.Rehearsal, error) {
	ini, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, err
	}
	hash, err := rehearsal.Hash(p.env.Executable)
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(absolute(f.Path))
	if err := mayCopy(folder); err != nil {
		return nil, err
	}
	// All runs have the folder as it is now. What comes into it meanwhile, such as this
	// command's own output, would be a difference between them.
	project := filepath.Join(dir, "project")
	if err := os.CopyFS(project, withoutGit{os.DirFS(folder)}); err != nil {
		return nil, fmt.Errorf("copy the project: %w", err)
	}
	says := f.Rehearse()
	r := &rehearsal.Rehearsal{
		Options: rehearsal.Options{
			Dir: dir, INI: ini, Node: plan.Node.Name(), Executable: p.env.Executable, Hash: hash,
			Project: os.DirFS(project), Stubs: map[string]rehearsal.Stub{}, Proxy: true,
		},
		Plan: plan, Ignore: says.Ignore, Tell: func(s string) {
			if !p.flags.quiet && !p.flags.json {
				fmt.Fprintf(p.streams.Err, "%s\n", ui.Line(s))
			}
		},
	}
	for _, b := range says.Before[plan.List] {
		words := []string{b.List}
		for _, set := range b.Set {
			words = append(words, "--set", set)
		}
		r.Before = append(r.Before, words)
	}
	for name, is := range says.Stubs {
		r.Stubs[name] = rehearsal.Stub(is)
	}
	if says.Files != "" {
		r.Seed = filepath.Join(folder, says.Files)
		if fi, err := os.Stat(r.Seed); err != nil || !fi.IsDir() {
			return nil, config.Problems{{Origin: config.Origin{File: f.Path}, Reason: "[rehearse] files: " + ui.Line(says.Files) + " is no folder"}}
		}
	}
	for _, s := range p.flags.set {
		// How the throwaway node is reached is not for the command line to say: it
		// could name a real one.
		key, _, _ := strings.Cut(strings.ToLower(s), "=")
		if key = strings.TrimSpace(key); !strings.HasPrefix(key, "sshd.") && key != "op_key" && key != "admin" {
			r.Args = append(r.Args, "--set", s)
		}
	}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "CONC_SECRET_") {
			r.Env = append(r.Env, kv)
		}
	}
	return r, nil
}

// maxProject is the size in bytes of a project that is copied for each stage.
const maxProject = 1 << 30

// mayCopy holds that the folder of deploy.ini is a project, and not somebody's
// whole home.
func mayCopy(folder string) error {
	var size int64
	return fs.WalkDir(withoutGit{os.DirFS(folder)}, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if fi, err := d.Info(); err == nil && fi.Mode().IsRegular() {
			size += fi.Size()
		}
		if size > maxProject {
			return jobs.Errorf("%s is over %d MiB, and would be copied for each run", ui.Line(folder), maxProject>>20).
				WithHint("keep deploy.ini in a folder of its own, with what it delivers")
		}
		return nil
	})
}

// withoutGit is a project's folder but for its history.
type withoutGit struct{ fs.FS }

// ReadDir leaves .git out.
func (w withoutGit) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(w.FS, name)
	return slices.DeleteFunc(all, func(d fs.DirEntry) bool { return d.Name() == ".git" }), err
}

// ReadLink lets links be copied as links.
func (w withoutGit) ReadLink(name string) (string, error) { return fs.ReadLink(w.FS, name) }

// Lstat is that of the folder.
func (w withoutGit) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(w.FS, name) }
