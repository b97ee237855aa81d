package cli

import (
	"runtime"
	"testing"

	"example.org/conc/internal/testnode"
)

// The checks that look at a host work in an agent, too.
func TestChecksOfAHost(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("most of them are SKIPPED here")
	}
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	o.suite(`mount = mount /proc type proc
disk = disk . free >0 used >=0%%
process = process conc-no-such-program absent
service = service conc-no-such-unit absent
package = package conc-no-such-package absent
user = user root uid 0
group = group conc-no-such-group absent
interface = interface conc-none absent
sysctl = sysctl kernel.ostype value Linux
module = module conc_no_such_module absent
env = env PATH contains /
load = load 5m-per-cpu >=0
memory = memory available >0
socket = socket conc-none absent
full = disk . used >100%%
`)
	r := o.want(1, "nodetest", "web1")
	for _, name := range []string{"mount", "disk", "process", "user", "group", "interface", "sysctl", "module", "env", "load", "memory", "socket"} {
		r.wantLines(t, "OK        "+name+" ")
	}
	r.wantLines(t, "FAILED    full ", "          want  used >100%", "          got   used ")
}
