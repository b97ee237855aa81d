package cli

import (
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// A deploy that halts where it was asked to is OK, stays open, and says how to
// go on.
func TestDeployHaltsOnPurpose(t *testing.T) {
	for _, to := range []string{"4", "b"} {
		t.Run(to, func(t *testing.T) {
			mark := t.TempDir()
			o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "", ""))
			r := o.want(0, "deploy", "web1", "--to", to)
			for _, want := range []string{"1 to 4 were asked for", "stays open", "step web1 --from 5"} {
				if !strings.Contains(r.out, want) {
					t.Errorf("the screen does not say %q:\n%s", want, r)
				}
			}
			if !o.bundle() {
				t.Error("the bundle is not open")
			}
			o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 0, "d": 0})
			o.want(0, "step", "--from", "5")
			o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
			if o.bundle() {
				t.Error("the bundle is still open")
			}
		})
	}
}

// What --to names is looked up in each node's own list, before anything is
// connected to.
func TestDeployToIsEachNodesOwn(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "", ""))
	ini := o.ini(counted(mark, "", ""), nil)
	short := "open = remote open_bundle\nb = remote shell \"echo ran >>" + mark + "/other\"\nclose = remote close_bundle\n"
	second := strings.Replace(ini[strings.Index(ini, "[node:web1]"):strings.Index(ini, "[jobs:release]")], "web1", "web2", 1)
	second = strings.Replace(second, "bundle = ", "bundle = two-", 1)
	o.write("deploy.ini", ini+second+"jobs = short\n[jobs:short]\n"+short)
	for _, to := range []string{"c", "5", "0", "nonsense"} {
		connections, _ := o.node.Sessions()
		o.want(2, "deploy", "web1", "web2", "--to", to)
		if after, _ := o.node.Sessions(); after != connections {
			t.Errorf("--to %s: connected to a node", to)
		}
	}
	r := o.want(0, "deploy", "web1", "web2", "--to", "b", "--json")
	if !strings.Contains(r.out, `"node":"web1","status":"OK"`) {
		t.Errorf("got\n%s", r)
	}
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 0, "other": 1})
	if !o.there("two-" + o.node.Attrs()["bundle"]) {
		t.Error("the bundle of web2 is not open")
	}
}
