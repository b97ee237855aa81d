package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"example.org/conc/internal/ui"
)

// TestScripts runs what a user would type: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			home, bin := filepath.Join(e.WorkDir, "home"), filepath.Join(e.WorkDir, ".bin")
			for k, v := range map[string]string{
				"HOME": home, "XDG_STATE_HOME": home + "/state", "XDG_CONFIG_HOME": home + "/config",
				"SSH_AUTH_SOCK": "", "DBUS_SESSION_BUS_ADDRESS": "", "NO_COLOR": "", "CLICOLOR_FORCE": "", "USER": "ann",
			} {
				e.Setenv(k, v)
			}
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			return errors.Join(os.Mkdir(home, 0o755), os.Mkdir(bin, 0o755), os.Symlink(exe, filepath.Join(bin, "conc")))
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":  exits,
			"quoted": quoted,
			"narrow": narrow,
		},
	})
}

// exits runs a command and wants that exit code: exits 5 conc config check.
// Whatever the command is told, it shows no stack trace and no raw control
// character.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	began := time.Now()
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code: got %d, want %d", got, want)
	}
	if took := time.Since(began); took > 20*time.Second {
		ts.Fatalf("it took %v", took)
	}
	for _, name := range []string{"stdout", "stderr"} {
		text := ts.ReadFile(name)
		if strings.Contains(text, "goroutine ") || strings.Contains(text, "panic") {
			ts.Fatalf("%s shows a stack trace", name)
		}
		text = strings.ReplaceAll(text, "\t", " ") // as completion has it
		if safe := ui.Escape(text); safe != text {
			ts.Fatalf("%s has what a terminal would act on: %q", name, text)
		}
	}
}

// quoted writes files that a txtar cannot hold: quoted FILE 'a\x00b' writes what
// the text stands for in Go.
func quoted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: quoted FILE TEXT")
	}
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// narrow wants no line of the last output to be wider than 80 columns.
func narrow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: narrow")
	}
	for line := range strings.Lines(ts.ReadFile("stdout") + ts.ReadFile("stderr")) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
			ts.Fatalf("%d columns: %s", n, line)
		}
	}
}
