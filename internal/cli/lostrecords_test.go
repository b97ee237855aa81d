package cli

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.org/conc/internal/testnode"
)

// The bundle is open, and the node's record of the run is gone: nothing is
// guessed from that. To look shows who holds the node, and to go on is refused.
func TestNodesRecordIsGone(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\na = remote run true\nstage = local run true\nb = remote run false\n")
	o.want(1, "deploy", "web1")
	journal, run := o.nodeJournal(), o.shortID()
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	plan, _, _ := strings.Cut(string(whole), "\n")
	for what, change := range map[string]func() error{
		"empty":       func() error { return os.WriteFile(journal, nil, 0o600) },
		"only a plan": func() error { return os.WriteFile(journal, []byte(plan+"\n"), 0o600) },
		"half a plan": func() error { return os.WriteFile(journal, []byte(plan[:20]), 0o600) },
		"not there":   func() error { return os.Remove(journal) },
		"no folder":   func() error { return os.RemoveAll(filepath.Dir(journal)) },
	} {
		if err := change(); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		_ = os.MkdirAll(filepath.Dir(journal), 0o700)
		for _, args := range [][]string{{"status", "web1"}, {"step", "web1"}} {
			r := o.want(0, args...)
			r.mustSay(t, "alice@desk7, run "+run, "missing or empty", "unlock web1 --id "+run)
			if strings.Contains(r.String(), "not started") || strings.Contains(r.String(), "--from") {
				t.Errorf("%s: a record that is gone is taken for one of nothing:\n%s", what, r)
			}
		}
		if e := events(t, o.want(0, "status", "web1", "--json").out)[0]; e["state"] != "unknown" || e["run"] != run || e["error"] == nil || e["steps"] != nil {
			t.Errorf("%s: got %v", what, e)
		}
		for _, args := range [][]string{{"step", "web1", "--from", "1"}, {"step", "web1", "--from", "b"}, {"mark", "web1", "b", "OK"}} {
			o.want(6, args...).mustSay(t, "missing or empty", "unlock web1 --id "+run, "history "+run)
		}
	}
	o.want(0, "unlock", "web1", "--id", run, "-y")
	o.want(1, "deploy", "web1")
}

// What this workstation has recorded cannot be read: the node's records are
// shown all the same, and nothing is gone on with by half of them.
func TestOwnRecordsCannotBeRead(t *testing.T) {
	t.Parallel()
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "c", "test -e "+mark+"/mended"))
	o.want(1, "deploy", "web1")
	found, _ := filepath.Glob(filepath.Join(o.env.StateDir, "runs", "*", "web1.journal"))
	if len(found) != 1 {
		t.Fatalf("got journals %v here", found)
	}
	own, run := found[0], o.shortID()
	saved, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	look := func(what string) {
		t.Helper()
		for _, args := range [][]string{{"status", "web1"}, {"step", "web1"}, {"status"}} {
			o.want(0, args...).mustSay(t, "warning: web1: this workstation's records of the run cannot be read", "alice@desk7, run "+run, "FAILED", "step web1 --from 5")
		}
		for _, args := range [][]string{{"step", "web1", "--from", "5"}, {"mark", "web1", "5", "OK"}} {
			o.want(6, args...).mustSay(t, "this workstation's records of the run cannot be read", "move it aside")
		}
		o.wantTimes(mark, map[string]int{"c": 1})
		if t.Failed() {
			t.Fatal(what)
		}
	}
	for what, make := range map[string]func() error{
		"a FIFO":  func() error { return syscall.Mkfifo(own, 0o600) },
		"damaged": func() error { return os.WriteFile(own, append([]byte("x"), saved...), 0o600) },
	} {
		if err := os.Remove(own); err != nil {
			t.Fatal(err)
		}
		if err := make(); err != nil {
			t.Fatal(err)
		}
		look(what)
	}
	state := o.env.StateDir
	o.env.StateDir = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(o.env.StateDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	look("the state directory is a file")
	o.env.StateDir = state

	// The way out that is named: by the node's own record.
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	put(t, mark, "mended")
	o.want(0, "step", "web1", "--from", "5")
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 2, "d": 1})

	// The node is free, and the last run's record here is damaged.
	if err := os.WriteFile(own, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.want(0, "status", "web1").mustSay(t, "free", "cannot be read")
	o.want(6, "step", "web1", "--from", "5").mustSay(t, "cannot be read")
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	o.want(0, "status", "web1")
}

// A run that was given up is, also where that cannot be recorded.
func TestUnlockWithADamagedRecord(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\na = remote run false\n")
	o.want(1, "deploy", "web1")
	run := o.shortID()
	found, _ := filepath.Glob(filepath.Join(o.env.StateDir, "runs", "*", "web1.journal"))
	if len(found) != 1 || os.WriteFile(found[0], []byte("x\n"), 0o600) != nil {
		t.Fatalf("got journals %v here", found)
	}
	o.want(0, "unlock", "web1", "--id", run, "-y").mustSay(t, "OK  web1 is free", "given up is not recorded here")
	if o.bundle() {
		t.Error("the node is still held")
	}
}
