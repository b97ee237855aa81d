package cli

import (
	"os"
	"os/exec"
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

// A system that conc is not written for is told as that, and not by what a
// compiler says of it; and what is missing here is told with what to type elsewhere.
func TestBuildAgentSaysWhatToDo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds programs")
	}
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\n")
	for _, system := range []string{"plan9", "openbsd"} {
		r := o.want(exitUsage, "build-agent", "--os", system, "--arch", "arm64")
		if !strings.Contains(r.err, "conc runs on linux, freebsd, darwin, and not on "+system) {
			t.Errorf("got\n%s", r)
		}
	}
	exe := filepath.Join(t.TempDir(), "conc")
	if out, err := exec.Command("go", "build", "-o", exe, "example.org/conc/cmd/conc").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for missing, path := range map[string]string{
		"there is no go on this workstation":       t.TempDir(),
		"the sources of example.org/conc/cmd/conc": os.Getenv("PATH"),
	} {
		cmd := exec.Command(exe, "build-agent", "--arch", "riscv64")
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "PATH="+path, "GOPROXY=off", "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), missing) || !strings.Contains(string(out), "conc build-agent --os linux --arch riscv64 -o conc_linux_riscv64") {
			t.Errorf("want %q in\n%s", missing, out)
		}
	}
}
