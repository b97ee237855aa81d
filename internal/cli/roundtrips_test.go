package cli

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.org/conc/internal/testnode/sshdtest"
)

// A deploy costs what the line costs: the article's list, in round trips, which
// are the difference that a slower line makes.
func TestRoundTripsOfTheArticle(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("times are not what they are")
	}
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
	const trip = 60 * time.Millisecond
	took := func(delay time.Duration, before func()) time.Duration {
		before()
		proxy.Delay(delay)
		return o.want(0, "deploy", "web1").took
	}
	// On a machine that does nothing else it is 20, 16 and 12.
	for _, c := range []struct {
		node   string
		before func()
		most   float64
	}{
		{"never seen", func() { fill(); _ = os.RemoveAll(filepath.Join(n.Home, ".conc")) }, 26},
		{"seen, new archives", fill, 20},
		{"seen, the same archives", func() {}, 15},
	} {
		// What else the machine does makes a run longer, never shorter.
		near, far, trips := time.Hour, time.Hour, 0.0
		for range 4 {
			near = min(near, took(0, c.before))
			far = min(far, took(trip, c.before))
			if trips = float64(far-near) / float64(trip); trips <= c.most {
				break
			}
		}
		t.Logf("%s: %.1f round trips; %d connections", c.node, trips, proxy.Accepted())
		if trips > c.most {
			t.Errorf("%s: got %.1f round trips, want %v at most", c.node, trips, c.most)
		}
	}
}
