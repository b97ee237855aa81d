package cli

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"time"

	"example.org/conc/config"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// program is one command line being run. The commands are its methods; what
// they know of the world comes from it alone.
type program struct {
	app     App
	streams Streams
	env     environment
	flags   globals
	sink    *ui.Screen  // the one that shows this command's run, once there is one
	asking  turns       // of those who put a question to the operator
	leaving atomic.Bool // Ctrl-C came three times
	agents  agentBuilds
	log     logOf // the last one that was read, while runs are looked at

	rehearsal jobs.Rehearsal // that this process is a part of; nil: it is none
}

// environment is what a command takes from the process around it. Nothing else
// in this package reads os.*: the demo and the tests make one of their own.
type environment struct {
	Home       string // whose .ssh is read, absolute
	StateDir   string // $XDG_STATE_HOME/conc, absolute
	Executable string // this program's file: what is copied to a node
	User       string
	Hostname   string
	Getenv     func(string) string
	Now        func() time.Time
	Build      *debug.BuildInfo // what this program was built from; nil: not known
}

// surroundings reads the process's environment.
func surroundings() (environment, error) {
	e := environment{Getenv: os.Getenv, Now: time.Now}
	var err error
	if e.Home, err = os.UserHomeDir(); err != nil || !filepath.IsAbs(e.Home) {
		u, err := user.Current()
		if err != nil {
			return e, fmt.Errorf("your home directory is not known: %w", err)
		}
		e.Home = u.HomeDir
	}
	e.Build, _ = debug.ReadBuildInfo()
	if e.Executable, err = os.Executable(); err != nil {
		return e, fmt.Errorf("the program's own file is not known: %w", err)
	}
	e.StateDir = stateDir(e.Getenv, e.Home)
	if e.Hostname, err = os.Hostname(); err != nil {
		e.Hostname = "unknown"
	}
	if u, err := user.Current(); err == nil {
		e.User = u.Username
	} else if e.User = e.Getenv("USER"); e.User == "" {
		e.User = fmt.Sprint(os.Getuid())
	}
	return e, nil
}

// stateDir follows the XDG rule that a relative path counts as unset.
func stateDir(getenv func(string) string, home string) string {
	base := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "conc")
}

// load reads deploy.ini, and says what is odd in it. The error is config.Problems.
func (p *program) load() (*config.File, error) {
	f, err := p.read()
	if err == nil {
		err = p.app.twice(f)
	}
	if err != nil {
		return nil, err
	}
	p.warnings(f)
	return f, nil
}

// warnings says what is odd in deploy.ini, and no error.
func (p *program) warnings(f *config.File) {
	for _, w := range f.Warnings() {
		p.warn(w.Error())
	}
}

// read is load without a word: for completion, and for `config check`.
func (p *program) read() (*config.File, error) {
	return config.Load(p.flags.config, config.Options{Set: p.flags.set})
}

// node reads deploy.ini and resolves one node of it.
func (p *program) node(name string) (*config.File, *config.Node, error) {
	f, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	names, err := p.names(f, name)
	if err != nil {
		return nil, nil, err
	}
	if len(names) != 1 {
		return nil, nil, usagef("%s means %d nodes; this command takes one", name, len(names))
	}
	n, err := f.Node(names[0])
	return f, n, err
}

// at is node, with where that is. The task has no plan.
func (p *program) at(name string) (task, error) {
	f, node, err := p.node(name)
	if err != nil {
		return task{}, err
	}
	target, err := p.target(f, node)
	return task{node: node, target: target}, err
}

// planner knows the stock ops and those of the application.
func (p *program) planner() jobs.Planner {
	return jobs.Planner{Catalogue: p.catalogue(), Lists: p.app.Lists, Rehearsal: p.rehearsal}
}

// Planner makes the plans of an application, for those who test it.
func Planner(app App) jobs.Planner { return (&program{app: app}).planner() }

// agentProgram is what both ends of a deploy share.
func (p *program) agentProgram() agent.Program {
	return agent.Program{Planner: p.planner(), Procedures: p.checks().Procedures(), Version: Version}
}

// ui gives the screen of this command's run: text on standard error and the
// result on standard output, or JSON lines.
func (p *program) ui() *ui.Screen {
	if p.sink == nil {
		p.sink = ui.New(ui.Options{
			Out: p.streams.Out, Err: p.streams.Err,
			Name: p.name(), JSON: p.flags.json, Verbose: p.flags.verbose, Quiet: p.flags.quiet,
			Color: p.color(p.streams.Out), Args: p.flags.again(), Home: p.env.Home, Hint: hintOf, Now: p.env.Now,
		})
	}
	return p.sink
}

func (p *program) color(w any) bool { return ui.Color(string(p.flags.color), p.env.Getenv, w) }
