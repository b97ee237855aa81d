package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// Who leaves a step that runs on the node is told the same of it by its line and
// by the headline: conc cannot vouch for its end. The exit code is that of Ctrl-C.
func TestLeftStepIsInDoubtEverywhere(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\n"+
		"wait = remote shell \"trap : TERM; touch "+mark+"/there; until test -e "+mark+"/go; do sleep 0.02; done\"\nlast = remote run true\n")
	cmd, out, errs := o.process("deploy", "web1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the step runs", func() bool {
		_, err := os.Stat(filepath.Join(mark, "there"))
		return err == nil
	})
	press(t, cmd, errs, 3)
	_ = cmd.Wait()
	put(t, mark, "go")
	r := ran{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
	r.mustSay(t, "left while it was running", "ERROR  web1  stopped at step 2 of 3", "status web1", "step web1 --from 2")
	if r.code != 130 || strings.Contains(r.out, "STOPPED") {
		t.Errorf("got exit code %d, want 130 and no STOPPED\n%s", r.code, r)
	}
	o.want(0, "history").mustSay(t, "ERROR")
}
