package nodetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/config"
)

func plan(t *testing.T, text, suite string) (Suite, error) {
	t.Helper()
	f, err := config.Parse("deploy.ini", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := f.Node("web1")
	if err != nil {
		t.Fatal(err)
	}
	return Stock().Plan(f, node, suite)
}

func TestPlanOfASuite(t *testing.T) {
	s, err := plan(t, `[node:web1]
nodetest = web
port = 80 and more
pw = secret:db
[nodetest:web]
a = file "x %(port)s"
b = sudo timeout=2m level=monitoring command exit 3 -- echo %(pw)s
`, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []Spec{
		{N: 1, Name: "a", Level: "functional", Timeout: 30 * time.Second, Words: []string{"file", "x 80 and more"}},
		{N: 2, Name: "b", Sudo: true, Level: "monitoring", Timeout: 2 * time.Minute, Words: []string{"command", "exit", "3", "--", "echo", config.SecretToken("db")}},
	}
	if d := cmp.Diff(want, s.Checks); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
	if !s.NeedsSudo() || strings.Join(s.Secrets(), " ") != "db" {
		t.Errorf("got sudo %v, secrets %q", s.NeedsSudo(), s.Secrets())
	}
	for _, tt := range []struct{ only, level, want string }{
		{"", "", "a b"},
		{"a*", "", "a"},
		{"", "monitoring", "b"},
		{"a", "monitoring", ""},
	} {
		some, err := s.Only(strings.Fields(tt.only), strings.Fields(tt.level))
		var names []string
		for _, c := range some.Checks {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != tt.want {
			t.Errorf("only %q, level %q: got %q (%v), want %q", tt.only, tt.level, got, err, tt.want)
		}
	}
}

func TestBadLinesOfASuite(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"fiel x", `deploy.ini:4: check "n": unknown check "fiel"; did you mean "file"?`},
		{"suod file x", `deploy.ini:4: check "n": unknown check "suod"; did you mean "sudo"?`},
		{"sudo", `deploy.ini:4: check "n": no check is named; write [MODIFIER...] CHECK [ARGUMENT...]`},
		{"timeout=0 file x", `deploy.ini:4: check "n": timeout=0: `},
		{"level=smoke file x", `deploy.ini:4: check "n": level=smoke: it is one of functional, migration, load, monitoring`},
		{"file", `deploy.ini:4: check "n": file: it needs a path; usage: file PATH`},
		{"file x conatins y", `deploy.ini:4: check "n": file: unknown property "conatins"; did you mean "contains"?; usage`}, //nolint:misspell // so it is meant
		{"file x contains", `deploy.ini:4: check "n": file: contains needs a value; usage`},
		{"file x mode rw", `deploy.ini:4: check "n": file: mode rw: not an octal mode such as 0644; usage`},
		{"file x mode 99999", `deploy.ini:4: check "n": file: mode 99999: not an octal mode`},
		{"file x size 10Q", `deploy.ini:4: check "n": file: size 10Q: not a size`},
		{"file x matches '['", `deploy.ini:4: check "n": file: matches [: not a regular expression: `},
		{"file x absent mode 0644", `deploy.ini:4: check "n": file: absent stands alone`},
		{"file %(nokey)s", `deploy.ini:4: "%(nokey)s": node "web1" has no such key`},
		{"command", `deploy.ini:4: check "n": command: it needs a program to run`},
		{"command exit 256 -- x", `deploy.ini:4: check "n": command: exit takes a number from 0 to 255`},
	} {
		_, err := plan(t, "[node:web1]\n\n[nodetest:web]\nn = "+tt.line+"\n", "web")
		var ps config.Problems
		if !errors.As(err, &ps) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s:\n got %v\nwant %s", tt.line, err, tt.want)
		}
	}
}

func TestASuiteThatIsNotThere(t *testing.T) {
	for _, tt := range []struct{ text, suite, want string }{
		{"[node:web1]\n", "", `deploy.ini: the node "web1" has no suite of checks; set nodetest = NAME, and write a section [nodetest:NAME]`},
		{"[node:web1]\nnodetest = wbe\n[nodetest:web]\na = file x\n", "", `deploy.ini:2: no suite is called "wbe"; did you mean "web"?`},
		{"[node:web1]\n[nodetest:web]\na = file x\n", "wbe", `--suite: no suite is called "wbe"; did you mean "web"?`},
		{"[node:web1]\n[nodetest:web]\n", "web", `deploy.ini:2: [nodetest:web] has no lines`},
	} {
		if _, err := plan(t, tt.text, tt.suite); err == nil || err.Error() != tt.want {
			t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}
