package cli

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"example.org/conc/internal/testnode/sshdtest"
)

func TestZZ(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{})
	list := `
open    = remote open_bundle
mk      = remote mkdir releases/x
stage   = local  open_bundle
deliver = local  deliver dist/*.tar
conf    = local  template app.conf.in app.conf
r1      = remote run true
r2      = remote run true
link    = remote symlink releases/x current
close   = remote close_bundle
unstage = local  close_bundle
`
	o := newOperator(t, &n.Node, list)
	o.write("app.conf.in", "hello %(admin)s\n")
	fill := func() {
		for i, size := range []int{1 << 20, 1 << 20, 4 << 20, 10 << 20, 16 << 10} {
			p := make([]byte, size)
			_, _ = rand.Read(p)
			o.write(fmt.Sprintf("dist/a%c.tar", 'a'+i), string(p))
		}
	}
	fill()
	proxy := o.behind(list, nil)
	const trip = 100 * time.Millisecond
	run := func(d time.Duration) time.Duration { proxy.Delay(d); return o.want(0, "deploy", "web1").took }
	measure := func(name string, before func()) {
		var ts []float64
		for range 3 {
			before()
			near := run(0)
			before()
			far := run(trip)
			ts = append(ts, float64(far-near)/float64(trip))
		}
		slices.Sort(ts)
		fmt.Printf("%s: %.1f round trips\n", name, ts)
	}
	measure("never seen", func() { fill(); _ = os.RemoveAll(filepath.Join(n.Home, ".conc")) })
	measure("seen, new archives", fill)
	measure("unchanged", func() {})
}
