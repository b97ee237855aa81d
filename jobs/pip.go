package jobs

import (
	"bytes"
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
		Help: `The files, or patterns of them, are looked for in the bundle; so is everything
that they depend on. No index is asked, no setting of pip's on that host is used,
and nothing is fetched. Where the venv has no pip, a wheel of pip in the bundle
is run instead. What is installed already in the same version and with the same
content is left alone. A source package is built with the venv's own setuptools where
there is one, and otherwise with what it asks for from the bundle.

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
	args, err := env.pip(ctx, python)
	if err != nil {
		return err
	}
	args = append(args, pipInstall[1:]...)
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
		own, err := env.hasModules(ctx, python, "setuptools")
		if err != nil {
			return err
		}
		if own {
			args = append(args, "--no-build-isolation")
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
	stale = append(stale, halves...)
	if len(stale) > 0 {
		again := append(slices.Clone(args), "--force-reinstall", "--no-deps")
		if err := env.Run(ctx, offline(Cmd{Args: append(again, stale...)})); err != nil {
			return err
		}
	}
	if err := env.Run(ctx, offline(Cmd{Args: append(args, files...)})); err != nil {
		return err
	}
	env.Note("%s", summary(files))
	return nil
}

// halves gives the files in dirs of packages whose installation in the venv was cut
// short, and takes the record of that away: pip goes by the name and the version,
// and would leave them half installed. It writes INSTALLER when the files are in
// their places.
func (e *Env) halves(ctx context.Context, python string, dirs []string) ([]string, error) {
	const look = `import os, re, shutil, sys, sysconfig
plain = lambda s: re.sub(r"[-_.]+", "-", s).lower()
there = sorted((os.path.join(d, f) for d in sys.argv[1:] if os.path.isdir(d) for f in os.listdir(d)), key=lambda f: not f.endswith(".whl"))
site = sysconfig.get_paths()["purelib"]
for name in os.listdir(site):
    half = os.path.join(site, name)
    if not name.endswith(".dist-info") or os.path.islink(half) or os.path.exists(os.path.join(half, "INSTALLER")): continue
    for f in there:
        if os.path.isfile(f) and re.fullmatch(re.escape(plain(name[:-len(".dist-info")])) + r"(-.*-whl|-tar-\w+|-tgz|-zip)", plain(os.path.basename(f))):
            shutil.rmtree(half)
            print(f)
            break
`
	var out bytes.Buffer
	err := e.Run(ctx, Cmd{Args: append([]string{python, "-c", look}, dirs...), Unset: pythonEnv, Stdout: &out})
	return strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' }), err
}

// stale gives those of the wheels whose version is installed with other content:
// pip goes by the version alone, and would leave them as they are.
func (e *Env) stale(ctx context.Context, python string, files []string) ([]string, error) {
	const look = `import importlib.metadata as m, sys, zipfile
for f in sys.argv[1:]:
    try:
        z = zipfile.ZipFile(f)
        r = [n for n in z.namelist() if n.count("/") == 1 and n.endswith(".dist-info/RECORD")][0]
        d = m.distribution(r.split("-")[0])
        if d.version != r.split("-")[1][:-len(".dist")]: continue
    except Exception: continue
    new = [l for l in z.read(r).decode().splitlines() if ".data/" not in l]
    if not set(new) <= set((d.read_text("RECORD") or "").splitlines()): print(f)
`
	wheels := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return filepath.Ext(f) != ".whl" })
	if len(wheels) == 0 {
		return nil, nil
	}
	var out bytes.Buffer
	err := e.Run(ctx, Cmd{Args: append([]string{python, "-c", look}, wheels...), Unset: pythonEnv, Stdout: &out})
	return strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' }), err
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

// pip gives the command that is pip for a venv: its own, or the one in a wheel
// in the bundle, which runs from there.
func (e *Env) pip(ctx context.Context, python string) ([]string, error) {
	own, err := e.hasModules(ctx, python, "pip")
	if err != nil {
		return nil, err
	}
	if own {
		return []string{python, "-m", "pip"}, nil
	}
	wheels, err := e.Glob(bundlePrefix + "pip-*.whl")
	switch {
	case err != nil:
		return nil, err
	case len(wheels) == 0:
		return nil, Blockedf("the venv has no pip, and the bundle no wheel of it").
			WithHint("deliver pip-*.whl into the bundle, or setup_install pip first")
	}
	return []string{python, filepath.Join(wheels[len(wheels)-1], "pip")}, nil
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

// pipInstall is how pip is told to install, from files at hand only.
var pipInstall = []string{
	"pip", "install", "--no-index", "--no-cache-dir", "--no-input",
	"--disable-pip-version-check", "--no-warn-script-location",
}

// offline makes a command of Python's deaf to the account's settings, and lets
// no build script that goes by the usual rules reach a network: every proxy is
// this host's discard port.
func offline(c Cmd) Cmd {
	const nowhere = "http://127.0.0.1:9"
	c.Unset = append(slices.Clone(pythonEnv), "no_proxy", "NO_PROXY")
	c.Env = []string{"PIP_CONFIG_FILE=/dev/null", "PIP_NO_INDEX=1"}
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "all_proxy"} {
		c.Env = append(c.Env, name+"="+nowhere, strings.ToUpper(name)+"="+nowhere)
	}
	return c
}
