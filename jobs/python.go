package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"example.org/conc/config"
)

// CreateVenv makes a Python virtual environment without anything in it.
type CreateVenv struct {
	Dir    string // "" is the node's venv attribute
	Python string // "" is python3
}

// venvRecord is a file in a venv that says how far conc got with it: a venv
// cannot be moved, so it has to be built where it will stay.
const venvRecord = ".conc-venv"

// What a venvRecord says.
const (
	venvBuilding = "building\n"
	venvDone     = "done\n"
)

func createVenvEntry() Entry {
	return Entry{
		Name:    "create_venv",
		Args:    "[DIR] [python=PROGRAM]",
		Summary: "make a Python virtual environment",
		Help: `DIR is the node's attribute venv when it is not named. The environment is made by
python3 -m venv, or with the Python named, without pip: setup_install or
pip_install bring that from the bundle. Give each version a venv of its own, so
that the one in use is never changed.

OK, and nothing is done, when DIR is a venv of that Python's version already and
works, whoever made it. One that conc left half made is made again. BLOCKED when
DIR is something else: remove it first, or choose another. FAILED when the Python
cannot make it, ERROR when there is no such Python.`,
		Example: "remote create_venv venvs/shop-%(version)s python=python3.11",
		Parse:   parseCreateVenv,
	}
}

func parseCreateVenv(args []string) (Op, error) {
	var c CreateVenv
	for _, a := range args {
		key, value, isOption := strings.Cut(a, "=")
		switch {
		case isOption && key == "python" && value != "" && c.Python == "":
			c.Python = value
		case isOption && key == "python" || a == "" || c.Dir != "":
			return nil, fmt.Errorf("unexpected argument %q", config.Mask(a))
		default:
			c.Dir = a
		}
	}
	return c, nil
}

// Check wants a directory, from the line or from the node.
func (c CreateVenv) Check(n *config.Node) error { return wantVenv(n, c.Dir) }

func wantVenv(n *config.Node, dir string) error {
	if dir == "" && n.Get("venv") == "" {
		return errors.New("it needs a directory, or the node an attribute venv")
	}
	return nil
}

// Do makes it.
func (c CreateVenv) Do(ctx context.Context, env *Env) error {
	dir, err := env.venv(c.Dir)
	if err != nil {
		return err
	}
	record := filepath.Join(dir, venvRecord)
	if _, err := os.Lstat(dir); err == nil {
		state, _ := os.ReadFile(record)
		if string(state) != venvBuilding {
			return c.there(ctx, env, dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = c.build(ctx, env, dir, record)
	if err != nil && !errors.Is(err, errAlive) {
		// Whatever is left says "building", so that the next try begins anew.
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// there judges what is at dir: a venv that works, and that the Python could have
// made, is as good as one that it makes now.
func (c CreateVenv) there(ctx context.Context, env *Env, dir string) error {
	const remedy = "choose another directory, or remove it: rm -r %s"
	cfg, err := os.ReadFile(filepath.Join(dir, "pyvenv.cfg"))
	if err == nil {
		err = c.Verify(ctx, env.quietly())
	}
	if ctx.Err() != nil {
		return firstError(err, ctx.Err())
	}
	if err != nil {
		return Blockedf("%s is there, and is no venv that works", dir).WithHint(remedy, quote(dir))
	}
	var asked bytes.Buffer
	const look = "import sys; print('%d.%d' % sys.version_info[:2])"
	if err := env.Run(ctx, Cmd{Args: []string{c.python(), "-c", look}, Unset: pythonEnv, Stdout: &asked}); err != nil {
		return err
	}
	if is, want := venvVersion(string(cfg)), strings.TrimSpace(asked.String()); is != "" && is != want {
		return Blockedf("%s is a venv of Python %s, and %s is %s", dir, is, c.python(), want).WithHint(remedy, quote(dir))
	}
	env.Note("already there")
	return nil
}

// venvVersion gives "3.11" of a pyvenv.cfg; "" when it does not say.
func venvVersion(cfg string) string {
	for line := range strings.Lines(cfg) {
		key, value, _ := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); key != "version" && key != "version_info" {
			continue
		}
		if parts := strings.Split(strings.TrimSpace(value), "."); len(parts) > 1 {
			return parts[0] + "." + parts[1]
		}
	}
	return ""
}

func (c CreateVenv) build(ctx context.Context, env *Env, dir, record string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(record, []byte(venvBuilding), 0o644); err != nil {
		return err
	}
	if err := env.Run(ctx, Cmd{Args: []string{c.python(), "-m", "venv", "--without-pip", dir}, Unset: pythonEnv}); err != nil {
		return err
	}
	if err := c.Verify(ctx, env); err != nil {
		return fmt.Errorf("the new Python does not work: %w", err)
	}
	return renameio.WriteFile(record, []byte(venvDone), 0o644)
}

func (c CreateVenv) python() string {
	if c.Python == "" {
		return "python3"
	}
	return c.Python
}

// Verify runs the venv's Python, which must know that it is this venv's.
func (c CreateVenv) Verify(ctx context.Context, env *Env) error {
	dir, err := env.venv(c.Dir)
	if err != nil {
		return err
	}
	const look = "import os, sys; sys.exit(not os.path.samefile(sys.prefix, sys.argv[1]))"
	return env.Run(ctx, Cmd{Args: []string{filepath.Join(dir, "bin", "python"), "-c", look, dir}, Unset: pythonEnv, Stdout: io.Discard})
}

// ByHand is the command.
func (c CreateVenv) ByHand(n *config.Node) []string {
	return []string{quote(c.python(), "-m", "venv", "--without-pip") + " " + typed(n, venvOf(n, c.Dir))}
}

// Repeatable: what a try made is removed when it fails.
func (c CreateVenv) Repeatable() {}

// pythonEnv is what could bend a Python that conc starts: everything of the
// account's that points it at other modules, other indexes, other settings.
var pythonEnv = []string{"PYTHON*", "PIP_*", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}

func venvOf(n *config.Node, dir string) string {
	if dir == "" {
		return n.Get("venv")
	}
	return dir
}

// venv gives the absolute path of the venv that an op means.
func (e *Env) venv(dir string) (string, error) {
	if err := wantVenv(e.Node, dir); err != nil {
		return "", Blockedf("%w", err)
	}
	return e.Path(venvOf(e.Node, dir)), nil
}

// venvPython gives the Python of a venv that is there.
func (e *Env) venvPython(dir string) (string, error) {
	dir, err := e.venv(dir)
	if err != nil {
		return "", err
	}
	python := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(python); err != nil {
		return "", Blockedf("there is no venv at %s", dir).WithHint("create_venv makes one")
	}
	return python, nil
}

// hasModules tells whether a Python knows all of these modules.
func (e *Env) hasModules(ctx context.Context, python string, names ...string) (bool, error) {
	const look = "import importlib.util as u, sys; sys.exit(3 if any(u.find_spec(n) is None for n in sys.argv[1:]) else 0)"
	return e.yes(ctx, python, look, names)
}

// yes asks a Python something to which exit status 3 is no.
func (e *Env) yes(ctx context.Context, python, look string, args []string) (bool, error) {
	err := e.Run(ctx, Cmd{Args: append([]string{python, "-I", "-c", look}, args...), Unset: pythonEnv})
	var exit *Error
	if errors.As(err, &exit) && exit.Exit == 3 {
		return false, nil
	}
	return err == nil, err
}
