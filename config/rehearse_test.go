package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/conc/config"
)

func TestRehearse(t *testing.T) {
	const node = "[node:web1]\nsshd.ip = 192.0.2.1\n"
	parse := func(lines string) (*config.File, error) {
		return config.Parse("deploy.ini", []byte(node+"[rehearse]\n"+lines), config.Options{})
	}
	f, err := parse("files = rehearse/node\nstub = systemctl apt-get\nstub pg_dump = exit=3 stdout=\"50% done\" sleep=2s\nignore = var/log/* *.pid\nforks = 1\nbefore Back = release version=1.0 app=x release\n")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Rehearse{
		Files: "rehearse/node", Ignore: []string{"var/log/*", "*.pid"},
		Stubs: map[string]config.Stub{"systemctl": {}, "apt-get": {}, "pg_dump": {Exit: 3, Stdout: "50% done", Sleep: 2 * time.Second}},
		Forks: 1, Before: map[string][]config.Prior{"Back": {{List: "release", Set: []string{"version=1.0", "app=x"}}, {List: "release"}}},
	}
	if got := f.Rehearse(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, tt := range []struct{ lines, want string }{
		{"file = x\n", `unknown key "file"`},
		{"files = /etc\n", "is not beside this file"},
		{"files = ../x\n", "is not beside this file"},
		{"files = a b\n", "it is one folder"},
		{"ignore = [\n", "is no pattern"},
		{"stub = /bin/rm\n", "no name of a program"},
		{"stub = sudo\n", "there is one"},
		{"stub = rm\nstub rm = exit=1\n", "there is one"},
		{"stub rm = exit=256\n", "not between 0 and 255"},
		{"stub rm = quiet\n", "has no ="},
		{"stub rm = code=1\n", "none of exit"},
		{"forks = 0\n", "no number from 1 on"},
		{"before back = version=1 release\n", "comes before any list"},
		{"[rehearse]\n", "repeats the section"},
	} {
		if _, err := parse(tt.lines); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want %q in it", tt.lines, err, tt.want)
		}
	}
	if _, err := config.Parse("deploy.ini", []byte(node+"[rehearsal]\n"), config.Options{}); err == nil || !strings.Contains(err.Error(), "[rehearse]?") {
		t.Errorf("a misspelt title: got %v", err)
	}
}
