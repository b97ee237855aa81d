// Package smoke is tests that run on a node: conc nodetest web1 ./smoke. A plain
// go test skips them.
package smoke

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/nodetest"

	"example.org/shop/store"
)

// The shop that answers is the release that deploy.ini names.
func TestHealth(t *testing.T) {
	node := nodetest.Node(t)
	resp, err := http.Get("http://127.0.0.1:" + node.Get("http.port") + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	want := fmt.Sprintf("ok release=%s ", node.Get("version"))
	if err != nil || !strings.HasPrefix(string(body), want) {
		t.Errorf("got %q, %v, want %q", body, err, want)
	}
}

// The data have the release's schema, and the orders are numbered from 1: a
// migration has lost none.
func TestOrders(t *testing.T) {
	nodetest.Level(t, nodetest.Migration)
	node := nodetest.Node(t)
	want, err := store.SchemaOf(node.Get("version"))
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.Read(filepath.Join(home, node.Get("data")))
	if err != nil {
		t.Fatal(err)
	}
	if d.Schema != want {
		t.Errorf("got schema %d, want %d", d.Schema, want)
	}
	for i, o := range d.Orders {
		if o.ID != i+1 {
			t.Errorf("order %d has number %d", i+1, o.ID)
		}
	}
}
