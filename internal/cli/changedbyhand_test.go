package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// Whoever goes on with a run is told which delivered files are not what was
// delivered, and that is recorded. What is as it was is not told of, whatever
// its time.
func TestFilesChangedByHand(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\nstage = local open_bundle\n"+
		"send = local deliver app.conf same.conf gone.conf longer.conf\nlook = remote run true\nmore = remote run true\n"+
		"close = remote close_bundle\nunstage = local close_bundle\n")
	for _, name := range []string{"app.conf", "same.conf", "gone.conf", "longer.conf"} {
		o.write(name, "port = 8000\n")
	}
	o.want(0, "deploy", "web1", "--to", "send")
	if r := o.want(0, "step", "web1", "--from", "look", "--to", "look"); strings.Contains(r.String(), "not as delivered") {
		t.Errorf("nothing was changed:\n%s", r)
	}
	in := filepath.Join(o.node.Home, o.node.Attrs()["bundle"])
	for name, text := range map[string]string{"app.conf": "port = 9000\n", "same.conf": "port = 8000\n", "longer.conf": "port = 80000\n", "new.patch": "of no step"} {
		if err := os.WriteFile(filepath.Join(in, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(in, "gone.conf")); err != nil {
		t.Fatal(err)
	}
	const told = "app.conf (changed), gone.conf (gone), longer.conf (changed)"
	bob := *o
	bob.env.User, bob.env.Hostname, bob.env.StateDir = "bob", "desk8", t.TempDir()
	r := bob.want(0, "step", "web1", "--from", "more", "--to", "more", "--take-over")
	if !strings.Contains(r.err, "not as delivered, in the bundle: "+told+"\n") {
		t.Errorf("got\n%s", r)
	}
	run := o.shortID()
	o.want(0, "history", "web1", run).mustSay(t, "by hand   "+told)
	bob.want(0, "history", run).mustSay(t, "by hand   "+told)
	bob.want(0, "step", "web1", "--from", "close", "--take-over")
}
