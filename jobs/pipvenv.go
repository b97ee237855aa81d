package jobs

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// pip gives the command that is pip for a venv: its own, or the one in a wheel
// in the bundle, which runs from there.
func (e *Env) pip(ctx context.Context, python string) (Cmd, error) {
	own, err := e.canUse(ctx, python, "pip", []string{e.Bundle})
	if err != nil {
		return Cmd{}, err
	}
	if own {
		return pipCommand(python), nil
	}
	wheels, err := e.Glob(bundlePrefix + "pip-*.whl")
	switch {
	case err != nil:
		return Cmd{}, err
	case len(wheels) == 0:
		return Cmd{}, Blockedf("the venv has no pip, and the bundle no wheel of it").
			WithHint("deliver pip-*.whl into the bundle, or setup_install pip first")
	}
	c := pipCommand(python)
	c.Args = append(c.Args[:2], filepath.Join(wheels[len(wheels)-1], "pip")) // in the place of -m pip
	return c, nil
}

// canUse tells whether a Python has a module that packages are installed with. One
// that was cut short while it was installed itself does not count where dirs have a
// wheel of it, which can do its work. What setup.py has installed cannot be judged, and
// is taken for whole.
func (e *Env) canUse(ctx context.Context, python, name string, dirs []string) (bool, error) {
	const look = goneFiles + `import importlib.util, re, sys
name = sys.argv[1]
spec = importlib.util.find_spec(name)
if spec is None: sys.exit(3)
if not any(re.match(name + r"-.*\.whl$", f) for d in sys.argv[2:] if os.path.isdir(d) for f in os.listdir(d)): sys.exit()
site = os.path.dirname(os.path.dirname(spec.origin or "")) # no origin: a directory without __init__.py
if site.endswith(".egg"): sys.exit()
records = [os.path.join(site, f) for f in (os.listdir(site) if os.path.isdir(site) else []) if re.match(name + r"(-.*)?\.(dist|egg)-info$", f)]
for r in records:
    if r.endswith(".egg-info"): continue
    if not os.path.exists(os.path.join(r, "INSTALLER")): sys.exit(3)
    files = os.path.join(r, "RECORD")
    if os.path.exists(files) and gone(site, open(files, encoding="utf-8").read()): sys.exit(3)
sys.exit(0 if records else 3)
`
	return e.yes(ctx, python, look, append([]string{name}, dirs...))
}

// goneFiles defines, in Python, whether a file is missing that a RECORD lists. What
// Python compiles is not missed.
const goneFiles = `import csv, os
def gone(site, record):
    return any(row and not row[0].endswith(".pyc") and not os.path.exists(os.path.join(site, row[0])) for row in csv.reader(record.splitlines()))
`

// pipInstall is how pip is told to install, from files at hand only.
var pipInstall = []string{
	"pip", "install", "--no-index", "--no-cache-dir", "--no-input",
	"--disable-pip-version-check", "--no-warn-script-location",
}

// pipCommand is a Python's own pip, whatever is called so in the current folder or
// in a package's own directory.
func pipCommand(python string, args ...string) Cmd {
	return offline(Cmd{Args: append([]string{python, "-I", "-m", "pip"}, args...)})
}

// lendWheel lends the bundle's package wheel to what pip builds with the venv's own
// setuptools: up to setuptools 70 those need it. Without it pip goes by whether the
// venv has a wheel, which it may just have installed itself, and the same package
// would be installed in another way the next time.
func (e *Env) lendWheel(pip *Cmd) error {
	wheels, err := e.Glob(bundlePrefix + "wheel-*.whl")
	if err != nil || len(wheels) == 0 {
		return err
	}
	// pip itself is isolated, and does not take it for installed.
	pip.Env = append(pip.Env, "PIP_USE_PEP517=1", "PYTHONPATH="+wheels[len(wheels)-1])
	return nil
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

// half is a package in a venv whose installation was cut short.
type half struct {
	record string // the directory that says that it is installed
	file   string // what it is installed from
}

// whole tells whether it has been installed since: pip writes INSTALLER when the
// files are in their places.
func (h half) whole() bool {
	_, err := os.Stat(filepath.Join(h.record, "INSTALLER"))
	return err == nil
}

// halves gives the packages that are half installed, and can be installed from a
// file in dirs, and takes the record of that away: pip goes by the name and the
// version, and would leave them as they are. What it had put aside goes as well.
func (e *Env) halves(ctx context.Context, python string, dirs []string) ([]half, error) {
	const look = `import os, re, shutil, sys, sysconfig
plain = lambda s: re.sub(r"[-_.]+", "-", s).lower()
def stem(f): # what a wheel or a source archive calls its name and version
    m = re.match(r"([^-]+-[^-]+)-.+\.whl$|(.+)\.(tar\.\w+|tgz|zip)$", os.path.basename(f))
    return m and plain(m.group(1) or m.group(2))
there = sorted((os.path.join(d, f) for d in sys.argv[1:] if os.path.isdir(d) for f in os.listdir(d)), key=lambda f: not f.endswith(".whl"))
site = sysconfig.get_paths()["purelib"]
for name in os.listdir(site):
    half = os.path.join(site, name)
    if name.startswith("~"): # pip has put this aside, and was killed
        shutil.rmtree(half) if os.path.isdir(half) and not os.path.islink(half) else os.remove(half)
        continue
    if not name.endswith(".dist-info") or os.path.islink(half) or os.path.exists(os.path.join(half, "INSTALLER")): continue
    for f in there:
        if os.path.isfile(f) and stem(f) == plain(name[:-len(".dist-info")]):
            shutil.rmtree(half)
            print(half, f, sep="\n")
            break
`
	lines, err := e.asked(ctx, python, look, dirs)
	var halves []half
	for pair := range slices.Chunk(lines, 2) {
		halves = append(halves, half{pair[0], pair[len(pair)-1]})
	}
	return halves, err
}

// asked gives the lines that a Python writes.
func (e *Env) asked(ctx context.Context, python, look string, args []string) ([]string, error) {
	var out bytes.Buffer
	err := e.Run(ctx, Cmd{Args: append([]string{python, "-I", "-c", look}, args...), Unset: pythonEnv, Stdout: &out})
	return strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' }), err
}

// stale gives those of the wheels whose version is installed with other content, or
// of which files are missing, as when pip was killed while it removed it: pip goes by
// the version alone, and would leave them as they are. A Python before 3.8 cannot
// tell: it gives none.
func (e *Env) stale(ctx context.Context, python string, files []string) ([]string, error) {
	const look = goneFiles + `import sys, zipfile
try: import importlib.metadata as m
except ImportError: sys.exit()
for f in sys.argv[1:]:
    try:
        z = zipfile.ZipFile(f)
        r = [n for n in z.namelist() if n.count("/") == 1 and n.endswith(".dist-info/RECORD")][0]
        d = m.distribution(r.split("-")[0])
        if d.version != r.split("-")[1][:-len(".dist")]: continue
    except Exception: continue
    new = [l for l in z.read(r).decode().splitlines() if ".data/" not in l]
    record = d.read_text("RECORD") or ""
    if not set(new) <= set(record.splitlines()) or gone(str(d.locate_file("")), record): print(f)
`
	wheels := slices.DeleteFunc(slices.Clone(files), func(f string) bool { return filepath.Ext(f) != ".whl" })
	if len(wheels) == 0 {
		return nil, nil
	}
	return e.asked(ctx, python, look, wheels)
}
