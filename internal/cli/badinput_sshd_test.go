package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// Somebody else's directory at the bundle's place is told with the way out, and
// that way works.
func TestBundleOfAnUnknownOwner(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{})
	o := newOperator(t, &n.Node, "open = remote open_bundle\n")
	at := filepath.Join(n.Home, n.Attrs()["bundle"])
	for name, put := range map[string]func() error{
		"an empty directory": func() error { return os.Mkdir(at, 0o755) },
		"a file":             func() error { return os.WriteFile(at, nil, 0o644) },
		"a dangling link":    func() error { return os.Symlink("/nonexistent", at) },
		"a FIFO as the record": func() error {
			return errors.Join(os.Mkdir(at, 0o755), syscall.Mkfifo(filepath.Join(at, ".conc-owner.json"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := put(); err != nil {
				t.Fatal(err)
			}
			r := o.want(3, "deploy", "web1")
			if !strings.Contains(r.out, "owner unknown") || !strings.Contains(r.out, "unlock web1 --id unknown") {
				t.Errorf("the way out is not on the screen:\n%s", r)
			}
			o.want(0, "unlock", "web1", "--id", "unknown", "-y")
			if o.bundle() {
				t.Error("it is still there")
			}
		})
	}
}

func TestMessageWithoutAnEndIsAUsageError(t *testing.T) {
	n := inProcess(t, testnode.Options{})
	o := newOperator(t, n, "open = remote open_bundle\n")
	o.want(2, "deploy", "web1", "-m", strings.Repeat("x", maxMessage+1))
}
