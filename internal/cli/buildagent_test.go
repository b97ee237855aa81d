package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// Where no agent can be built, a node of another platform is refused with the
// command to run, before anything is changed there.
func TestANodeOfAnotherPlatformIsRefused(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "uname"), []byte("#!/bin/sh\necho Linux aarch64\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	n := inProcess(t, testnode.Options{Env: []string{"PATH=" + bin + ":" + os.Getenv("PATH")}})
	o := newOperator(t, n, "open = remote open_bundle\n") // its Build is not known
	r := o.want(6, "deploy", "web1")
	for _, want := range []string{"web1 is linux/arm64", "build-agent --os linux --arch arm64 -o conc_linux_arm64", "Nothing was changed"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	agents, _ := filepath.Glob(filepath.Join(n.Home, ".conc", "bin", "*"))
	if strings.Contains(strings.ToLower(r.String()), "exec format") || o.bundle() || len(agents) > 0 {
		t.Errorf("got\n%s", r)
	}
}
