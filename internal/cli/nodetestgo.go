package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/agent"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// goTestOptions are the flags of nodetest that are for Go tests.
type goTestOptions struct {
	timeout string
	sudo    bool
	secrets []string
}

func (o *goTestOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.timeout, "timeout", "10m", "Go tests: end those of a package after `DURATION`")
	f.BoolVar(&o.sudo, "sudo", false, "Go tests: let them use sudo; -K and --sudo-password-file mean it too")
	f.StringArrayVar(&o.secrets, "secret", nil, "Go tests: let them have the attribute `KEY`, which is a secret; may be repeated")
}

// goTests are the Go tests of one command line. Their programs are built once
// for each platform.
type goTests struct {
	dirs []string // as they were named: the folder of a package, or "DIR/..."
	run  nodetest.GoRun

	say  func(text string)
	temp string // this host's directory for what is built

	mu     sync.Mutex                             // of builds, and while something is said
	builds map[string]func() ([]goPackage, error) // by platform
}

// goPackage is a package whose tests were built.
type goPackage struct {
	name    string          // as results call it
	program string          // in the room's directory for it
	sources []bundle.Source // the program and its testdata, below the room
	dir     string          // below the room
}

// isPackage tells which arguments of nodetest are Go packages.
func isPackage(arg string) bool {
	return arg == "." || arg == ".." || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") || filepath.IsAbs(arg)
}

// goTests reads what the command line says of Go tests: nil when it says
// nothing. The caller closes it.
func (p *program) goTests(args []string, o nodetestOptions) (patterns []string, g *goTests, err error) {
	g = &goTests{builds: map[string]func() ([]goPackage, error){}}
	for _, a := range args {
		if isPackage(a) {
			g.dirs = append(g.dirs, a)
		} else {
			patterns = append(patterns, a)
		}
	}
	switch {
	case len(patterns) == 0:
		return nil, nil, usagef("which node? name one before the packages")
	case len(g.dirs) == 0 && (o.sudo || len(o.secrets) > 0):
		return nil, nil, usagef("--sudo and --secret are for Go tests, and no package is named: ./path/to/package")
	case len(g.dirs) == 0:
		return patterns, nil, nil
	}
	g.run = nodetest.GoRun{
		Only: o.only, Levels: o.levels,
		Sudo: o.goTestOptions.sudo || o.askSudo || o.sudoFile != "",
	}
	for _, key := range o.secrets {
		g.run.Secrets = append(g.run.Secrets, strings.ToLower(key))
	}
	for _, l := range o.levels {
		if !slices.Contains(nodetest.Levels, l) {
			return nil, nil, usagef("--level %s: it is one of %s", l, strings.Join(nodetest.Levels, ", "))
		}
	}
	if err := g.run.Validate(); err != nil {
		return nil, nil, usagef("--only: %w", err)
	}
	if g.run.Limit, err = config.ParseDuration(o.timeout); err != nil {
		return nil, nil, usagef("--timeout %s: %w", o.timeout, err)
	}
	for _, d := range g.dirs {
		dir, _ := packageDir(d)
		if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
			return nil, nil, usagef("%s: no such folder", d)
		}
	}
	if _, err := exec.LookPath("go"); err != nil {
		return nil, nil, jobs.Errorf("the tests cannot be built: there is no go on this workstation").
			WithHint("install Go, or put it in PATH: https://go.dev/dl/")
	}
	if g.temp, err = os.MkdirTemp("", "conc-nodetest-"); err != nil {
		return nil, nil, jobs.Errorf("the tests cannot be built: %w", err)
	}
	g.say = func(text string) {
		if !p.flags.quiet {
			p.ui().Tell(fmt.Sprintf("%s: %s\n", p.name(), ui.Line(text)))
		}
	}
	return patterns, g, nil
}

// packageDir gives the folder of a package, and whether those below it are
// meant too.
func packageDir(arg string) (dir string, below bool) {
	if dir, below = strings.CutSuffix(arg, "/..."); below && dir == "" {
		dir = "/"
	}
	return dir, below
}

func (g *goTests) close() {
	if g != nil {
		_ = os.RemoveAll(g.temp)
	}
}

// wantsSudo tells whether the tests may use sudo.
func (g *goTests) wantsSudo() bool { return g != nil && g.run.Sudo }

// secretNames lists the secrets that the tests may have of a node.
func (g *goTests) secretNames(node *config.Node) ([]string, error) {
	if g == nil {
		return nil, nil
	}
	var names []string
	for _, key := range g.run.Secrets {
		attr, ok := node.Lookup(key)
		found := config.SecretNames(attr.Value)
		switch {
		case !ok:
			return nil, usagef("--secret %s: %s has no such attribute", key, node.Name())
		case len(found) == 0:
			return nil, usagef("--secret %s: it is no secret of %s, and every test can read it", key, node.Name())
		}
		names = append(names, found...)
	}
	return names, nil
}

// on builds the tests for the agent's node, brings them there and runs them.
func (g *goTests) on(ctx context.Context, c *agent.Client, report func(nodetest.Result)) error {
	packages, err := g.built(ctx, c.Hello().OS, c.Hello().Arch)
	if err != nil {
		return err
	}
	room, leave, err := nodetest.RoomOn(ctx, c)
	if err != nil {
		return err
	}
	defer leave()
	var sources []bundle.Source
	for _, p := range packages {
		sources = append(sources, p.sources...)
	}
	if _, err := bundle.Deliver(ctx, c, room, sources, bundle.Options{}); err != nil {
		if ctx.Err() != nil || c.Err() != nil {
			return err
		}
		return jobs.Errorf("the tests cannot be brought to the node: %w", err)
	}
	for _, p := range packages {
		run := g.run
		run.Package, run.Room, run.Dir, run.Program = p.name, room, p.dir, p.program
		if err := run.RunOn(ctx, c, report); err != nil {
			return err
		}
	}
	return nil
}

// built gives the tests for a platform. Whoever comes first builds them; the
// others wait.
func (g *goTests) built(ctx context.Context, goos, arch string) ([]goPackage, error) {
	platform := goos + "/" + arch
	g.mu.Lock()
	build := g.builds[platform]
	if build == nil {
		build = sync.OnceValues(func() ([]goPackage, error) { return g.build(ctx, goos, arch) })
		g.builds[platform] = build
	}
	g.mu.Unlock()
	return build()
}

func (g *goTests) build(ctx context.Context, goos, arch string) ([]goPackage, error) {
	settings := []string{"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + arch}
	var all []goPackage
	seen := map[string]bool{}
	for _, arg := range g.dirs {
		found, err := list(ctx, arg, settings)
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			if seen[l.Dir] {
				continue
			}
			seen[l.Dir] = true
			g.mu.Lock()
			g.say(fmt.Sprintf("building the tests of %s for %s/%s", l.ImportPath, goos, arch))
			g.mu.Unlock()
			n := strconv.Itoa(len(all) + 1)
			p := goPackage{name: l.short(), program: l.Name + ".test", dir: n}
			file := filepath.Join(g.temp, goos+"-"+arch+"-"+n)
			if out, err := goTool(ctx, l.Dir, settings, "test", "-c", "-ldflags=-s -w", "-o", file, "."); err != nil {
				return nil, buildError(ctx, "the tests of "+l.ImportPath+" cannot be built", out, err)
			}
			p.sources = []bundle.Source{{Local: file, Path: path.Join(n, p.program), Mode: 0o700}}
			data, err := testdata(l.Dir, n)
			if err != nil {
				return nil, err
			}
			p.sources = append(p.sources, data...)
			all = append(all, p)
		}
	}
	return all, nil
}

// listed is what go list says of a package.
type listed struct {
	Dir, ImportPath, Name     string
	Module                    struct{ Path string }
	TestGoFiles, XTestGoFiles []string
}

// short is the package's name for people: its path in its module.
func (l listed) short() string {
	if rest, ok := strings.CutPrefix(l.ImportPath, l.Module.Path+"/"); ok && l.Module.Path != "" {
		return rest
	}
	return path.Base(l.ImportPath)
}

// list finds the packages that an argument names, and that have tests for the
// platform.
func list(ctx context.Context, arg string, settings []string) ([]listed, error) {
	dir, below := packageDir(arg)
	pattern := "."
	if below {
		pattern = "./..."
	}
	out, err := goTool(ctx, dir, settings, "list", "-json=Dir,ImportPath,Name,Module,TestGoFiles,XTestGoFiles", pattern)
	if err != nil {
		return nil, buildError(ctx, arg+" is no package that go can read", out, err)
	}
	var tested []listed
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, jobs.Errorf("what go list says of %s cannot be read: %w", arg, err)
		}
		if len(l.TestGoFiles)+len(l.XTestGoFiles) > 0 {
			tested = append(tested, l)
		}
	}
	if len(tested) == 0 {
		return nil, jobs.Errorf("%s has no tests for %s", arg, strings.Join(settings[1:], " ")).
			WithHint("tests are functions TestXxx in files named *_test.go")
	}
	return tested, nil
}

// goTool runs the go command in a package's folder. Its standard output is
// returned, and what it says on standard error when it fails.
func goTool(ctx context.Context, dir string, settings []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), settings...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// It ends what it has started.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return stderr.String() + stdout.String(), err
	}
	return stdout.String(), nil
}

// maxBuildOutput bounds, in bytes, what is shown of a compiler's output.
const maxBuildOutput = 8 << 10

func buildError(ctx context.Context, what, out string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if out = strings.TrimSpace(out); out == "" {
		out = err.Error()
	}
	if len(out) > maxBuildOutput {
		out = out[:maxBuildOutput] + "\n[...]"
	}
	return jobs.Errorf("%s:\n%s", what, out).WithHint("it is built by go test -c, with CGO_ENABLED=0, in the package's own folder")
}

// testdata lists the files of a package's testdata: a link to a file is that
// file.
func testdata(dir, below string) ([]bundle.Source, error) {
	var files []bundle.Source
	root := filepath.Join(dir, "testdata")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if fi, err := os.Stat(file); err != nil {
			return err
		} else if !fi.Mode().IsRegular() {
			return fmt.Errorf("%s: neither a file nor a link to one", file)
		}
		rel, err := filepath.Rel(dir, file)
		files = append(files, bundle.Source{Local: file, Path: path.Join(below, filepath.ToSlash(rel))})
		return err
	})
	if errors.Is(err, fs.ErrNotExist) && len(files) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, jobs.Errorf("the tests' files: %w", err)
	}
	return files, nil
}
