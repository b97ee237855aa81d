package jobs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.org/conc/config"
)

// SetupInstall installs an unpacked Python source package.
type SetupInstall struct {
	Tree string // pattern of its directory, as in Env.Source
	Venv string // "" is the node's venv attribute

	host Host // for ByHand; "" is the node
}

func setupInstallEntry() Entry {
	return Entry{
		Name:    "setup_install",
		Args:    "DIR [venv=DIR]",
		Summary: "install an unpacked Python source package, offline",
		Help: `DIR is the package's directory, mostly one that untar made in the bundle; it may
be a pattern. Where the venv has pip and setuptools they install it; where it has
not, which is so for these two themselves, its own setup.py does, be it one of
setuptools' or of distutils'. One with a pyproject.toml alone needs pip, and what
it is built with, in the venv. Nothing is fetched and no dependency is looked
for. The venv is the node's attribute venv when it is not named.

BLOCKED when no directory with a setup.py or a pyproject.toml matches, or several
do, there is no venv, or the venv has not what the package is built with. FAILED
when the installation says no.`,
		Example: "remote setup_install setuptools-*",
		Parse: func(args []string) (Op, error) {
			rest, venv, err := venvOption(args)
			if err != nil {
				return nil, err
			}
			if len(rest) != 1 {
				return nil, fmt.Errorf("it takes one directory, not %d", len(rest))
			}
			return SetupInstall{Tree: rest[0], Venv: venv}, nil
		},
	}
}

// Validate checks the pattern.
func (s SetupInstall) Validate() error { return validPatterns(s.Tree) }

// Check wants a venv.
func (s SetupInstall) Check(n *config.Node) error { return wantVenv(n, s.Venv) }

// Do installs it.
func (s SetupInstall) Do(ctx context.Context, env *Env) error {
	tree, err := s.find(env)
	if err != nil {
		return err
	}
	python, err := env.venvPython(s.Venv)
	if err != nil {
		return err
	}
	if err := withoutCompiled(tree); err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(tree, "setup.py"))
	ownSetup := err == nil
	if !ownSetup {
		if err := env.canBuild(ctx, python, tree); err != nil {
			return err
		}
	}
	begun := []byte(env.Owner.Run + "\n" + python + "\n")
	was, _ := os.ReadFile(filepath.Join(tree, setupBegun))
	viaPip := !bytes.Equal(was, begun)
	if viaPip {
		if viaPip, err = env.hasModules(ctx, python, "pip", "setuptools"); err != nil {
			return err
		}
	}
	c := pipCommand(python, append(slices.Clone(pipInstall[1:]), "--no-deps", "--no-build-isolation", tree)...)
	if err := env.lendWheel(&c); err != nil {
		return err
	}
	if ownSetup && !viaPip {
		if err := os.WriteFile(filepath.Join(tree, setupBegun), begun, 0o644); err != nil {
			return err
		}
		c = offline(Cmd{Dir: tree, Args: append([]string{python}, setupPy...)})
		// Help for an option that it does not know is an error, for one that it
		// knows nothing but help.
		probe := c
		probe.Args, probe.Stdout = append(slices.Clone(c.Args), "--help"), io.Discard
		if err := env.quietly().Run(ctx, probe); err != nil {
			if ctx.Err() != nil {
				return err
			}
			c.Args = slices.DeleteFunc(c.Args, func(a string) bool { return a == ownOption })
		}
	}
	if err := env.Run(ctx, c); err != nil {
		return err
	}
	if err := withoutCompiled(tree); err != nil {
		return err
	}
	env.Note("%s", filepath.Base(tree))
	return nil
}

// setupBegun is a file in a package's directory: the run that has its own setup.py
// install it, and the Python. Once that has put pip and setuptools there, they could
// do it as well, in another way; and whether they are whole is not known.
const setupBegun = ".conc-setup"

// withoutCompiled removes what Python has compiled of a tree, which is of no use
// to anybody once it is installed. On a full disk it leaves a part of it (CPython
// renames what it could write), and cannot read that the next time.
func withoutCompiled(tree string) error {
	return filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || d.Name() != "__pycache__" {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return filepath.SkipDir
	})
}

// setupPy has a setup.py install its package as pip would: without an egg, and
// without dependencies. The setup.py of distutils, which makes no eggs, does not
// know ownOption. What is in its build directory, and what is installed, is made
// anew: a file that an earlier try was killed in is the newer one, and would be
// taken for up to date.
var setupPy = []string{"setup.py", "build", "--force", "install", "--force", ownOption, "--record", ".conc-installed"}

const ownOption = "--single-version-externally-managed"

// canBuild tells whether pip can build a tree that has a pyproject.toml alone.
func (e *Env) canBuild(ctx context.Context, python, tree string) error {
	const look = `import importlib.util as u, sys
if u.find_spec("pip") is None: print("pip"); sys.exit()
try: import tomllib as t
except ImportError: from pip._vendor import tomli as t
b = t.load(open("pyproject.toml", "rb")).get("build-system", {})
m = b.get("build-backend", "setuptools.build_meta").partition(":")[0].partition(".")[0]
if "backend-path" not in b and u.find_spec(m) is None: print(m)
`
	var missing bytes.Buffer
	if err := e.Run(ctx, Cmd{Dir: tree, Args: []string{python, "-I", "-c", look}, Unset: pythonEnv, Stdout: &missing}); err != nil {
		return fmt.Errorf("%s: reading pyproject.toml: %w", filepath.Base(tree), err)
	}
	if m := strings.TrimSpace(missing.String()); m != "" {
		return Blockedf("%s has no setup.py: it is built with %s, which the venv has not", filepath.Base(tree), m).
			WithHint("install that first, from a wheel in the bundle: pip_install %s-*.whl", m)
	}
	return nil
}

// quietly is the env without its output.
func (e *Env) quietly() *Env {
	q := *e
	q.Out = io.Discard
	return &q
}

// find gives the one directory that matches and is a source package: the
// archive that it came from matches as well, mostly.
func (s SetupInstall) find(env *Env) (string, error) {
	found, err := env.Glob(s.Tree)
	if err != nil {
		return "", err
	}
	found = slices.DeleteFunc(found, func(dir string) bool {
		for _, name := range []string{"setup.py", "pyproject.toml"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return false
			}
		}
		return true
	})
	return single(s.Tree, found, env)
}

func (s SetupInstall) on(h Host) Op {
	s.host = h
	return s
}

// ByHand goes through pip where the venv has it, as Do does.
func (s SetupInstall) ByHand(n *config.Node) []string {
	python, tree := typed(n, venvOf(n, s.Venv)+"/bin/python"), typedSource(n, s.host, s.Tree)
	if hasMeta(s.Tree) && !strings.HasSuffix(tree, "/") {
		tree += "/" // directories only
	}
	inside := python
	if !strings.HasPrefix(python, "/") && !strings.HasPrefix(python, "~") {
		inside = `"$OLDPWD"/` + python
	}
	return []string{"if " + python + " -c 'import pip, setuptools' 2>/dev/null; then " +
		python + " -m " + quote(pipInstall...) + " --no-deps --no-build-isolation " + tree + "; else " +
		"(cd " + tree + " && " + inside + " " + quote(setupPy...) + "); fi   # one of distutils: without " + ownOption}
}

// Repeatable: an installation may be done over.
func (s SetupInstall) Repeatable() {}
