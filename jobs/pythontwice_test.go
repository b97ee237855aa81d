package jobs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sitePackages is where the venv of a test has its packages.
func sitePackages(t *testing.T, env *Env) string {
	t.Helper()
	site, err := filepath.Glob(env.Home + "/venvs/shop/lib/python3*/site-packages")
	if err != nil || len(site) != 1 {
		t.Fatal(site, err)
	}
	return site[0]
}

// namesIn are the paths of all that is below a directory.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func wantNames(t *testing.T, got, want []string) {
	t.Helper()
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s is there, and was not before", name)
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%s was there before, and is not", name)
		}
	}
}

// What the first try has installed does not have the second one install in another
// way: nobody knows how far the first one came.
func TestPipInstallTwice(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	for _, w := range []string{"pip-*.whl", "setuptools-*.whl", "wheel-*.whl"} {
		wheel(t, w, env.Bundle)
	}
	do(t, env, PipInstall{Files: []string{"pip-*.whl", "setuptools-*.whl"}}, OK, "2 packages")
	files := sdistFiles("cart")
	files["setup.py"] = "from setuptools import setup\nsetup(name='cart', version='1.0', py_modules=['cart'], install_requires=['wheel'])\n"
	sourcePackage(t, "cart", files, env.Bundle+"/cart-1.0.tar.gz")
	install := PipInstall{Files: []string{"cart-*.tar.gz"}}
	do(t, env, install, OK, "cart-1.0")
	site := sitePackages(t, env)
	once := namesIn(t, site)

	// A package that nobody asked for by its name does not become one that somebody
	// asked for, and what pip had put aside when it was killed goes.
	info, err := filepath.Glob(site + "/wheel-*.dist-info/INSTALLER")
	if err != nil || len(info) != 1 {
		t.Fatal(info, err)
	}
	if err := os.Remove(info[0]); err != nil {
		t.Fatal(err)
	}
	write(t, site+"/~art.py", "", 0o644)
	write(t, site+"/~art-1.0.dist-info/METADATA", "", 0o644)
	do(t, env, install, OK, "cart-1.0")
	wantNames(t, namesIn(t, site), once)
	imports(t, env, "cart")
}

// A pip that setup.py was putting there is not one to install with, and its own
// directory is not run from.
func TestSetupInstallOfPipTwice(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	wheel(t, "setuptools-*.whl", env.Bundle)
	site := sitePackages(t, env)
	unzip(t, env.Bundle+"/setuptools-*.whl", site)
	tree := env.Bundle + "/pip-1.0"
	write(t, tree+"/setup.py", "from setuptools import setup\nimport pip\nsetup(name='pip', version='1.0', packages=['pip'])\n", 0o644)
	write(t, tree+"/pip/__init__.py", "", 0o644)
	write(t, tree+"/pip/__main__.py", "raise SystemExit('half of pip')\n", 0o644)
	do(t, env, SetupInstall{Tree: "pip-*"}, OK, "pip-1.0")
	once, left := namesIn(t, site), namesIn(t, tree)
	do(t, env, SetupInstall{Tree: "pip-*"}, OK, "pip-1.0")
	wantNames(t, namesIn(t, site), once)
	wantNames(t, namesIn(t, tree), left)
	if slices.ContainsFunc(left, func(name string) bool { return strings.HasSuffix(name, ".pyc") }) {
		t.Errorf("byte code is left in the bundle: %v", left)
	}
	// The next run has a pip, as far as it can tell.
	env.Owner.Run = "01HZZZZZZZZZZZZZZZZZZZZZZZ"
	do(t, env, SetupInstall{Tree: "pip-*"}, Failed, "")
}
