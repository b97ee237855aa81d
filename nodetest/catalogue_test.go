package nodetest

import (
	"strings"
	"testing"

	"example.org/conc/config"
)

// Every check is documented, with an example that deploy.ini takes as it is.
func TestTheCatalogueIsDocumented(t *testing.T) {
	text := "[node:db1]\nsshd.ip = 192.0.2.21\n[node:web1]\nversion = 1\nvenv = venv\nhttp.port = 8000\n[nodetest:all]\n"
	seen := map[string]bool{}
	for _, e := range Stock() {
		if e.Name == "" || e.Summary == "" || e.Help == "" || e.Example == "" || seen[e.Name] {
			t.Errorf("%s: want a name of its own, a summary, help and an example", e.Name)
		}
		seen[e.Name] = true
		if strings.HasSuffix(e.Summary, ".") || strings.ToLower(e.Summary[:1]) != e.Summary[:1] {
			t.Errorf("%s: want a summary in lower case, without a full stop, got %q", e.Name, e.Summary)
		}
		if !strings.Contains(" "+e.Example+" ", " "+e.Name+" ") {
			t.Errorf("%s: got an example of something else: %s", e.Name, e.Example)
		}
		text += e.Name + " = " + e.Example + "\n"
	}
	f, err := config.Parse("deploy.ini", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := f.Node("web1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Stock().Plan(f, node, "all"); err != nil {
		t.Errorf("the examples: %v", err)
	}
}
