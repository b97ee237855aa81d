package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// What the agent has to say about what to type is completed here: with the
// program's name, the file, and what was set.
func TestAgentsHintsMeanTheSameFile(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\n"+
		"wait = remote shell \"touch "+mark+"/there; until test -e "+mark+"/go; do sleep 0.02; done\"\n"+
		"move = remote shell \"mv $HOME/%(bundle)s $HOME/elsewhere\"\nnext = remote run true\n")
	o.app.Name = "shopctl"
	want := "shopctl -c " + filepath.Join(o.dir, "deploy.ini") + " --set 'a=b c' status web1"
	done := make(chan ran, 1)
	go func() { done <- o.run("--set", "a=b c", "deploy", "web1") }()
	eventually(t, "the step runs", func() bool {
		_, err := os.Stat(filepath.Join(mark, "there"))
		return err == nil
	})
	o.want(3, "--set", "a=b c", "mark", "web1", "next", "OK").mustSay(t, want)
	put(t, mark, "go")
	r := <-done
	r.mustSay(t, "lock lost", want)
	if r.code != 6 || strings.Contains(r.String(), "{conc}") {
		t.Errorf("got exit code %d, want 6\n%s", r.code, r)
	}
}
