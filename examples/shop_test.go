// Package examples tests the examples as their users have them: each is a module
// of its own, which sees of conc only what every project sees.
package examples

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

// The example's own tests, which are those of its application, of its op, and of
// its lists on a harness.
func TestShopsOwnTests(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds programs")
	}
	t.Parallel()
	goes(t, "vet", "./...")
	goes(t, "test", "./...")
}

// goes runs a go command in the example's folder. Neither a network nor a change
// of its go.mod is allowed: that one must be as it is committed.
func goes(t *testing.T, args ...string) {
	t.Helper()
	runs(t, "shop", exec.Command("go", args...))
}

func runs(t *testing.T, dir string, cmd *exec.Cmd) {
	t.Helper()
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// The page of the manual, on real nodes: 1.0 is deployed, 1.1 fails half-way on
// purpose, is resumed, and is rolled back.
func TestShop(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds programs")
	}
	t.Parallel()
	built := t.TempDir()
	goes(t, "build", "-o", filepath.Join(built, "shop-deploy"), "./cmd/shop-deploy")
	for _, release := range []string{"1.0", "1.1"} {
		runs(t, "shop", exec.Command("./pack.sh", release, filepath.Join(built, "dist")))
	}
	t.Run("in this process", func(t *testing.T) {
		t.Parallel()
		n, err := testnode.Start(context.Background(), testnode.Options{Accounts: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
		second := n.Attrs()
		user, home := n.Account(0)
		second["admin"] = user
		newOperator(t, built, n, second, home).walk("web1", "web2")
	})
	t.Run("over sshd", func(t *testing.T) {
		t.Parallel()
		n := sshdtest.Start(t, sshdtest.Options{})
		newOperator(t, built, &n.Node, nil, "").walk("web1")
	})
}

// operator is somebody at a workstation, with the shop's project.
type operator struct {
	t     *testing.T
	dir   string // deploy.ini, dist
	home  string
	exe   string
	homes map[string]string // of the nodes
	ports map[string]string // of the service on them
	typed []string          // command lines, so far
}

// newOperator writes the project: the example's deploy.ini, with the test's
// nodes in the places of those in it.
func newOperator(t *testing.T, built string, n *testnode.Node, second map[string]string, secondHome string) *operator {
	t.Helper()
	o := &operator{
		t: t, dir: t.TempDir(), home: t.TempDir(), exe: filepath.Join(built, "shop-deploy"),
		homes: map[string]string{"web1": n.Home, "web2": secondHome},
		ports: map[string]string{"web1": freePort(t), "web2": freePort(t)},
	}
	ini, err := os.ReadFile("shop/deploy.ini")
	o.must(err)
	text := strings.Replace(string(ini), "http.port = 8080\n", "", 1) // web2's own
	text = o.place(text, "web1", "192.0.2.11", n.Attrs())
	if second != nil {
		text = o.place(text, "web2", "192.0.2.12", second)
	}
	o.must(os.WriteFile(filepath.Join(o.dir, "deploy.ini"), []byte(text), 0o644))
	o.must(os.Symlink(filepath.Join(built, "dist"), filepath.Join(o.dir, "dist")))
	o.must(os.CopyFS(filepath.Join(o.home, ".ssh"), os.DirFS(n.SSHDir)))
	o.must(os.Chmod(filepath.Join(o.home, ".ssh", "id_ed25519-"+n.OpKey), 0o600))
	return o
}

// place gives a node of deploy.ini an address, and its service a port.
func (o *operator) place(text, node, old string, attrs map[string]string) string {
	o.t.Helper()
	attrs["http.port"] = o.ports[node]
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		fmt.Fprintf(&b, "%s = %s\n", key, attrs[key])
	}
	was := "sshd.ip   = " + old + "\n"
	if !strings.Contains(text, was) {
		o.t.Fatalf("deploy.ini has no %q", was)
	}
	return strings.Replace(text, was, b.String(), 1)
}

func (o *operator) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

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

// want runs a command line of the shop's program, which must end with code and
// show the texts.
func (o *operator) want(code int, args []string, texts ...string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	o.typed = append(o.typed, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, o.exe, append([]string{"-c", filepath.Join(o.dir, "deploy.ini")}, args...)...)
	cmd.Dir = "shop" // where ./smoke is
	cmd.Env = append(cmd.Environ(), "HOME="+o.home, "XDG_STATE_HOME="+filepath.Join(o.home, "state"), "SSH_AUTH_SOCK=",
		"GOCACHE="+goEnv(o.t, "GOCACHE"), "GOMODCACHE="+goEnv(o.t, "GOMODCACHE"), "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		o.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		o.t.Fatalf("%v: got exit code %d, want %d\n%s", args, got, code, out)
	}
	for _, text := range texts {
		if !bytes.Contains(out, []byte(text)) {
			o.t.Errorf("%v: want %q in\n%s", args, text, out)
		}
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// health asks the service of a node.
func (o *operator) health(node string) string {
	resp, err := http.Get("http://127.0.0.1:" + o.ports[node] + "/health")
	if err != nil {
		return "down"
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	o.must(err)
	return string(body)
}

func (o *operator) wantHealth(node, want string) {
	o.t.Helper()
	if got := o.health(node); !strings.HasPrefix(got, want) {
		o.t.Errorf("%s: got %q, want %q", node, got, want)
	}
}

// stops ends the service of a node, whatever has become of the test.
func (o *operator) stops(node string) {
	cmd := exec.Command("shop/current/bin/shop", "stop", "shop/current/shop.conf")
	cmd.Dir = o.homes[node]
	if out, err := cmd.CombinedOutput(); err != nil {
		o.t.Logf("%v %s", err, out)
	}
}

func (o *operator) walk(nodes ...string) {
	t := o.t
	deploy := func(args ...string) []string { return append([]string{"deploy"}, args...) }
	o.want(0, []string{"config", "check"})
	o.want(0, []string{"plan", "web1"}, "migrate shop/data 1.1")

	for _, node := range nodes {
		t.Cleanup(func() { o.stops(node) })
		o.want(0, deploy(node, "--set", "version=1.0"))
		o.wantHealth(node, "ok release=1.0 schema=1 orders=0 other=http://")
	}
	for _, item := range []string{"tea", "a cup", "milk"} {
		resp, err := http.Post("http://127.0.0.1:"+o.ports["web1"]+"/orders", "application/json",
			strings.NewReader(`{"item":"`+item+`","cents":350}`))
		o.must(err)
		o.must(resp.Body.Close())
	}
	o.wantHealth("web1", "ok release=1.0 schema=1 orders=3")

	// The list in Go tries the migration while the shop is open.
	o.want(0, deploy("web1", "--jobs", "trial"), "schema 1 to 2: 3 orders are the same")
	o.wantHealth("web1", "ok release=1.0 schema=1 orders=3")

	// Half-way, on purpose: the shop is closed, the data are the old ones, and the
	// node is held.
	o.want(1, deploy("web1", "--set", "migrate.fail_after=2"),
		"after 2 of 3 orders: migrate.fail_after says so", "step web1 --from 8", "shop/releases/1.1/bin/shop migrate shop/data 1.1")
	o.wantHealth("web1", "down")
	if text, err := os.ReadFile(filepath.Join(o.homes["web1"], "shop/data/orders.jsonl")); !bytes.HasPrefix(text, []byte(`{"schema":1}`)) {
		t.Errorf("the data were changed: %s %v", text, err)
	}
	o.want(3, deploy("web1"), "BLOCKED")

	// Resumed.
	o.want(0, []string{"step", "web1", "--from", "migrate"}, "3 orders rewritten, schema 2")
	o.wantHealth("web1", "ok release=1.1 schema=2 orders=3")
	o.want(0, []string{"nodetest", "web1"}, "4 checks")
	o.want(0, []string{"nodetest", "web1", "./smoke"}, "OK        smoke: TestHealth", "OK        smoke: TestOrders")

	// Back, and forth again: what is there already is not unpacked twice.
	o.want(0, deploy("web1", "--jobs", "rollback"), "3 orders rewritten, schema 1")
	o.wantHealth("web1", "ok release=1.0 schema=1 orders=3")
	o.want(0, []string{"--set", "version=1.0", "nodetest", "web1"}, "4 checks")
	o.want(0, deploy("web1"), "unchanged")
	o.wantHealth("web1", "ok release=1.1 schema=2 orders=3")
	for _, node := range nodes[1:] {
		o.wantHealth(node, "ok release=1.0 ")
	}
	o.wantPage("../docs/manual/shop.rst")
}

// wantPage looks whether each command line of a page of the manual was typed.
func (o *operator) wantPage(page string) {
	o.t.Helper()
	text, err := os.ReadFile(page)
	o.must(err)
	found := 0
	for line := range strings.Lines(string(text)) {
		args, ok := strings.CutPrefix(line, "   $ shop-deploy ")
		args = strings.TrimSpace(args)
		// The keys of these nodes are known, and a rehearsal takes a minute.
		if !ok || args == "trust web1" || strings.HasPrefix(args, "rehearse ") {
			continue
		}
		if found++; !slices.Contains(o.typed, args) {
			o.t.Errorf("%s has %q, which was not tried", page, args)
		}
	}
	if found < 5 {
		o.t.Errorf("%s has %d command lines only", page, found)
	}
}
