package config_test

import (
	"testing"

	"example.org/conc/config"
)

// TestExampleFile holds deploy.ini.example to what `conc config check` asks.
func TestExampleFile(t *testing.T) {
	f, err := config.Load("../deploy.ini.example", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if w := f.Warnings(); len(w) > 0 {
		t.Errorf("got warnings: %v", w)
	}
	for _, name := range f.NodeNames() {
		n, err := f.Node(name)
		if err != nil {
			t.Fatal(err)
		}
		list := n.Get("jobs")
		if list == "" {
			continue // the bastion is only passed through
		}
		lines, err := f.List(list)
		if err != nil {
			t.Errorf("node %s: %v", name, err)
		}
		for _, l := range lines {
			for _, w := range l.Words {
				if _, err := n.Expand(w, l.Origin); err != nil {
					t.Error(err)
				}
			}
		}
	}
	web2, err := f.Node("web2")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"db.host": "192.0.2.21", "http.port": "8080", "venv": "venvs/shop-1.4.2",
		"sshd.jump": "bastion", "db.password": config.SecretToken("SHOP_DB"),
	} {
		if got := web2.Get(key); got != want {
			t.Errorf("web2 %s: got %q, want %q", key, got, want)
		}
	}
}
