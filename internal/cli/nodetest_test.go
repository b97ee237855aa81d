package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// suite gives the project a suite "web" of checks, which is the node's.
func (o *operator) suite(lines string) {
	o.write("deploy.ini", o.ini("a = remote run true\n", map[string]string{"nodetest": "web"})+"[nodetest:web]\n"+lines)
}

func TestNodetest(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	if err := os.WriteFile(filepath.Join(o.node.Home, "a"), []byte("thirty-five 35\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.suite("here = file a contains 35\nmode = file a mode 0600\nsay = command stdout contains yes -- echo yes\n")
	r := o.want(0, "nodetest", "web1")
	for _, want := range []string{"3 checks", "OK        here ", "OK        mode ", "OK        say ", "OK  web1  3 OK  "} {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	o.suite("here = file a contains 36\nold = file b absent\n")
	r = o.want(1, "nodetest", "web1")
	for _, want := range []string{"FAILED    here ", "          want  contains \"36\"\n", "          got   thirty-five 35\n", "FAILED  web1  1 OK, 1 FAILED  "} {
		if !strings.Contains(r.out, want) {
			t.Errorf("want %q in\n%s", want, r)
		}
	}
	r = o.want(0, "nodetest", "web1", "--only", "o*")
	if strings.Contains(r.out, "here") {
		t.Errorf("--only: got\n%s", r)
	}
	o.want(2, "nodetest", "web1", "--only", "x")
	o.want(5, "nodetest", "web1", "--suite", "x")
	if o.there(".conc/runs") || o.there("shop-bundle") {
		t.Error("nodetest left something of a run on the node")
	}
}

// A suite costs what one check costs, whatever the line.
func TestASuiteIsOneRoundTrip(t *testing.T) {
	if testing.Short() {
		t.Skip("it is about a slow line")
	}
	t.Parallel()
	const trip = 100 * time.Millisecond
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	proxy := o.behind("a = remote run true\n", nil)
	measure := func(checks int) time.Duration {
		var lines strings.Builder
		for i := range checks {
			fmt.Fprintf(&lines, "c%d = dir .\n", i)
		}
		o.write("deploy.ini", o.ini("a = remote run true\n", map[string]string{
			"nodetest": "web", "sshd.port": fmt.Sprint(proxy.Port), "sshd.hostkey": o.node.HostKey,
		})+"[nodetest:web]\n"+lines.String())
		o.want(0, "nodetest", "web1") // the agent is there
		best := time.Hour
		for range 3 {
			proxy.Delay(0)
			near := o.want(0, "nodetest", "web1").took
			proxy.Delay(trip)
			far := o.want(0, "nodetest", "web1").took
			best = min(best, far-near)
		}
		return best
	}
	one, sixty := measure(1), measure(60)
	if more := float64(sixty-one) / float64(trip); more > 3 { // none, on a machine that does nothing else
		t.Errorf("60 checks cost %.1f round trips more than one (%v and %v)", more, sixty, one)
	}
}
