package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/config"
)

const committed = "../manual"

// The manual that is read is the program that is run.
func TestPagesAreNotStale(t *testing.T) {
	want := pages()
	for path, text := range want {
		got, err := os.ReadFile(filepath.Join(committed, path))
		if err != nil {
			t.Errorf("got no page %s, want one: run `go run ./docs/gen`", path)
			continue
		}
		if diff := cmp.Diff(text, string(got)); diff != "" {
			t.Errorf("%s is stale: run `go run ./docs/gen` (-want +got):\n%s", path, diff)
		}
	}
	got, err := written(committed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), got); diff != "" {
		t.Errorf("pages that are generated, and those that are there (-want +got):\n%s", diff)
	}
}

// A second writing changes nothing, and a page whose command is gone goes too.
func TestWriteReplacesWhatItWrote(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir, map[string]string{"ops.rst": "1", "commands/old.rst": "2"}); err != nil {
		t.Fatal(err)
	}
	if err := write(dir, map[string]string{"ops.rst": "3", "commands/new.rst": "4"}); err != nil {
		t.Fatal(err)
	}
	got, err := written(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"commands/new.rst", "ops.rst"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "ops.rst")); err != nil || string(text) != "3" {
		t.Errorf("got ops.rst %q, %v, want 3", text, err)
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		`a glob such as "web*"`: `a glob such as "web\*"`,
		"see `conc ops *`, or":  "see ``conc ops *``, or",
		`open_bundle`:           `open_bundle`,
		`trailing_ and _leads`:  `trailing\_ and _leads`,
		`a|b \ c`:               `a\|b \\ c`,
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q): got %q, want %q", in, got, want)
		}
	}
}

// The page of deploy.ini has a row for every key that has a built-in value, and
// the right value in it.
func TestTheManualKnowsTheDefaults(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(committed, "deploy-ini.rst"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse("deploy.ini", []byte("[node:web1]\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Node("web1")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, a := range n.Attrs() {
		if !a.Origin.BuiltIn() || a.Key == "name" {
			continue
		}
		found++
		if row := "* - ``" + a.Key + "``\n     - ``" + a.Raw + "``\n"; !strings.Contains(string(text), row) {
			t.Errorf("deploy-ini.rst: got no row with key and default\n%s", row)
		}
	}
	if found < 5 {
		t.Errorf("got %d keys with a built-in value, want more: is the test still right?", found)
	}
}
