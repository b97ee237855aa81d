package jobs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"example.org/conc/config"
)

// SetupInstall installs an unpacked Python source package.
type SetupInstall struct {
	Tree string // pattern of its directory, as in Env.Source
	Venv string // "" is the node's venv attribute
}

func setupInstallEntry() Entry {
	return Entry{
		Name:    "setup_install",
		Args:    "DIR [venv=DIR]",
		Summary: "install an unpacked Python source package, offline",
		Help: `DIR is the package's directory, mostly one that untar made in the bundle; it may
be a pattern. Where the venv has pip and setuptools they install it; where it has
not, which is so for these two themselves, its own setup.py does. Nothing is
fetched and no dependency is looked for. The venv is the node's attribute venv
when it is not named.

BLOCKED when no directory with a setup.py or a pyproject.toml matches, or several
do, or there is no venv.`,
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
	viaPip, err := env.hasModules(ctx, python, "pip", "setuptools")
	if err != nil {
		return err
	}
	c := offline(Cmd{Dir: tree, Args: append([]string{python, "-m"}, append(pipInstall, "--no-deps", "--no-build-isolation", tree)...)})
	if !viaPip {
		if _, err := os.Stat(filepath.Join(tree, "setup.py")); err != nil {
			return Failedf("%s has no setup.py, and the venv not both pip and setuptools", filepath.Base(tree)).
				WithHint("put their wheels into the bundle, and use pip_install")
		}
		record := filepath.Join(tree, ".conc-installed")
		c.Args = []string{python, "setup.py", "install", "--single-version-externally-managed", "--record", record}
	}
	if err := env.Run(ctx, c); err != nil {
		return err
	}
	env.Note("%s", filepath.Base(tree))
	return nil
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

// ByHand goes through pip, as it will be for most packages.
func (s SetupInstall) ByHand(n *config.Node) []string {
	python := typed(n, venvOf(n, s.Venv)+"/bin/python")
	return []string{python + " -m " + quote(pipInstall...) + " --no-deps --no-build-isolation " + typedSource(n, s.Tree)}
}

// Repeatable: an installation may be done over.
func (s SetupInstall) Repeatable() {}
