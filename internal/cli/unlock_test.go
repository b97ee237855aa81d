package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// Who names another run than the one that holds the node is told so, and is not
// asked whether that one's bundle is to be moved. What is done is told to
// programs, too.
func TestUnlockOfAnotherRun(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\nstage = local open_bundle\na = remote run false\n")
	o.want(1, "deploy", "web1")
	id := o.shortID()
	r := o.want(3, "unlock", "web1", "--id", "AAAAAAAA")
	r.mustSay(t, "held by another run than AAAAAAAA", id, "status web1")
	if strings.Contains(r.err, "Move it aside") || !o.bundle() {
		t.Errorf("it was asked, or done:\n%s", r)
	}
	for typ, args := range map[string][]string{"mark": {"mark", "web1", "a", "OK"}, "status": {"step", "web1"}} {
		if told := events(t, o.want(0, append(args, "--json")...).out); len(told) != 1 || told[0]["type"] != typ || told[0]["v"] != 1.0 {
			t.Errorf("got %v, want one line of type %s", told, typ)
		}
	}
	told := events(t, o.want(0, "unlock", "web1", "--id", id, "-y", "--json").out)
	if len(told) != 1 || told[0]["type"] != "unlock" || told[0]["v"] != 1.0 || told[0]["aside"] == nil || told[0]["aside_here"] == nil {
		t.Errorf("got %v, want one line of type unlock", told)
	}
}

// What is to be typed means the same file.
func TestRefusalsNameTheFile(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\na = remote run false\n")
	r := o.want(3, "step", "web1", "--from", "2")
	r.mustSay(t, "conc -c "+o.dir)
}

// A bundle that an older run has left on this workstation is in the way of going
// on with a colleague's: the screen says that it is this one, and what to type.
func TestStepFindsALeftOverBundleHere(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\nstage = local open_bundle\na = remote run false\nb = remote run true\n")
	o.want(1, "deploy", "web1")
	old := o.shortID()
	other := *o
	other.env.StateDir = t.TempDir()
	other.want(0, "unlock", "web1", "--id", old, "-y")
	other.want(1, "deploy", "web1")
	o.want(3, "step", "web1", "--from", "b").mustSay(t, "the bundle on this workstation is that of another run, "+old, "unlock web1 --id "+old)
	o.want(0, "unlock", "web1", "--id", old, "-y")
	o.want(0, "step", "web1", "--from", "b")
}

// While the agent lives, unlock is refused before anything is asked.
func TestUnlockWhileTheAgentLives(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\n"+
		"wait = remote shell \"touch "+mark+"/there; until test -e "+mark+"/go; do sleep 0.02; done\"\n")
	done := make(chan ran, 1)
	go func() { done <- o.run("deploy", "web1") }()
	eventually(t, "the step runs", func() bool {
		_, err := os.Stat(filepath.Join(mark, "there"))
		return err == nil
	})
	other := *o
	other.env.StateDir = t.TempDir() // another workstation
	r := other.want(3, "unlock", "web1", "--id", o.shortID())
	r.mustSay(t, "is running on the node now, at step 2/2 wait", "status web1")
	if strings.Contains(r.err, "Move it aside") || strings.Contains(r.err, "terminal") {
		t.Errorf("it was asked:\n%s", r)
	}
	put(t, mark, "go")
	if r := <-done; r.code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", r.code, r)
	}
}
