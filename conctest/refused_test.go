package conctest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"example.org/conc/conctest"
	"example.org/conc/jobs"
)

// refusal is a test that hears what Fatal says, and goes on.
type refusal struct {
	testing.TB
	text string
}

func (r *refusal) Helper() {}

func (r *refusal) Fatalf(format string, args ...any) {
	r.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// refused gives what Run says of a state that cannot be: "" when it can.
func refused(t *testing.T, list string, s conctest.State) string {
	r := &refusal{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conctest.Run(r, app, list, s)
	}()
	<-done
	return r.text
}

func TestRefused(t *testing.T) {
	const ini = "[DEFAULT]\nbundle = b\n[node:web1]\nsshd.ip = 192.0.2.1\n"
	file := func(name string, f conctest.File) conctest.State {
		return conctest.State{Files: map[string]conctest.File{name: f}}
	}
	for _, tt := range []struct {
		name, want string
		state      conctest.State
	}{
		{"no such list", `no job list is called "nightly"`, conctest.State{}},
		{"no such node", `"web2"`, conctest.State{INI: ini, Node: "web2"}},
		{"a misspelt attribute", "sshd.prot", conctest.State{Attributes: map[string]string{"sshd.prot": "22"}}},
		{"an attribute of two lines", "not one line", conctest.State{Attributes: map[string]string{"a": "b\nc"}}},
		{"a file above the home", "not below the node's home", file("../x", conctest.File{})},
		{"an absolute path", "not below the node's home", file("/etc/x", conctest.File{})},
		{"a file of conc's", "conc's own", file(".conc/history.jsonl", conctest.File{})},
		{"a link with content", "a link, and something else", file("x", conctest.File{Link: "y", Content: "z"})},
		{"a directory with content", "a directory, and has content", file("x", conctest.File{Dir: true, Content: "z"})},
		{"a file below a file", "which is no directory", conctest.State{Files: map[string]conctest.File{"x": {}, "x/y": {}}}},
		{"a file below a link", "which is no directory", conctest.State{Files: map[string]conctest.File{"x": {Link: "z"}, "x/y": {}}}},
		{"no such step", "no step", conctest.State{Step: "migrat"}},
		{"a step, and from", "without From and To", conctest.State{Step: "migrate", From: "migrate"}},
		{"a range that ends before it begins", "is before From", conctest.State{From: "close", To: "open"}},
		{"a journal without a bundle", "no bundle open after step 0", conctest.State{Journal: &conctest.Journal{}}},
		{"a journal after the close", "was not interrupted", conctest.State{Journal: &conctest.Journal{Done: "close"}}},
		{"a journal of OK and no more", "name that step in Done", conctest.State{Journal: &conctest.Journal{Done: "open", Status: jobs.OK}}},
		{"a journal of no status", "is no status", conctest.State{Journal: &conctest.Journal{Done: "open", Status: "FINE"}}},
		{"doubt with a status", "in doubt has no status", conctest.State{Journal: &conctest.Journal{Done: "open", Status: jobs.Failed, Doubt: true}}},
		{"two holders", "a node has one bundle", conctest.State{Open: &conctest.Open{}, Journal: &conctest.Journal{Done: "open"}}},
		{"a run's id that is none", "no run's id", conctest.State{Open: &conctest.Open{Run: "../7"}}},
		{"a bundle of no list", `no list "nightly"`, conctest.State{Open: &conctest.Open{List: "nightly"}}},
		{"a fault of no kind", `"fire" is none of ["fail" `, conctest.State{Fault: conctest.Fault{Step: "migrate", Kind: "fire"}}},
		{"a fault at no step", "Fault:", conctest.State{Fault: conctest.Fault{Step: "migrat", Kind: conctest.Kill}}},
		{"a fault at a step that is not run", "is not run", conctest.State{To: "migrate", Fault: conctest.Fault{Step: "close", Kind: conctest.Kill}}},
		{"a full disk of no size", "needs Bytes", conctest.State{Fault: conctest.Fault{Step: "migrate", Kind: conctest.FullDisk}}},
		{"a stub that is a path", "no name of a program", conctest.State{Stubs: map[string]conctest.Stub{"/bin/rm": {}}}},
		{"a stub of sudo", "has a stand-in", conctest.State{Stubs: map[string]conctest.Stub{"sudo": {}}}},
		{"a stub's exit status", "cannot exit with 300", conctest.State{Stubs: map[string]conctest.Stub{"rm": {Exit: 300}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := "release"
			if tt.name == "no such list" {
				list = "nightly"
			}
			if got := refused(t, list, tt.state); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
}

// A step that does not exist is said once: nothing is concluded from it.
func TestRefusedOnce(t *testing.T) {
	got := refused(t, "release", conctest.State{From: "restart", Journal: &conctest.Journal{Done: "migrat"}})
	if !strings.Contains(got, `did you mean "migrate"?`) || strings.Contains(got, "no bundle open") {
		t.Errorf("got %q", got)
	}
}
