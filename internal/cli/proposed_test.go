package cli

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// What status and mark propose does it when it is typed, with a list, too, that
// is not the node's own.
func TestProposedLinesNameTheList(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "a = remote run true\n"+
		"[jobs:other]\nopen = remote open_bundle\nbad = remote run false\nmore = remote run true\nclose = remote close_bundle\n")
	o.want(1, "deploy", "web1", "--jobs", "other")
	proposed := func(r ran, label string) []string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^ *` + label + ` +conc -c \S+ (.*)$`).FindStringSubmatch(r.out)
		if m == nil {
			t.Fatalf("nothing is proposed to %s:\n%s", label, r)
		}
		out, err := exec.Command("sh", "-c", "printf '%s\\n' "+m[1]).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	o.want(1, proposed(o.want(0, "status", "web1"), "go on")...)
	r := o.want(0, proposed(o.want(0, "status", "web1"), "done by hand")...)
	o.want(0, proposed(r, "Next:")...)
}
