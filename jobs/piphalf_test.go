package jobs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// What packages are installed with is not used when it is half there itself, and the
// bundle has it.
func TestPipInstallOfHalfAPip(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	site := sitePackages(t, env)
	for _, name := range []string{"pip", "setuptools", "wheel"} {
		wheel(t, name+"-*.whl", env.Bundle)
	}
	sdist(t, "cart", env.Bundle+"/cart-1.0.tar.gz")
	write(t, site+"/pip/__init__.py", "", 0o644)
	write(t, site+"/pip/__main__.py", "raise SystemExit('half of pip')\n", 0o644)
	write(t, site+"/setuptools/__init__.py", "raise SystemExit('half of setuptools')\n", 0o644)
	do(t, env, PipInstall{Files: []string{"pip-*.whl", "setuptools-*.whl", "cart-*.tar.gz"}}, OK, "3 packages")
	imports(t, env, "cart")
	for _, name := range []string{"pip", "setuptools"} {
		if whole, err := env.canUse(t.Context(), env.Home+"/venvs/shop/bin/python", name, []string{env.Bundle}); !whole || err != nil {
			t.Errorf("%s: whole is %v, %v", name, whole, err)
		}
	}
}

func TestWhatIsInstalledWithIsWhole(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	site, python := sitePackages(t, env), env.Home+"/venvs/shop/bin/python"
	want := func(want bool, why string) {
		t.Helper()
		if got, err := env.canUse(t.Context(), python, "pip", []string{env.Bundle, env.Home + "/none"}); got != want || err != nil {
			t.Errorf("%s: got %v, %v; want %v", why, got, err, want)
		}
	}
	want(false, "there is none")
	write(t, site+"/pip/__init__.py", "", 0o644)
	want(true, "there is no other")
	write(t, env.Bundle+"/pip-2.0-py3-none-any.whl", "", 0o644)
	want(false, "nothing says that it is installed")
	info := site + "/pip-1.0.dist-info"
	write(t, info+"/LICENSE", "", 0o644)
	want(false, "its record is begun")
	write(t, info+"/INSTALLER", "pip\n", 0o644)
	want(true, "it is installed, by who keeps no list")
	write(t, info+"/RECORD", "pip/__init__.py,,\npip/__pycache__/__init__.cpython-311.pyc,,\n\"pip/a,b.py\",,\n", 0o644)
	want(false, "a file is missing")
	write(t, site+"/pip/a,b.py", "", 0o644)
	want(true, "all files are there")
	if err := os.Rename(site+"/pip/__init__.py", site+"/pip/main.py"); err != nil {
		t.Fatal(err)
	}
	want(false, "the directory is no package")
	write(t, site+"/pip/__init__.py", "", 0o644)
	if err := os.RemoveAll(info); err != nil {
		t.Fatal(err)
	}
	write(t, site+"/pip-1.0.egg-info/PKG-INFO", "", 0o644)
	want(true, "setup.py has installed it")
}

// halfInstalled is a package as pip leaves it when it is killed, or somebody who has
// unpacked its wheel.
func halfInstalled(t *testing.T, site, record string) {
	t.Helper()
	write(t, filepath.Join(site, record, "METADATA"), "", 0o644)
}

// What is half installed is that version alone that a file has.
func TestHalvesAreOfTheSameVersion(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	site, python := sitePackages(t, env), env.Home+"/venvs/shop/bin/python"
	want := func(records ...string) {
		t.Helper()
		halves, err := env.halves(t.Context(), python, []string{env.Bundle})
		var got []string
		for _, h := range halves {
			got = append(got, filepath.Base(h.record)+" "+filepath.Base(h.file))
		}
		slices.Sort(got)
		if !slices.Equal(got, records) || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, records)
		}
	}
	halfInstalled(t, site, "foo-1.0.dist-info")
	halfInstalled(t, site, "bar_baz-1.0.dist-info")
	for _, name := range []string{"foo-1.0.1-py3-none-any.whl", "foo-1.0.1.tar.gz", "foo-1.0-extra-1.0.zip", "foo-1.0", "foo-1.0.tar.gz.asc"} {
		write(t, env.Bundle+"/"+name, "", 0o644)
	}
	want()
	write(t, env.Bundle+"/foo-1.0-1-py3-none-any.whl", "", 0o644)
	write(t, env.Bundle+"/Bar-Baz-1.0.tar.gz", "", 0o644)
	want("bar_baz-1.0.dist-info Bar-Baz-1.0.tar.gz", "foo-1.0.dist-info foo-1.0-1-py3-none-any.whl")
	want()
}

// A Python without importlib.metadata (before 3.8) goes by the version alone.
func TestStaleWithoutMetadata(t *testing.T) {
	env := pythonEnvOf(t)
	do(t, env, CreateVenv{}, OK, "")
	site, python := sitePackages(t, env), env.Home+"/venvs/shop/bin/python"
	cartWheel(t, env, "1.0", "42")
	unzip(t, env.Bundle+"/cart-1.0-*.whl", site)
	files := []string{env.Bundle + "/cart-1.0-py3-none-any.whl"}
	if err := os.Remove(site + "/cart.py"); err != nil {
		t.Fatal(err)
	}
	if got, err := env.stale(t.Context(), python, files); err != nil || !slices.Equal(got, files) {
		t.Errorf("a file is missing: got %q, %v", got, err)
	}
	write(t, site+"/old.pth", "import sys; sys.modules['importlib.metadata'] = None\n", 0o644)
	if got, err := env.stale(t.Context(), python, files); err != nil || len(got) > 0 {
		t.Errorf("without importlib.metadata: got %q, %v", got, err)
	}
}

// cartWheel makes a wheel in the bundle, of one module with an answer.
func cartWheel(t *testing.T, env *Env, version, answer string) {
	t.Helper()
	const script = `import sys, zipfile, hashlib, base64
bundle, version, answer = sys.argv[1:]
z = zipfile.ZipFile(bundle + "/cart-" + version + "-py3-none-any.whl", "w")
info = "cart-" + version + ".dist-info/"
record = ""
for name, text in (("cart.py", "answer = " + answer + "\n"), (info + "METADATA", "Metadata-Version: 2.1\nName: cart\nVersion: " + version + "\n"),
        (info + "WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")):
    z.writestr(name, text)
    sum = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    record += "%s,sha256=%s,%d\n" % (name, sum, len(text))
z.writestr(info + "RECORD", record + info + "RECORD,,\n")
`
	if out, err := exec.Command("/usr/bin/python3", "-c", script, env.Bundle, version, answer).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
