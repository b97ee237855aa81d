package cli

import (
	"regexp"
	"testing"

	"example.org/conc/internal/testnode"
)

// Without a node, status asks all of the file; the one that is down does not
// hide the others.
func TestStatusOfAllNodes(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\na = remote run false\n[node:web2]\nsshd.ip = 127.0.0.1\nsshd.port = 1\nbundle = b\n")
	o.want(1, "deploy", "web1")
	r := o.want(4, "status")
	for _, want := range []string{
		`(?m)^web1  FAILED   2/2 a  alice@desk7, just now\s*$`,
		`(?m)^web2  unknown .*refused`,
	} {
		if !regexp.MustCompile(want).MatchString(r.out) {
			t.Errorf("got\n%s\nwant %s", r, want)
		}
	}
	if told := events(t, o.want(4, "status", "--json").out); len(told) < 2 || told[0]["node"] != "web1" || told[1]["node"] != "web2" {
		t.Errorf("got %v", told)
	}
}
