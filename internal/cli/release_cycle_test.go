package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// release writes the archive of a version, and deploy.ini for it: the classic
// cycle of releases, shared files and a link to the release in use.
func (o *operator) release(version string) {
	o.t.Helper()
	dir := "shop-" + version
	o.write("build/"+dir+"/bin/shop", "#!/bin/sh\necho shop "+version+"\n")
	o.write("build/"+dir+"/app.conf.in", "version={{.version}}\nport={{attr \"http.port\"}}\n")
	if err := os.Chmod(filepath.Join(o.dir, "build", dir, "bin/shop"), 0o755); err != nil {
		o.t.Fatal(err)
	}
	o.archive(dir)
	o.write("deploy.ini", o.ini(`
open    = remote open_bundle
stage   = local  open_bundle
deliver = local  deliver dist/shop-%(version)s.tar.gz
shared  = remote mkdir shop/shared/log mode=0750
unpack  = remote untar shop-%(version)s.tar.gz to=shop/releases/%(version)s strip=1
conf    = remote template ~/shop/releases/%(version)s/app.conf.in shop/releases/%(version)s/app.conf
log     = remote symlink ../../shared/log shop/releases/%(version)s/log
proves  = remote run shop/releases/%(version)s/bin/shop
switch  = remote symlink releases/%(version)s shop/current
prune   = remote keep shop/releases/* 2 except=shop/current
close   = remote close_bundle
unstage = local  close_bundle
[jobs:rollback]
open    = remote open_bundle
switch  = remote symlink releases/%(version)s shop/current
close   = remote close_bundle
`, map[string]string{"version": version, "http.port": "8000"}))
}

func TestReleaseCycle(t *testing.T) {
	n := inProcess(t, testnode.Options{})
	o := newOperator(t, n, "")
	shop := filepath.Join(n.Home, "shop")
	state := func(current string, releases ...string) {
		t.Helper()
		if got, err := os.Readlink(filepath.Join(shop, "current")); err != nil || got != "releases/"+current {
			t.Errorf("current: got %q, %v, want releases/%s", got, err, current)
		}
		var names []string
		entries, err := os.ReadDir(filepath.Join(shop, "releases"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got, want := strings.Join(names, " "), strings.Join(releases, " "); got != want {
			t.Errorf("releases: got %s, want %s", got, want)
		}
		conf, err := os.ReadFile(filepath.Join(shop, "current/app.conf"))
		if want := fmt.Sprintf("version=%s\nport=8000\n", current); err != nil || string(conf) != want {
			t.Errorf("app.conf: got %q, %v, want %q", conf, err, want)
		}
		if err := os.WriteFile(filepath.Join(shop, "current/log", current), nil, 0o600); err != nil {
			t.Errorf("the shared directory: %v", err)
		}
		if o.bundle() {
			t.Error("the bundle is still there")
		}
	}

	o.release("1.9")
	o.want(0, "deploy", "web1")
	state("1.9", "1.9")
	o.release("1.10")
	o.want(0, "deploy", "web1")
	state("1.10", "1.10", "1.9")
	o.release("1.11")
	r := o.want(0, "deploy", "web1")
	state("1.11", "1.10", "1.11")
	if !strings.Contains(r.out, "was releases/1.10") || !strings.Contains(r.out, "removed 1.9") {
		t.Errorf("switch and prune do not say what they did:\n%s", r)
	}

	// The same release again: OK, and nothing is changed.
	before := n.Home + "/shop/releases/1.11/bin/shop"
	was, err := os.Stat(before)
	if err != nil {
		t.Fatal(err)
	}
	r = o.want(0, "deploy", "web1")
	state("1.11", "1.10", "1.11")
	if now, err := os.Stat(before); err != nil || !os.SameFile(was, now) {
		t.Errorf("the release was unpacked anew: %v", err)
	}
	for _, want := range []string{"already there, unchanged", "nothing to remove"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not on the screen:\n%s", want, r)
		}
	}

	// Back to the one before, which is a link and no more; keep leaves it alone
	// although it is the oldest.
	o.want(0, "deploy", "web1", "--jobs", "rollback", "--set", "version=1.10")
	state("1.10", "1.10", "1.11")
	o.release("1.12")
	o.want(0, "deploy", "web1")
	state("1.12", "1.11", "1.12")

	// Other content under a version that is there: nothing is changed.
	o.write("build/shop-1.12/bin/shop", "#!/bin/sh\necho other\n")
	o.archive("shop-1.12")
	r = o.want(3, "deploy", "web1")
	if !strings.Contains(r.String(), "bin/shop has") {
		t.Errorf("the difference is not told:\n%s", r)
	}
}
