package cli

import (
	"fmt"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// Going on further down says of each step before that it is done: that is told
// first. One that never began may be a slip: whoever sits at a terminal is asked.
func TestStepSaysWhatItTakesAsDone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, flag, answer string
		code               int
	}{
		{"d", "", "no", 7},
		{"d", "", "yes", 0},
		{"d", "-y", "", 0},
		{"c", "", "", 0}, // b began, and failed
	} {
		t.Run(fmt.Sprintf("from %s %s, %s", c.from, c.flag, c.answer), func(t *testing.T) {
			t.Parallel()
			mark := t.TempDir()
			o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "b", "false"))
			o.want(1, "deploy", "web1")
			args := []string{"step", "web1", "--from", c.from}
			if c.flag != "" {
				args = append(args, c.flag)
			}
			keyboard, shown, ended := o.terminalRun(args...)
			if c.answer != "" {
				eventually(t, "it asks", func() bool { return strings.Contains(shown.String(), "never began. Go on all the same?") })
				if _, err := fmt.Fprintln(keyboard, c.answer); err != nil {
					t.Fatal(err)
				}
			}
			if code := <-ended; code != c.code {
				t.Errorf("got exit code %d, want %d\n%s", code, c.code, shown)
			}
			said := strings.ReplaceAll(shown.String(), "\r", "")
			for text, want := range map[string]bool{
				"step 4 b: FAILED, taken as done":      true,
				"step 5 c: not started, taken as done": c.from == "d",
				"Go on all the same?":                  c.answer != "",
			} {
				if strings.Contains(said, text) != want {
					t.Errorf("got %q on the screen: %v, want %v\n%s", text, !want, want, said)
				}
			}
			ran := map[string]int{"b": 1, "c": 0, "d": 1}
			switch {
			case c.code != 0:
				ran["d"] = 0
				o.want(0, "status", "web1").mustSay(t, "4/8  b", "FAILED", "step web1 --from 4")
			case c.from == "c":
				ran["c"] = 1
			}
			o.wantTimes(mark, ran)
		})
	}
}

// Without a terminal it is said, and gone on.
func TestStepWithoutATerminalOnlySaysWhatItTakesAsDone(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "b", "false"))
	o.want(1, "deploy", "web1")
	o.want(0, "step", "web1", "--from", "d").mustSay(t, "step 4 b: FAILED, taken as done\nstep 5 c: not started, taken as done\n")
	o.wantTimes(mark, map[string]int{"b": 1, "c": 0, "d": 1})
	o.wantAllOK("b", "c")
}
