package jobs

import (
	"archive/tar"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/config"
)

// need skips a test that needs something which is not there, and fails it where
// everything has to be there.
func need(t *testing.T, what string, there bool) {
	t.Helper()
	switch {
	case there:
	case os.Getenv("CONC_REQUIRE_SSHD") == "1":
		t.Fatalf("%s is missing", what)
	default:
		t.Skipf("%s is missing", what)
	}
}

// wheel copies one of Debian's wheels into dir.
func wheel(t *testing.T, pattern, dir string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/share/python-wheels/" + pattern)
	need(t, pattern, len(found) > 0)
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, filepath.Base(found[0])), string(data), 0o644)
}

// unzip takes a wheel apart into dir, as nobody should install one.
func unzip(t *testing.T, pattern, dir string) {
	t.Helper()
	script := "import glob, sys, zipfile; zipfile.ZipFile(glob.glob(sys.argv[1])[0]).extractall(sys.argv[2])"
	if out, err := exec.Command("/usr/bin/python3", "-c", script, pattern, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// sdistFiles are a source package in the classic form.
func sdistFiles(name string) map[string]string {
	return map[string]string{
		"setup.py":            "from setuptools import setup\nsetup(name='" + name + "', version='1.0', py_modules=['" + name + "'])\n",
		name + ".py":          "answer = 42\n",
		"PKG-INFO":            "Metadata-Version: 1.0\nName: " + name + "\nVersion: 1.0\n",
		"a file with a space": "",
	}
}

func sdist(t *testing.T, name, path string) {
	t.Helper()
	sourcePackage(t, name, sdistFiles(name), path)
}

// sourcePackage makes the archive of a source package.
func sourcePackage(t *testing.T, name string, files map[string]string, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	defer z.Close()
	w := tar.NewWriter(z)
	defer w.Close()
	for file, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name + "-1.0/" + file, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
}

// pythonEnvOf is an environment whose account has settings that would send pip
// to a network, and Python to other modules.
func pythonEnvOf(t *testing.T) *Env {
	t.Helper()
	// The system's own, whose venv module is the one that the wheels fit.
	need(t, "python3 with venv", exec.Command("/usr/bin/python3", "-c", "import venv").Run() == nil)
	t.Setenv("PATH", "/usr/bin:/bin")
	t.Setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
	t.Setenv("PIP_NO_SUCH_OPTION", "1")
	t.Setenv("PYTHONPATH", "/nonexistent")
	env, _ := testEnv(t, Remote)
	t.Setenv("HOME", env.Home)
	env.Node = config.NewNode("web1", map[string]string{"venv": "venvs/shop", "bundle": "b"})
	if err := os.Mkdir(env.Bundle, 0o755); err != nil {
		t.Fatal(err)
	}
	return env
}

func imports(t *testing.T, env *Env, module string) {
	t.Helper()
	cmd := exec.Command(env.Home+"/venvs/shop/bin/python", "-c", "import "+module+"; assert "+module+".answer == 42")
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("import %s: %v\n%s", module, err, out)
	}
}

func do(t *testing.T, env *Env, op Op, want Status, text string) {
	t.Helper()
	r := Perform(t.Context(), stepOf(op), env)
	if r.Status != want || !strings.Contains(r.Message+r.Note, text) {
		t.Errorf("%T: got %s %q note %q, want %s %q; output:\n%s", op, r.Status, r.Message, r.Note, want, text, strings.Join(r.Tail, "\n"))
	}
}

func TestPythonFromTheBundleAlone(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, PipInstall{Files: []string{"shop-*.tar.gz"}}, Blocked, "nothing matches shop-*.tar.gz")
	sdist(t, "shop", env.Bundle+"/shop-1.0.tar.gz")
	do(t, env, PipInstall{Files: []string{"shop-*.tar.gz"}}, Blocked, "there is no venv")
	do(t, env, CreateVenv{}, OK, "")
	do(t, env, CreateVenv{}, OK, "already there")
	do(t, env, PipInstall{Files: []string{"shop-*.tar.gz"}}, Blocked, "no pip")

	wheel(t, "pip-*.whl", env.Bundle)
	wheel(t, "setuptools-*.whl", env.Bundle)
	do(t, env, PipInstall{Files: []string{"setuptools-*.whl", "pip-*.whl"}}, OK, "2 packages")
	do(t, env, PipInstall{Files: []string{"shop-*.tar.gz"}}, OK, "shop-1.0.tar.gz")
	imports(t, env, "shop")

	for name, text := range sdistFiles("cart") {
		write(t, env.Bundle+"/cart-1.0/"+name, text, 0o644)
	}
	write(t, env.Bundle+"/cart-1.0.tar.gz", "not looked at", 0o644)
	do(t, env, SetupInstall{Tree: "cart-*"}, OK, "cart-1.0")
	imports(t, env, "cart")
	do(t, env, SetupInstall{Tree: "nope-*"}, Blocked, "nothing matches")
}

func TestSetupInstallWithoutPip(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	for name, text := range sdistFiles("cart") {
		write(t, env.Bundle+"/cart-1.0/"+name, text, 0o644)
	}
	do(t, env, SetupInstall{Tree: "cart-*"}, Failed, "exit 1") // no setuptools
	// As setup_install leaves it: setuptools in the venv, and no pip.
	wheel(t, "setuptools-*.whl", env.Bundle)
	unzip(t, env.Bundle+"/setuptools-*.whl", sitePackages(t, env))
	do(t, env, SetupInstall{Tree: "cart-*"}, OK, "cart-1.0")
	imports(t, env, "cart")
	if err := os.Remove(env.Bundle + "/cart-1.0/setup.py"); err != nil {
		t.Fatal(err)
	}
	write(t, env.Bundle+"/cart-1.0/pyproject.toml", "", 0o644)
	do(t, env, SetupInstall{Tree: "cart-*"}, Blocked, "no setup.py: it is built with pip, which the venv has not")
}

// What pip was killed in is installed again: by its name and version it is there.
func TestPipInstallAfterOneThatWasKilled(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	for _, name := range []string{"pip", "setuptools", "wheel"} {
		wheel(t, name+"-*.whl", env.Bundle)
	}
	do(t, env, PipInstall{Files: []string{"setuptools-*.whl", "pip-*.whl", "wheel-*.whl"}}, OK, "3 packages")
	site := sitePackages(t, env)
	info, err := filepath.Glob(site + "/wheel-*.dist-info")
	if err != nil || len(info) != 1 {
		t.Fatal(info, err)
	}
	for _, path := range []string{info[0] + "/INSTALLER", info[0] + "/RECORD", site + "/wheel/cli/__init__.py", env.Home + "/venvs/shop/bin/wheel"} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	do(t, env, PipInstall{Files: []string{"setuptools-*.whl"}}, OK, "")
	for _, path := range []string{info[0] + "/INSTALLER", site + "/wheel/cli/__init__.py", env.Home + "/venvs/shop/bin/wheel"} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// A file that setup.py was killed in, in its build directory, is not taken for one
// that is up to date.
func TestSetupInstallAfterOneThatWasKilled(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	wheel(t, "setuptools-*.whl", env.Bundle)
	unzip(t, env.Bundle+"/setuptools-*.whl", sitePackages(t, env))
	for name, text := range sdistFiles("cart") {
		write(t, env.Bundle+"/cart-1.0/"+name, text, 0o644)
	}
	do(t, env, SetupInstall{Tree: "cart-*"}, OK, "cart-1.0")
	built, err := filepath.Glob(env.Bundle + "/cart-1.0/build/lib/cart*")
	if err != nil || len(built) == 0 {
		t.Fatal(built, err)
	}
	write(t, built[0], "half =", 0o644)
	// Nor is what Python had compiled, of which a full disk took the end.
	write(t, env.Bundle+"/cart-1.0/__pycache__/cart.pyc", "half", 0o644)
	do(t, env, SetupInstall{Tree: "cart-*"}, OK, "cart-1.0")
	if text, err := os.ReadFile(env.Bundle + "/cart-1.0/__pycache__/cart.pyc"); err == nil {
		t.Errorf("the compiled file is there still: %q", text)
	}
	imports(t, env, "cart")
}

// A wheel that was built again under its old version is installed again; pip by
// itself would say that its version is there.
func TestPipInstallOfAWheelBuiltAgain(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	wheel(t, "pip-*.whl", env.Bundle)
	cartWheel(t, env, "1.0", "41")
	do(t, env, PipInstall{Files: []string{"cart-*.whl"}}, OK, "cart-1.0")
	cartWheel(t, env, "1.0", "42")
	do(t, env, PipInstall{Files: []string{"cart-*.whl"}}, OK, "cart-1.0")
	imports(t, env, "cart")
	r := Perform(t.Context(), stepOf(PipInstall{Files: []string{"cart-*.whl"}}), env)
	if text := strings.Join(r.Tail, "\n"); r.Status != OK || strings.Contains(text, "Uninstalling") {
		t.Errorf("the same once more: got %s, want nothing installed\n%s", r.Status, text)
	}
	// One that pip was killed in while it removed it.
	site := sitePackages(t, env)
	if err := os.Rename(site+"/cart.py", site+"/~art.py"); err != nil {
		t.Fatal(err)
	}
	do(t, env, PipInstall{Files: []string{"cart-*.whl"}}, OK, "cart-1.0")
	imports(t, env, "cart")
}

// A setup.py of distutils knows no --single-version-externally-managed.
func TestSetupInstallOfDistutils(t *testing.T) {
	env := pythonEnvOf(t)
	need(t, "distutils", exec.Command("/usr/bin/python3", "-c", "import distutils").Run() == nil)
	do(t, env, CreateVenv{}, OK, "")
	write(t, env.Bundle+"/old-1.0/setup.py", "from distutils.core import setup\nsetup(name='old', version='1.0', py_modules=['old'])\n", 0o644)
	write(t, env.Bundle+"/old-1.0/old.py", "answer = 42\n", 0o644)
	do(t, env, SetupInstall{Tree: "old-1.0"}, OK, "old-1.0")
	imports(t, env, "old")
	do(t, env, SetupInstall{Tree: "old-1.0"}, OK, "old-1.0")
}

// A tree with a pyproject.toml alone is built by what that names, when the venv
// has it.
func TestSetupInstallOfPyproject(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	for _, w := range []string{"pip-*.whl", "setuptools-*.whl", "wheel-*.whl"} {
		wheel(t, w, env.Bundle)
	}
	do(t, env, PipInstall{Files: []string{"*.whl"}}, OK, "3 packages")
	const project = "[project]\nname = \"cart\"\nversion = \"1.0\"\n[tool.setuptools]\npy-modules = [\"cart\"]\n"
	write(t, env.Bundle+"/cart-1.0/cart.py", "answer = 42\n", 0o644)
	write(t, env.Bundle+"/cart-1.0/pyproject.toml", "[build-system]\nrequires = [\"hatchling\"]\nbuild-backend = \"hatchling.build\"\n"+project, 0o644)
	do(t, env, SetupInstall{Tree: "cart-*"}, Blocked, "it is built with hatchling, which the venv has not")
	write(t, env.Bundle+"/cart-1.0/pyproject.toml", "[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n"+project, 0o644)
	do(t, env, SetupInstall{Tree: "cart-*"}, OK, "cart-1.0")
	imports(t, env, "cart")
	write(t, env.Bundle+"/cart-1.0/pyproject.toml", "what is this", 0o644)
	do(t, env, SetupInstall{Tree: "cart-*"}, Failed, "reading pyproject.toml")
}

func TestCreateVenvAndWhatIsThere(t *testing.T) {
	env := pythonEnvOf(t)
	dir := env.Home + "/venvs/shop"
	do(t, env, CreateVenv{Python: "python3.no-such"}, Errored, "could not be run")
	if _, err := os.Lstat(dir); err == nil {
		t.Error("a venv that could not be made was left")
	}
	write(t, dir+"/mine.txt", "mine", 0o644)
	do(t, env, CreateVenv{}, Blocked, "is there, and is no venv that works")
	if _, err := os.Stat(dir + "/mine.txt"); err != nil {
		t.Errorf("what was there is gone: %v", err)
	}
	write(t, dir+"/"+venvRecord, venvBuilding, 0o644) // as a killed try leaves it
	do(t, env, CreateVenv{}, OK, "")
	if _, err := os.Stat(dir + "/mine.txt"); err == nil {
		t.Error("half a venv was not made anew")
	}
	if err := os.Rename(dir+"/pyvenv.cfg", dir+"/cfg"); err != nil {
		t.Fatal(err)
	}
	do(t, env, CreateVenv{}, Blocked, "is no venv that works") // it is the system's Python now
	write(t, dir+"/pyvenv.cfg", "home = /usr/bin\nversion = 2.7.18\n", 0o644)
	do(t, env, CreateVenv{}, Blocked, "is a venv of Python 2.7, and python3 is 3.")
	// One that somebody made by hand, as the plan says.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("/usr/bin/python3", "-m", "venv", "--without-pip", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	do(t, env, CreateVenv{}, OK, "already there")
	if err := os.Remove(dir + "/bin/python"); err != nil {
		t.Fatal(err)
	}
	do(t, env, CreateVenv{}, Blocked, "that works")
	env.Node = config.NewNode("web1", nil)
	do(t, env, CreateVenv{}, Blocked, "attribute venv")
}
