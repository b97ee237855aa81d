package devops_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"example.org/conc"
	"example.org/conc/conctest"
	"example.org/conc/jobs"

	"example.org/shop/devops"
)

// This binary is the shop's deploy program, too: on the workstation of a test and
// on its node.
func TestMain(m *testing.M) { conctest.Main(m, app()) }

// app is the shop's, with two ops more, which are wrong: see mistakes_test.go.
func app() conc.App {
	a := devops.App()
	for name, wrong := range map[string]func(devops.Migrate) jobs.Op{
		"vouchers": func(m devops.Migrate) jobs.Op { return vouchers{m} },
		"in_place": func(m devops.Migrate) jobs.Op { return inPlace{m} },
	} {
		a.Ops = append(a.Ops, jobs.Entry{
			Name: name, Summary: "a migration with a mistake",
			Parse: func(args []string) (jobs.Op, error) {
				return wrong(devops.Migrate{Data: args[0], Release: args[1]}), nil
			},
		})
	}
	return a
}

// inPlace writes into the file that the shop reads.
type inPlace struct{ devops.Migrate }

func (p inPlace) Do(_ context.Context, env *jobs.Env) error {
	return os.WriteFile(filepath.Join(env.Path(p.Data), "orders.jsonl"), []byte(orders11), 0o640)
}

// vouchers is marked as repeatable, since Migrate is. But it gives every customer
// a voucher, without a look whether they have it.
type vouchers struct{ devops.Migrate }

func (v vouchers) Do(ctx context.Context, env *jobs.Env) error {
	if err := v.Migrate.Do(ctx, env); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(env.Path(v.Data), "orders.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, `{"id":3,"item":"voucher","cents":0}`)
	return err
}

// project is what a deploy is made of: the shop's own, or one with a mistake.
type project struct {
	ini      string // deploy.ini
	template string // shop.conf.in
	saysNo   string // a command of bin/shop that fails, and says what it always says
}

func shop(t testing.TB) project {
	t.Helper()
	ini, err := os.ReadFile("../deploy.ini")
	if err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile("../shop.conf.in")
	if err != nil {
		t.Fatal(err)
	}
	return project{ini: string(ini), template: string(template)}
}

// with gives the project with a mistake in its deploy.ini.
func (p project) with(t testing.TB, right, wrong string) project {
	t.Helper()
	if !strings.Contains(p.ini, right) {
		t.Fatalf("deploy.ini has no %q", right)
	}
	p.ini = strings.ReplaceAll(p.ini, right, wrong)
	return p
}

// program stands in for bin/shop, which the test of the whole example has for
// real: here it is the lists that are tested.
func (p project) program() string {
	return fmt.Sprintf(`#!/bin/sh
case $1 in
start) echo "OK: release 1.1 runs, process 4711" ;;
stop) echo "OK: stopped, process 4711" ;;
esac
[ "$1" != '%s' ]
`, p.saysNo)
}

// state is a node that has a release, and the project.
func (p project) state(t testing.TB, node, release string) conctest.State {
	t.Helper()
	// The service that the list waits for: any release will do.
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok release=1.0 release=1.1")
	}))
	t.Cleanup(up.Close)
	_, port, err := net.SplitHostPort(up.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]conctest.File{
		"shop/data/orders.jsonl": {Content: map[string]string{"1.0": orders10, "1.1": orders11}[release]},
		"shop/current":           {Link: "releases/" + release},
	}
	for _, r := range []string{"1.0", release} {
		files["shop/releases/"+r+"/bin/shop"] = conctest.File{Content: p.program(), Mode: 0o755}
		files["shop/releases/"+r+"/shop.conf"] = conctest.File{Content: "{}"}
	}
	return conctest.State{
		INI: p.ini, Node: node, Attributes: map[string]string{"http.port": port},
		Files:   files,
		Project: fstest.MapFS{"dist/shop-1.1.tar.gz": {Data: p.archive(t), Mode: 0o644}},
	}
}

// archive is the release, as pack.sh makes it.
func (p project) archive(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, f := range []struct {
		name, text string
		mode       int64
	}{{"bin/shop", p.program(), 0o755}, {"shop.conf.in", p.template, 0o644}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
