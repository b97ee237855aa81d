package jobs

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pkg/sftp"

	"example.org/conc/bundle"
)

// pipeNode is a node at the other end of a pipe: a real SFTP server, and the
// agent's side of a delivery.
type pipeNode struct {
	home, bundle string
	store        *bundle.Store
}

func (n pipeNode) Home() string   { return n.home }
func (n pipeNode) Bundle() string { return n.bundle }

func (n pipeNode) Spare(ctx context.Context) (*sftp.Client, error) { return n.SFTP(ctx) }
func (n pipeNode) SFTP(context.Context) (*sftp.Client, error) {
	here, there := net.Pipe()
	server, err := sftp.NewServer(there)
	if err != nil {
		return nil, err
	}
	go func() { _ = server.Serve() }()
	return sftp.NewClientPipe(here, here)
}

func (n pipeNode) Ask(ctx context.Context, q bundle.Query) (bundle.Answer, error) {
	return n.store.Ask(ctx, q)
}

func (n pipeNode) Settle(ctx context.Context, s bundle.Settlement) error {
	return n.store.Settle(ctx, s)
}

// newPair is a workstation and its node.
func newPair(t *testing.T) (here, node *place) {
	here, node = newPlace(t, Local), newPlace(t, Remote)
	store := &bundle.Store{Home: node.Home, Run: "01JD0000000000000000ABCDEF", Limit: 1 << 30}
	here.Far = pipeNode{node.Home, node.Bundle, store}
	return here, node
}

func TestDeliver(t *testing.T) {
	here, node := newPair(t)
	src := func(name, text string) { here.write(filepath.Join(here.Dir, name), text) }
	src("dist/app-1.tar.gz", "app")
	src("dist/lib-2.tar.gz", "lib")
	src("-x", "dash")
	src("site/index.html", "<html>")
	src("site/css/a.css", "css")
	here.link("css/a.css", filepath.Join(here.Dir, "site/b.css"))
	here.link("app-1.tar.gz", filepath.Join(here.Dir, "dist/latest"))

	here.want(OK, "", "deliver", "dist/*.tar.gz", "dist/latest", "-x", "site", "dist/app-1.tar.gz")
	want := []string{
		"-x dash", "app-1.tar.gz app", "latest app", "lib-2.tar.gz lib",
		"site /", "site/b.css css", "site/css /", "site/css/a.css css", "site/index.html <html>",
	}
	if got := node.tree("shop-bundle"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if here.said != "7 files, 25 B, sha256 verified, 19 B sent" { // two have the content of others
		t.Errorf("note: got %q", here.said)
	}
	src("-x", "DASH")
	here.want(OK, "", "deliver", "-x", "site")
	if here.said != "4 files, 16 B, sha256 verified, 4 B sent" || node.read("shop-bundle/-x") != "DASH" {
		t.Errorf("again: got note %q, %q", here.said, node.read("shop-bundle/-x"))
	}
	here.want(OK, "", "deliver", "site")
	if here.said != "3 files, 12 B, sha256 verified, all there already" {
		t.Errorf("the same again: got note %q", here.said)
	}
	for to, at := range map[string]string{"sub/dir": "shop-bundle/sub/dir", "~/www": "www", node.abs("abs"): "abs"} {
		here.want(OK, "", "deliver", "-x", "to="+to)
		if node.read(at+"/-x") != "DASH" {
			t.Errorf("to=%s: not there", to)
		}
	}
}

func TestDeliverRefuses(t *testing.T) {
	here, node := newPair(t)
	at := func(name string) string { return filepath.Join(here.Dir, name) }
	here.write(at("a/same"), "1")
	here.write(at("b/same"), "2")
	here.write(at("new\nline"), "x")
	here.write(at("tree/x"), "x")
	here.link("../a", at("tree/out"))
	here.write(at("loop/sub/x"), "x")
	here.link("sub", at("loop/l"))
	here.write(at("way"), "x")
	here.link("nowhere", at("dangling/x"))
	if err := errors.Join(syscall.Mkfifo(at("fifo"), 0o600), os.Mkdir(at("empty"), 0o755), os.Mkdir(node.abs("shop-bundle/way"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status Status
		want   string
		words  []string
	}{
		{Errored, "gone", []string{"gone"}},
		{Errored, "a FIFO", []string{"fifo"}},
		{Errored, `new\nline`, []string{"new*"}},
		{Errored, "would both become same", []string{"a/same", "b/same"}},
		{Errored, "leads out of", []string{"tree"}},
		{Errored, "a link to", []string{"loop"}},
		{Errored, "a link to something that is not there", []string{"dangling"}},
		{Blocked, "*.whl matches no file", []string{"*.whl"}},
		{Blocked, "no files in there", []string{"empty"}},
	} {
		op, err := lookup(t, "deliver").Parse(c.words)
		if err != nil {
			t.Fatal(err)
		}
		err = op.(Preparer).Prepare(t.Context(), here.Env)
		if StatusOf(err) != c.status || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Prepare %q: got %s (%v), want %s with %q", c.words, StatusOf(err), err, c.status, c.want)
		}
		here.want(c.status, c.want, append([]string{"deliver"}, c.words...)...)
	}
	here.want(Failed, "it is a directory on the node", "deliver", "way")
	node.want(Errored, "runs on the workstation", "deliver", "way")
	here.Far = nil
	here.want(Errored, "needs the node", "deliver", "way")
	if got := node.tree("shop-bundle"); !slices.Equal(got, []string{"way /"}) {
		t.Errorf("the bundle: got %q, want nothing new", got)
	}
}

func TestPut(t *testing.T) {
	here, node := newPair(t)
	here.write(filepath.Join(here.Dir, "build/shop.service"), "[Unit]")
	for dest, at := range map[string]string{
		"etc/shop.service": "etc/shop.service", "~/x": "x", "bundle:y": "shop-bundle/y", node.abs("z"): "z",
	} {
		here.want(OK, "", "put", "build/*.service", dest, "mode=0600")
		info, err := os.Stat(node.abs(at))
		if err != nil || info.Mode() != 0o600 || node.read(at) != "[Unit]" {
			t.Errorf("%s: got %v, %v, %q", dest, info, err, node.read(at))
		}
	}
	here.want(Blocked, "nothing matches", "put", "build/*.socket", "x")
	here.want(Errored, "no such file", "put", "gone", "x")
	here.want(Failed, "it is a directory", "put", "build/shop.service", "etc")
	node.want(Errored, "runs on the workstation", "put", "x", "y")
	if node.read("x") != "[Unit]" {
		t.Error("the old file is not whole")
	}
	node.noLeftovers()
}

func TestFetch(t *testing.T) {
	here, node := newPair(t)
	big := strings.Repeat("0123456789", 100_000)
	node.write("var/log", big)
	node.write("shop-bundle/empty", "")
	if err := errors.Join(os.Chmod(node.abs("var/log"), 0o640), syscall.Mkfifo(node.abs("fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	dest := here.write(filepath.Join(here.Dir, "log"), "old")
	here.want(OK, "", "fetch", "var/log", "log")
	if info, _ := os.Stat(dest); here.read(dest) != big || info.Mode() != 0o640 || here.said != "1.0 MB" {
		t.Errorf("got %d bytes, %v, note %q", info.Size(), info.Mode(), here.said)
	}
	here.want(OK, "", "fetch", "bundle:empty", "empty")
	if info, err := os.Stat(filepath.Join(here.Dir, "empty")); err != nil || info.Size() != 0 {
		t.Errorf("empty: got %v, %v", info, err)
	}
	here.want(Failed, "var/gone", "fetch", "var/gone", "log")
	here.want(Failed, "not a regular file", "fetch", "var", "log")
	here.want(Failed, "not a regular file", "fetch", "fifo", "log")
	here.want(Failed, "is a directory", "fetch", "var/log", here.Dir)
	if err := syscall.Mkfifo(filepath.Join(here.Dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	here.want(Failed, "is a FIFO", "fetch", "var/log", "fifo")
	if err := os.Remove(filepath.Join(here.Dir, "fifo")); err != nil {
		t.Errorf("the FIFO is gone: %v", err)
	}
	here.want(Failed, "var/gone", "fetch", "var/gone", "not/there")
	if _, err := os.Stat(filepath.Join(here.Dir, "not")); err == nil {
		t.Error("a fetch that failed left a directory")
	}
	here.want(OK, "", "fetch", "bundle:empty", "not/there")
	if err := os.RemoveAll(filepath.Join(here.Dir, "not")); err != nil {
		t.Fatal(err)
	}
	node.want(Errored, "runs on the workstation", "fetch", "var/log", "log")
	if here.read(dest) != big {
		t.Error("the old file is not whole")
	}
	entries, _ := os.ReadDir(here.Dir)
	if len(entries) != 2 {
		t.Errorf("left over: %v", entries)
	}
}
