package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/ui"
)

// demoNode is the node's name in the demo's deploy.ini.
const demoNode = "demo1"

// demoOptions are the flags of demo.
type demoOptions struct {
	keep   string
	failAt string
}

func (p *program) demoCmd() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See a deploy of a small project to a throwaway node",
		Long: `Start a throwaway node (a real SSH and SFTP server, in this process, on a
loopback port, with a home of its own in a temporary directory), write a small
project, deploy it, make a suite of checks, and show what is on the node then. It
needs nothing but this program, and leaves nothing behind.

With --keep the project and the node's home are written to DIR and stay there,
and the node goes on serving until Ctrl-C, so that you can type commands of your
own against it from another terminal. DIR must be new or empty.

With --fail-at a step of the list is made to fail, to show how a deploy stops
and what to do next. STEP is a number or a name.

The exit code is that of the deploy and the checks: 1 with --fail-at. Ending --keep by Ctrl-C
does not change it.`,
		Example: `  conc demo
  conc demo --fail-at configure
  conc demo --keep play`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("config") {
				return usagef("the demo writes a deploy.ini of its own: --config has no meaning here")
			}
			return p.demo(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.keep, "keep", "", "leave project and node in `DIR`, and the node serving until Ctrl-C")
	f.StringVar(&o.failAt, "fail-at", "", "make this `STEP` fail")
	_ = cmd.RegisterFlagCompletionFunc("fail-at", cobra.FixedCompletions(demoSteps(demoINI()), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("keep")
	return cmd
}

func (p *program) demo(ctx context.Context, o demoOptions) (err error) {
	ini := demoINI()
	if o.failAt != "" {
		if ini, err = failAt(ini, o.failAt); err != nil {
			return err
		}
	}
	// From here on a signal must not end the process before it has cleaned up.
	// During the deploy it is the deploy that answers to it.
	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(interrupts)

	dir, remove, err := demoDir(o.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	node, err := testnode.Start(ctx, testnode.Options{Dir: dir, OpKey: "demo"})
	if err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	project := demoProject{dir: dir, ini: ini, node: node, program: p.env.Executable, name: p.name()}
	if err := project.write(); err != nil {
		return fmt.Errorf("write the project: %w", err)
	}

	// JSON is for programs: what the demo has to say goes beside it.
	say := demoTeller{w: p.streams.Out, name: p.name(), typed: p.typed(), project: project, options: o}
	switch {
	case p.flags.quiet:
		say.w = io.Discard
	case p.flags.json:
		say.w = p.streams.Err
	}
	say.before()
	operator := p.operator(project)
	code := operator.main(ctx, append(p.demoFlags(project), "deploy", demoNode))
	if code == exitOK && !p.flags.json {
		say.printf("\n$ %s nodetest %s\n", p.name(), demoNode)
		code = operator.main(ctx, append(p.demoFlags(project), "nodetest", demoNode))
	}
	if err := say.after(code); err != nil {
		return err
	}
	if o.keep != "" && code != exitInterrupted {
		drain(interrupts)
		say.serving()
		select {
		case <-interrupts:
		case <-ctx.Done():
		}
		say.kept()
	}
	if code != exitOK {
		return ended{code}
	}
	return nil
}

// typed is how the program was started: by go run, it has no place of its own.
func (p *program) typed() string {
	if p.app.Name == "" && strings.Contains(filepath.ToSlash(p.env.Executable), "/go-build") {
		return "go run ./cmd/conc"
	}
	return p.name()
}

// operator is this program as somebody else: one whose home is the demo's, with
// no key but the demo's. What it runs is what anyone's command line runs.
func (p *program) operator(d demoProject) *program {
	env := p.env
	env.Home = d.dir
	env.StateDir = stateDir(func(string) string { return "" }, d.dir)
	env.Getenv = func(key string) string {
		switch key {
		case "HOME", "SSH_AUTH_SOCK", "XDG_STATE_HOME":
			return ""
		}
		return p.env.Getenv(key)
	}
	return &program{app: p.app, streams: p.streams, env: env}
}

// demoFlags are the global flags of the demo, as those of the deploy in it.
func (p *program) demoFlags(d demoProject) []string {
	args := []string{"-c", d.path("deploy.ini"), "--color", p.flags.color.String()}
	for _, s := range p.flags.set {
		args = append(args, "--set", s)
	}
	for flag, on := range map[string]bool{"--verbose": p.flags.verbose, "--quiet": p.flags.quiet, "--json": p.flags.json} {
		if on {
			args = append(args, flag)
		}
	}
	return args
}

// demoDir gives the directory that everything is in, and what to call at the end.
func demoDir(keep string) (dir string, remove func() error, err error) {
	if keep == "" {
		if dir, err = os.MkdirTemp("", "conc-demo-"); err != nil {
			return "", nil, err
		}
		return dir, func() error { return os.RemoveAll(dir) }, nil
	}
	if dir, err = filepath.Abs(keep); err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, err
	}
	if len(there) > 0 {
		return "", nil, usageError{err: fmt.Errorf("%s is not empty", ui.Line(dir)), hint: "name a new directory"}
	}
	return dir, func() error { return nil }, nil
}

func drain(c chan os.Signal) {
	for len(c) > 0 {
		<-c
	}
}

// demoSteps names the steps of the demo's list, in order.
func demoSteps(ini string) []string {
	var names []string
	for _, l := range demoList(ini) {
		names = append(names, l.name)
	}
	return slices.Clip(names)
}
