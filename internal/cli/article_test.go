package cli

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode/sshdtest"
)

// required skips a test that needs something which is not there, and fails it
// where everything has to be there.
func required(t *testing.T, what string, there bool) {
	t.Helper()
	switch {
	case there:
	case os.Getenv("CONC_REQUIRE_SSHD") == "1":
		t.Fatalf("%s is missing", what)
	default:
		t.Skipf("%s is missing", what)
	}
}

// sourceArchive makes NAME-VERSION.tar.gz in the project's dist/ of one of
// Debian's wheels: the same code, as a source package that builds itself.
func (o *operator) sourceArchive(name, setup string) (version string) {
	o.t.Helper()
	found, _ := filepath.Glob("/usr/share/python-wheels/" + name + "-*.whl")
	required(o.t.(*testing.T), name+"'s wheel", len(found) > 0)
	version = strings.Split(filepath.Base(found[0]), "-")[1]
	dir := fmt.Sprintf("%s-%s", name, version)
	z, err := zip.OpenReader(found[0])
	if err != nil {
		o.t.Fatal(err)
	}
	defer z.Close()
	err = fs.WalkDir(z, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		// A source package carries these under other names: setuptools finds its
		// own commands by them.
		to := strings.Replace(path, dir+".dist-info/", name+".egg-info/", 1)
		to = strings.Replace(to, "/METADATA", "/PKG-INFO", 1)
		f, err := z.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		text, err := io.ReadAll(f)
		o.write(filepath.Join("build", dir, to), string(text))
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.write(filepath.Join("build", dir, "setup.py"), fmt.Sprintf(setup, version))
	o.archive(dir)
	return version
}

// archive packs build/DIR as dist/DIR.tar.gz.
func (o *operator) archive(dir string) {
	o.t.Helper()
	if err := os.MkdirAll(filepath.Join(o.dir, "dist"), 0o755); err != nil {
		o.t.Fatal(err)
	}
	out, err := exec.Command("tar", "-czf", filepath.Join(o.dir, "dist", dir+".tar.gz"), "-C", filepath.Join(o.dir, "build"), dir).CombinedOutput()
	if err != nil {
		o.t.Fatalf("tar: %v\n%s", err, out)
	}
}

// article makes the project of the article that conc's idea comes from, with
// source archives and a wheel that a node installs from the bundle, offline.
func (o *operator) article() {
	o.t.Helper()
	t := o.t.(*testing.T)
	required(t, "python3 with venv", exec.Command("/usr/bin/python3", "-c", "import venv").Run() == nil)
	o.sourceArchive("setuptools", `from setuptools import setup, find_packages
setup(name="setuptools", version="%s", packages=find_packages(), package_data={"": ["*"]},
    entry_points=open("setuptools.egg-info/entry_points.txt").read())
`)
	o.sourceArchive("pip", `from setuptools import setup, find_packages
setup(name="pip", version="%s", packages=find_packages(), package_data={"": ["*"]},
    entry_points=open("pip.egg-info/entry_points.txt").read())
`)
	wheels, _ := filepath.Glob("/usr/share/python-wheels/wheel-*.whl")
	required(t, "wheel's wheel", len(wheels) > 0)
	wheel, err := os.ReadFile(wheels[0])
	if err != nil {
		t.Fatal(err)
	}
	o.write("dist/"+filepath.Base(wheels[0]), string(wheel))
	o.write("build/shop-1.4.2/setup.py", `from setuptools import setup
setup(name="shop", version="1.4.2", py_modules=["shop"], install_requires=["wheel"])
`)
	o.write("build/shop-1.4.2/shop.py", "import wheel\nanswer = 42\n")
	o.archive("shop-1.4.2")
	o.write("deploy.ini", o.ini(`
open      = remote open_bundle
venv      = remote create_venv
stage     = local  open_bundle
version   = local  run /usr/bin/python3 --version
deliver   = local  deliver dist/*
setuptools = remote untar setuptools-*.tar.gz
setup     = remote setup_install setuptools-*/
pip       = remote untar pip-*.tar.gz
setup pip = remote setup_install pip-*/
install   = remote pip_install shop-*.tar.gz
imports   = remote run %(venv)s/bin/python -c "import shop, wheel, pip"
close     = remote close_bundle
unstage   = local  close_bundle
`, map[string]string{"venv": "venvs/shop-1.4.2"}))
}

// The article's list, with a real venv.
func TestTheArticlesThirteenSteps(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{Shell: "/bin/bash"})
	o := newOperator(t, &n.Node, "")
	o.article()
	r := o.want(0, "deploy", "web1")
	if !strings.Contains(r.out, "13 of 13 steps") {
		t.Errorf("13 steps are not on the screen:\n%s", r)
	}
	out, err := exec.Command(filepath.Join(n.Home, "venvs/shop-1.4.2/bin/python"), "-c", "import shop, pip; print(shop.answer)").CombinedOutput()
	if err != nil || string(out) != "42\n" {
		t.Errorf("the venv's python: %v\n%s", err, out)
	}
	if o.bundle() {
		t.Error("the bundle is still there")
	}
	if left, _ := filepath.Glob(filepath.Join(o.env.StateDir, "bundles", "*")); len(left) > 0 {
		t.Errorf("the local bundle is still there: %v", left)
	}
}

// A Node.js application, packed by npm with the package that it depends on.
func TestNodeJSApplication(t *testing.T) {
	for _, program := range []string{"node", "npm"} {
		_, err := exec.LookPath(program)
		required(t, program, err == nil)
	}
	n := sshdtest.Start(t, sshdtest.Options{})
	o := newOperator(t, &n.Node, "")
	o.write("app/package.json", `{"name":"shop","version":"1.0.0","main":"server.js","dependencies":{"greet":"1.0.0"},"bundleDependencies":["greet"]}`)
	o.write("app/server.js", `const http = require('http'), fs = require('fs'), greet = require('greet');
const conf = JSON.parse(fs.readFileSync('../../shop.json'));
http.createServer((q, r) => r.end(greet(conf.name))).listen(conf.port, '127.0.0.1');
`)
	o.write("app/node_modules/greet/package.json", `{"name":"greet","version":"1.0.0","main":"index.js"}`)
	o.write("app/node_modules/greet/index.js", "module.exports = n => 'hello from ' + n;\n")
	o.write("shop.json.tmpl", `{"name": "{{attr "name"}}", "port": {{attr "http.port"}}}`+"\n")
	pack := exec.Command("npm", "pack", "--offline", "--silent", "--pack-destination", o.dir)
	pack.Dir = filepath.Join(o.dir, "app")
	pack.Env = append(os.Environ(), "HOME="+o.home, "npm_config_cache="+filepath.Join(o.home, "npm"))
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	node, _ := exec.LookPath("node")
	o.write("deploy.ini", o.ini(`
open    = remote open_bundle
deliver = local  deliver shop-*.tgz shop.json.tmpl
unpack  = remote untar shop-*.tgz to=releases/%(version)s strip=1
conf    = remote template shop.json.tmpl shop.json
switch  = remote symlink releases/%(version)s current
start   = remote shell "cd current && (%(node)s server.js >server.log 2>&1 & echo $! >../../pid)"
healthy = remote timeout=20s wait_http http://127.0.0.1:%(http.port)s/ contains="hello from web1"
stop    = remote shell "kill $(cat pid)"
close   = remote close_bundle
`, map[string]string{"version": "1.0.0", "http.port": freePort(t), "node": node}))
	r := o.want(0, "deploy", "web1")
	if !strings.Contains(r.out, "9 of 9 steps") {
		t.Errorf("9 steps are not on the screen:\n%s", r)
	}
	if to, err := os.Readlink(filepath.Join(n.Home, "current")); err != nil || to != "releases/1.0.0" {
		t.Errorf("got current -> %q, %v", to, err)
	}
}

// freePort gives a loopback port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
