package cli

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// What a deploy opens and starts is gone when it ends, however it ends; of ten
// deploys, five meet with a fault, or with another's bundle. CONC_RUNS says how
// many there are.
func TestManyDeploysLeaveNothing(t *testing.T) {
	n := inProcess(t, testnode.Options{})
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	put := "put = local put app.txt app.txt\n"
	open := "open = remote open_bundle\nstage = local open_bundle\n"
	good := open + put + "close = remote close_bundle\nunstage = local close_bundle\n"
	o := newOperator(t, n, good)
	p := o.behind(good, lineStaysDown)
	deploy := func(code int, list, reconnect string) {
		t.Helper()
		o.write("deploy.ini", o.ini(list, map[string]string{
			"sshd.port": strconv.Itoa(p.Port), "sshd.hostkey": n.HostKey, "timeout.reconnect": reconnect,
		}))
		o.want(code, "deploy", "web1")
	}
	release := func(name string) { // 5 MiB that do not shrink
		data := make([]byte, 5<<20)
		_, _ = rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(data) // never fails
		o.write("app.txt", string(data))
	}
	release("the first one")
	deploy(0, good, "60s")
	before := holdings(t)
	for i := range number(t, "CONC_RUNS", 10) {
		release(fmt.Sprintln("release", i))
		switch i % 10 {
		case 1:
			deploy(1, "bad = remote run false\n"+put, "60s")
		case 3: // the line goes, and stays away
			p.CutAfter(1 << 20)
			deploy(6, put, "1ms")
		case 4: // the line goes, and comes back
			p.CutAfter(1 << 20)
			deploy(0, good, "60s")
		case 6: // a command, and what it has started, are ended
			deploy(124, "slow = remote timeout=200ms shell \"sleep 70 & sleep 71\"\n", "60s")
		case 7: // nobody is left to tell how the step ended
			deploy(6, open+"kill = remote shell \"kill -9 $PPID\"\nclose = remote close_bundle\nunstage = local close_bundle\n", "1ms")
			o.want(0, "step", "web1", "--from", "close")
		case 8: // somebody has the node
			deploy(1, open+"bad = local run false\n", "60s")
			deploy(3, good, "60s")
			o.want(0, "step", "web1", "--from", "3", "--changed")
		default:
			deploy(0, good, "60s")
		}
	}
	eventually(t, "no more goroutines, open files and processes than before", func() bool {
		return holdings(t).within(before)
	})
	eventually(t, "no more processes on the node", func() bool { return len(n.Processes("")) == 0 })
	for _, dir := range []string{n.Home, o.dir, o.env.StateDir, temporary} {
		found, err := testnode.Tree(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			if !kept.MatchString(name) {
				t.Errorf("left in %s: %s", dir, name)
			}
		}
	}
}

// kept is what conc keeps, and the test's own files: all else is left over.
var kept = regexp.MustCompile(`^(app\.txt|deploy\.ini|bundles/|last/|last/[0-9a-f]{16}\.jsonl|(\.conc/)?runs/|\.conc/|\.conc/bin/|\.conc/bin/conc-[0-9a-f]{64}` +
	`|\.conc/cache/(in/|names\.json|[0-9a-f]{64})?|files\.index` +
	`|(\.conc/)?runs/[0-9A-Z]{26}/(journal|alive|state\.json|out-\d\d\.log|log\.jsonl|web1\.(journal|alive))?)$`)

// held is what a process has.
type held struct{ goroutines, files, children int }

func (h held) within(before held) bool {
	return h.goroutines <= before.goroutines && h.files <= before.files && h.children <= before.children
}

// holdings counts what this process has now.
func holdings(t *testing.T) held {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := 0
	for _, path := range stats {
		text, _ := os.ReadFile(path)
		_, after, _ := strings.Cut(string(text), ") ") // PID (NAME) STATE PPID ...
		if f := strings.Fields(after); len(f) > 1 && f[1] == strconv.Itoa(os.Getpid()) {
			children++
		}
	}
	return held{runtime.NumGoroutine(), len(files), children}
}
