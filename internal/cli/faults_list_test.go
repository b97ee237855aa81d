package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listedStep is a step of the random list.
type listedStep struct {
	name, line string
	counted    bool // it leaves marks
}

func (l listedStep) remote() bool { return strings.HasPrefix(l.line, "remote ") }

// script is what a counted step runs: its number, how long it takes, and files
// that are to be in the bundle.
const script = `d=%s; n=$1; s=$2; shift 2
echo begin $n >>$d/marks
for f; do cmp "$CONC_BUNDLE/$f" "$d/../$(basename "$d").dist/$f" || { echo damaged $n >>$d/marks; exit 9; }; done
if rm $d/fail-$n 2>/dev/null; then echo fail $n >>$d/marks; exit 3; fi
if rm $d/slow-$n 2>/dev/null; then sleep 60; fi
sleep $s
echo end $n >>$d/marks
`

func (g *rig) marks() string { return filepath.Join(g.dir, "marks") }

// writeScript writes what counted steps run, and makes the directory of what is
// delivered.
func (g *rig) writeScript() {
	dist := g.dir + ".dist"
	if err := os.Mkdir(dist, 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "step"), fmt.Appendf(nil, script, g.dir), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// makeList makes a list of 5 to 9 steps.
func (g *rig) makeList() {
	g.writeScript()
	path, dist := filepath.Join(g.dir, "step"), g.dir+".dist"
	g.list = []listedStep{{"open", "remote open_bundle", false}, {"stage", "local open_bundle", false}}
	var delivered []string
	for i := range 1 + g.rand.IntN(5) {
		n := len(g.list) + 1
		host := []string{"remote", "remote", "local", "deliver"}[g.rand.IntN(4)]
		if i > 0 && host == "deliver" {
			name := fmt.Sprintf("file%d.bin", n)
			data := make([]byte, g.rand.IntN(6<<20))
			for i := range data {
				data[i] = byte(g.rand.Uint32())
			}
			if err := os.WriteFile(filepath.Join(dist, name), data, 0o644); err != nil {
				g.t.Fatal(err)
			}
			delivered = append(delivered, name)
			g.list = append(g.list, listedStep{"deliver" + strconv.Itoa(n), "local deliver " + filepath.Join(dist, name), false})
			continue
		}
		args := fmt.Sprintf("%d %.2f", n, g.rand.Float64()*longestSleep.Seconds())
		if host == "remote" {
			args += " " + strings.Join(delivered, " ")
		} else {
			host = "local"
		}
		g.list = append(g.list, listedStep{"work" + strconv.Itoa(n), fmt.Sprintf("%s timeout=%v run sh %s %s", host, limit, path, args), true})
	}
	g.list = append(g.list, listedStep{"close", "remote close_bundle", false}, listedStep{"unstage", "local close_bundle", false})
}

func (g *rig) text() string {
	var b strings.Builder
	for _, s := range g.list {
		fmt.Fprintf(&b, "%s = %s\n", s.name, s.line)
	}
	return b.String()
}
