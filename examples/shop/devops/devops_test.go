package devops_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/conctest"
	"example.org/conc/jobs"

	"example.org/shop/store"
)

// The orders of a node, as each release has them.
const (
	orders10 = `{"schema":1}
{"id":1,"item":"tea","price":"3.50"}
{"id":2,"item":"a cup","price":"12.05"}
`
	orders11 = `{"schema":2}
{"id":1,"item":"tea","cents":350}
{"id":2,"item":"a cup","cents":1205}
`
)

// State in, one run, state out: a node with 1.0 on it, and the list.
func TestRelease(t *testing.T) {
	t.Parallel()
	p := shop(t)
	r := conctest.Run(t, app(), "release", p.state(t, "web1", "1.0")).Want(jobs.OK)
	want(t, r, "shop/data/orders.jsonl", orders11)
	wantLink(t, r, "shop/current", "releases/1.1")
	// web1 knows where web2 is.
	for _, text := range []string{`"data": "shop/data"`, `"other": "http://192.0.2.12:8080"`} {
		if got := r.File("shop/releases/1.1/shop.conf"); !strings.Contains(got, text) {
			t.Errorf("want %s in\n%s", text, got)
		}
	}
	if r.Has("shop-bundle") {
		t.Error("the node is still held")
	}
}

// A node that has never had the shop needs no list of its own.
func TestFirstRelease(t *testing.T) {
	t.Parallel()
	state := shop(t).state(t, "web1", "1.0")
	state.Files = nil
	r := conctest.Run(t, app(), "release", state).Want(jobs.OK)
	want(t, r, "shop/data/orders.jsonl", `{"schema":2}`+"\n")
}

func TestMigrationThatFailsHalfWay(t *testing.T) {
	t.Parallel()
	state := shop(t).state(t, "web1", "1.0")
	state.Args = []string{"--set", "migrate.fail_after=1"}
	r := conctest.Run(t, app(), "release", state).Want(jobs.Failed)
	if got := r.StatusOf("migrate"); got != jobs.Failed {
		t.Errorf("migrate: got %s, want FAILED", got)
	}
	want(t, r, "shop/data/orders.jsonl", orders10)
	wantLink(t, r, "shop/current", "releases/1.0")
	if r.Open == nil {
		t.Error("nobody holds the node: somebody else could deploy to it now")
	}

	r = r.Resume("migrate").Want(jobs.OK)
	want(t, r, "shop/data/orders.jsonl", orders11)
	wantLink(t, r, "shop/current", "releases/1.1")
}

// Whatever befalls the migration, the data are the old ones or the new ones, and
// to go on from it ends as a run does that nothing befell.
func TestMigrationUnderFaults(t *testing.T) {
	for _, fault := range []conctest.Fault{
		{Kind: conctest.Fail},
		{Kind: conctest.Cut},
		{Kind: conctest.Kill},
		{Kind: conctest.Kill, Bytes: 40},
		{Kind: conctest.FullDisk, Bytes: 40},
	} {
		t.Run(string(fault.Kind), func(t *testing.T) {
			t.Parallel()
			state := shop(t).state(t, "web1", "1.0")
			fault.Step = "migrate"
			state.Fault = fault
			state.Args = []string{"--set", "timeout.reconnect=1s"}
			r := conctest.Run(t, app(), "release", state)
			if got := r.File("shop/data/orders.jsonl"); got != orders10 && got != orders11 {
				t.Errorf("the data are neither the old ones nor the new ones:\n%s", got)
			}
			if r.Open != nil { // a line that was cut may be back in time
				r = r.Resume("migrate")
			}
			want(t, r.Want(jobs.OK), "shop/data/orders.jsonl", orders11)
		})
	}
}

// The step is BLOCKED where the shop runs: two at work on the data is the end of
// them.
func TestMigrationOfAShopThatRuns(t *testing.T) {
	t.Parallel()
	state := shop(t).state(t, "web1", "1.0")
	state.To = "stop"
	r := conctest.Run(t, app(), "release", state).Want(jobs.OK)
	s, err := store.Open(filepath.Join(r.Home, "shop/data"), 1)
	if err != nil {
		t.Fatal(err)
	}
	r.Resume("migrate").Want(jobs.Blocked)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	want(t, r.Resume("migrate").Want(jobs.OK), "shop/data/orders.jsonl", orders11)
}

// Wherever a release has stopped, rollback takes the node back.
func TestRollback(t *testing.T) {
	for name, tt := range map[string]struct{ orders, current string }{
		"after the whole of it": {orders11, "1.1"},
		"after the migration":   {orders11, "1.0"},
		"before the migration":  {orders10, "1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := shop(t).state(t, "web1", "1.1")
			state.Files["shop/data/orders.jsonl"] = conctest.File{Content: tt.orders}
			state.Files["shop/current"] = conctest.File{Link: "releases/" + tt.current}
			r := conctest.Run(t, app(), "rollback", state).Want(jobs.OK)
			want(t, r, "shop/data/orders.jsonl", orders10)
			wantLink(t, r, "shop/current", "releases/1.0")
		})
	}
}

// The list in Go changes nothing on the node.
func TestTrial(t *testing.T) {
	t.Parallel()
	state := shop(t).state(t, "web1", "1.0")
	r := conctest.Run(t, app(), "trial", state).Want(jobs.OK)
	want(t, r, "shop/data/orders.jsonl", orders10)
	if got, want := r.Steps[1].Note, "schema 1 to 2: 2 orders are the same"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	state.Files["shop/data/orders.jsonl"] = conctest.File{Content: strings.Replace(orders10, "12.05", "a lot", 1)}
	r = conctest.Run(t, app(), "trial", state).Want(jobs.Failed)
	if got, want := r.Steps[1].Message, `order 2: "a lot" is not a price`; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func want(t *testing.T, r *conctest.Result, file, text string) {
	t.Helper()
	if got := r.File(file); got != text {
		t.Errorf("%s: got\n%swant\n%s", file, got, text)
	}
}

func wantLink(t *testing.T, r *conctest.Result, link, to string) {
	t.Helper()
	if got, err := os.Readlink(filepath.Join(r.Home, link)); got != to {
		t.Errorf("%s: got %q, %v, want %q", link, got, err, to)
	}
}
