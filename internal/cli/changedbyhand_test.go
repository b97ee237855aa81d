package cli

import (
	"fmt"
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
	status := o.want(0, "status", "web1")
	status.mustSay(t, "  by hand   app.conf (changed)\n            gone.conf (gone)\n            longer.conf (changed)\n")
	if strings.Contains(status.out, "same.conf") || strings.Contains(status.out, "new.patch") {
		t.Errorf("it tells of what was not changed:\n%s", status)
	}
	o.want(0, "status", "web1", "--json").mustSay(t, `"changed":["app.conf (changed)","gone.conf (gone)","longer.conf (changed)"]`)
	const told = "app.conf (changed), gone.conf (gone), longer.conf (changed)"
	bob := *o
	bob.env.User, bob.env.Hostname, bob.env.StateDir = "bob", "desk8", t.TempDir()
	r := bob.want(0, "step", "web1", "--from", "more", "--to", "more", "--take-over")
	if !strings.Contains(r.err, "not as delivered, in the bundle: "+told+"\n") {
		t.Errorf("got\n%s", r)
	}
	run := o.shortID()
	byNode := o.want(0, "history", "web1", run)
	byNode.mustSay(t, "by hand   "+told)
	if strings.Contains(byNode.out, "this workstation's") {
		t.Errorf("it is the node's own record:\n%s", byNode)
	}
	bob.want(0, "history", run).mustSay(t, "by hand   "+told)
	// What bob did is not known at alice's; she is told where it is.
	o.want(0, "history", run).mustSay(t, "this workstation's; others may have", "history web1 "+run)
	o.want(0, "history", run, "--json").mustSay(t, `"source":"workstation"`)
	o.want(0, "history", "web1", run, "--json").mustSay(t, `"source":"node"`)
	bob.want(0, "step", "web1", "--from", "close", "--take-over")
}

// However many there are, and whatever they are called, status stays a screen.
func TestStatusBoundsWhatWasChangedByHand(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\nsend = local deliver conf/*\nlook = remote run false\nclose = remote close_bundle\n")
	for i := range 16 {
		o.write(fmt.Sprintf("conf/%02d", i), "port = 8000\n")
	}
	o.want(1, "deploy", "web1")
	found, _ := filepath.Glob(filepath.Join(o.node.Home, o.node.Attrs()["bundle"], "[0-9]*"))
	for _, path := range found {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	// What a node says is not believed to be harmless.
	records, _ := filepath.Glob(filepath.Join(o.node.Home, ".conc", "runs", "*", "delivered.json"))
	text, err := os.ReadFile(records[0])
	if err == nil {
		err = os.WriteFile(records[0], []byte(strings.Replace(string(text), `"00"`, `"\u001b[31mred"`, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := o.want(0, "status", "web1")
	r.mustSay(t, "by hand", `\x1b[31mred (gone)`, "and 6 more")
	if strings.Contains(r.out, "\x1b") || strings.Count(r.out, "(gone)") != 10 {
		t.Errorf("got %q", r.out)
	}
}
