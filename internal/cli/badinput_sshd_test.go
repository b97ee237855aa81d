package cli

import (
	"os/exec"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

// What cannot work is said by its reason, before anything is changed.
func TestShellThatRunsNothingIsToldAsSuch(t *testing.T) {
	for _, tt := range []struct{ shell, want string }{
		{"/bin/rbash", "its login shell is a restricted one"},
		{"/usr/sbin/nologin", "cannot execute on node"},
		{"/bin/false", "cannot execute on node"},
	} {
		t.Run(tt.shell, func(t *testing.T) {
			if _, err := exec.LookPath(tt.shell); err != nil {
				t.Skip(err)
			}
			n := sshdtest.Start(t, sshdtest.Options{Shell: tt.shell, ExternalSFTP: true})
			o := newOperator(t, &n.Node, "open = remote open_bundle\n")
			r := o.want(6, "deploy", "web1")
			if !strings.Contains(r.out, tt.want) || !strings.Contains(r.out, "Nothing was changed") {
				t.Errorf("want %q on the screen:\n%s", tt.want, r)
			}
			if o.bundle() {
				t.Error("the node is held")
			}
		})
	}
}

// A warning that is the error's own text is not said twice.
func TestEmptyListIsOneLine(t *testing.T) {
	n := inProcess(t, testnode.Options{})
	o := newOperator(t, n, "")
	r := o.want(5, "deploy", "web1")
	if got := strings.Count(r.String(), "\n"); got != 1 || !strings.Contains(r.err, "[jobs:release] has no lines") {
		t.Errorf("want one line:\n%s", r)
	}
	r = o.want(5, "deploy", "web1", "--jobs", "elsewhere")
	if !strings.Contains(r.err, `choose from "release"`) {
		t.Errorf("the lists there are, are not named:\n%s", r)
	}
}
