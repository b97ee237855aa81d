package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"example.org/conc/config"
)

// venvOption takes venv=DIR out of the arguments.
func venvOption(args []string) (rest []string, venv string, err error) {
	for _, a := range args {
		v, ok := strings.CutPrefix(a, "venv=")
		switch {
		case !ok:
			rest = append(rest, a)
		case v == "":
			return nil, "", errors.New("venv= has no value")
		case venv != "":
			return nil, "", errors.New("venv= is given twice")
		default:
			venv = v
		}
	}
	return rest, venv, nil
}

// validPatterns checks the form of source patterns.
func validPatterns(patterns ...string) error {
	for _, p := range patterns {
		if p == "" || strings.HasPrefix(p, "-") || !doublestar.ValidatePattern(config.Mask(p)) {
			return fmt.Errorf("%q is not a file's name or pattern", config.Mask(p))
		}
	}
	return nil
}

// PipInstall installs Python packages from the bundle alone.
type PipInstall struct {
	Files []string // patterns of wheels and source packages, as in Env.Source
	Venv  string   // "" is the node's venv attribute

	host Host // for ByHand; "" is the node
}

func pipInstallEntry() Entry {
	return Entry{
		Name:    "pip_install",
		Args:    "FILE... [venv=DIR]",
		Summary: "install wheels and source packages with pip, offline",
		Help: `The files, or patterns of them, are looked for in the bundle; so is everything that
they depend on. No index is asked, no setting of pip's on that host is used, and
nothing is fetched. Where the venv has no pip, a wheel of pip in the bundle is run
instead, as where the venv's own is half installed. What is installed already in the
same version and with the same content is left alone. A source package is built with
the venv's own setuptools where there is one, whole, together with the bundle's
wheel of the package wheel, which is not installed by that; otherwise with what it
asks for from the bundle. To do it again after it was cut short comes to the same.

BLOCKED when a pattern matches nothing, or there is no venv or no pip. FAILED
when pip says no.`,
		Example: "remote timeout=5m pip_install SQLAlchemy-*.tar.gz",
		Parse: func(args []string) (Op, error) {
			rest, venv, err := venvOption(args)
			if err != nil {
				return nil, err
			}
			if len(rest) == 0 {
				return nil, errors.New("it needs a file to install")
			}
			return PipInstall{Files: rest, Venv: venv}, nil
		},
	}
}

// Validate checks the patterns.
func (p PipInstall) Validate() error {
	if len(p.Files) == 0 {
		return errors.New("it needs a file to install")
	}
	return validPatterns(p.Files...)
}

// Check wants a venv.
func (p PipInstall) Check(n *config.Node) error { return wantVenv(n, p.Venv) }

// Do installs them, all at once so that pip sees what fits together.
func (p PipInstall) Do(ctx context.Context, env *Env) error {
	files, err := p.find(env)
	if err != nil {
		return err
	}
	python, err := env.venvPython(p.Venv)
	if err != nil {
		return err
	}
	pip, err := env.pip(ctx, python)
	if err != nil {
		return err
	}
	args := append(pip.Args, pipInstall[1:]...)
	dirs := []string{env.Bundle}
	for _, f := range files {
		dirs = append(dirs, filepath.Dir(f))
	}
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	for _, d := range dirs {
		args = append(args, "--find-links", d)
	}
	if slices.ContainsFunc(files, func(f string) bool { return filepath.Ext(f) != ".whl" }) {
		own, err := env.canUse(ctx, python, "setuptools", dirs)
		if err != nil {
			return err
		}
		if own {
			args = append(args, "--no-build-isolation")
			if err := env.lendWheel(&pip); err != nil {
				return err
			}
		} else {
			pip.Env = append(pip.Env, "PIP_USE_PEP517=1") // or pip takes half a setuptools
		}
	}
	halves, err := env.halves(ctx, python, dirs)
	if err != nil {
		return err
	}
	stale, err := env.stale(ctx, python, files)
	if err != nil {
		return err
	}
	install := func(files []string, more ...string) error {
		if len(files) == 0 {
			return nil
		}
		pip.Args = slices.Concat(args, more, files)
		return env.Run(ctx, pip)
	}
	if err := install(stale, "--force-reinstall", "--no-deps"); err != nil {
		return err
	}
	if err := install(files); err != nil {
		return err
	}
	// What these need is whole by now. Another step's is not.
	var left []string
	for _, h := range halves {
		if !h.whole() {
			left = append(left, h.file)
		}
	}
	if err := install(left, "--no-deps"); err != nil {
		return err
	}
	env.Note("%s", summary(files))
	return nil
}

func summary(files []string) string {
	if len(files) == 1 {
		return filepath.Base(files[0])
	}
	return fmt.Sprintf("%d packages", len(files))
}

func (p PipInstall) find(env *Env) ([]string, error) {
	var files []string
	for _, pattern := range p.Files {
		found, err := env.Glob(pattern)
		if err != nil {
			return nil, err
		}
		found = slices.DeleteFunc(found, func(f string) bool {
			fi, err := os.Stat(f)
			return err != nil || fi.IsDir()
		})
		if len(found) == 0 {
			_, err := single(pattern, nil, env)
			return nil, err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func (p PipInstall) on(h Host) Op {
	p.host = h
	return p
}

// ByHand is pip with the options that matter.
func (p PipInstall) ByHand(n *config.Node) []string {
	python := typed(n, venvOf(n, p.Venv)+"/bin/python")
	line := python + " -m " + quote(pipInstall...) + " --find-links " + typed(n, bundlePrefix)
	if slices.ContainsFunc(p.Files, func(f string) bool { return filepath.Ext(f) != ".whl" }) {
		line += " $(" + python + " -c 'import setuptools' 2>/dev/null && echo --no-build-isolation)"
	}
	for _, f := range p.Files {
		line += " " + typedSource(n, p.host, f)
	}
	return []string{line}
}

// Repeatable: an installation may be done over.
func (p PipInstall) Repeatable() {}
