package config

import (
	"slices"
	"strings"
	"testing"
)

func TestSelect(t *testing.T) {
	t.Parallel()
	f := mustParse(t, "[group:web]\n[group:none]\n[node:web2]\ngroups = web\n[node:web1]\ngroups=web\n[node:db1]\n")
	tests := []struct {
		patterns string
		want     []string // one that starts with "!" is the error
	}{
		{"web1", []string{"web1"}},
		{"web1 web2 web1", []string{"web1", "web2"}},
		{"web*", []string{"web2", "web1"}},
		{"db1 *", []string{"db1", "web2", "web1"}},
		{"web[13]", []string{"web1"}},
		{"@web", []string{"web2", "web1"}},
		{"@all", []string{"web2", "web1", "db1"}},
		{"", nil},
		{"wbe1", []string{`!d.ini: there is no node "wbe1"; did you mean "web1"`}},
		{"nodeX", []string{`!d.ini: there is no node "nodeX"; choose from "web2", "web1", "db1"`}},
		{"a\x1b[2Jb\n", []string{`!d.ini: "a\x1b[2Jb\n" is no pattern`}},
		{"a\x1b]2;b\n", []string{`!d.ini: there is no node "a\x1b]2;b\n"`}},
		{"mail*", []string{`!d.ini: no node matches "mail*"`}},
		{"web[", []string{`!d.ini: "web[" is no pattern`}},
		{"@wbe", []string{`!d.ini: there is no group "wbe"; did you mean "web"?`}},
		{"@", []string{`!d.ini: there is no group ""`}},
		{"@none", []string{"!d.ini:2: no node is in the group none"}},
		{"web1 nope @nope", []string{"!d.ini: there is no node \"nope\"; choose from \"web2\", \"web1\", \"db1\"\nd.ini: there is no group \"nope\"; did you mean \"none\"?"}},
	}
	for _, tt := range tests {
		patterns := strings.Split(tt.patterns, " ")
		if tt.patterns == "" {
			patterns = nil
		}
		got, err := f.Select(patterns...)
		if len(tt.want) > 0 && tt.want[0][0] == '!' {
			if err == nil || !strings.HasPrefix(err.Error(), tt.want[0][1:]) {
				t.Errorf("%q: got %q, %v\nwant %s", tt.patterns, got, err, tt.want[0][1:])
			}
		} else if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, %v, want %q", tt.patterns, got, err, tt.want)
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	f := mustParse(t, node+"[group:g]\n[jobs:release]\nOpen Bundle = remote open_bundle\nx = local shell \"a  b\"\n[jobs:empty]\n[nodetest:web]\nssh = port tcp:22\n")
	lines, err := f.List("release")
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || lines[0].Name != "Open Bundle" || !slices.Equal(lines[1].Words, []string{"local", "shell", "a  b"}) ||
		lines[1].Origin != (Origin{File: "d.ini", Line: 5, Section: "jobs:release"}) {
		t.Errorf("got %v", lines)
	}
	lines[1].Words[0] = "changed"
	if again, _ := f.List("release"); again[1].Words[0] != "local" {
		t.Error("a change of what List gave changed the file")
	}
	if lines, err := f.Suite("web"); err != nil || len(lines) != 1 || lines[0].Name != "ssh" {
		t.Errorf("got %v, %v", lines, err)
	}
	for _, tt := range []struct {
		got  func(string) ([]Line, error)
		name string
		want string
	}{
		{f.List, "relaese", `d.ini: there is no section [jobs:relaese]; did you mean "release"?`},
		{f.List, "web", `d.ini: there is no section [jobs:web]; choose from "release", "empty"`},
		{f.List, "empty", "d.ini:6: [jobs:empty] has no lines"},
		{f.List, "\x1b", `d.ini: there is no section [jobs:\x1b]; choose from "release", "empty"`},
		{f.Suite, "release", `d.ini: there is no section [nodetest:release]; choose from "web"`},
	} {
		if _, err := tt.got(tt.name); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
	for _, tt := range []struct{ got, want []string }{
		{f.NodeNames(), []string{"web1"}},
		{f.GroupNames(), []string{"g"}},
		{f.ListNames(), []string{"release", "empty"}},
		{f.SuiteNames(), []string{"web"}},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("got %v, want %v", tt.got, tt.want)
		}
	}
}
