package ui

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

var (
	tapLine  = regexp.MustCompile(`^(ok|not ok) (\d+) - ((?:[^\\#]|\\.)*?)(?: # (SKIP|TODO) (.*))?$`)
	yamlLine = regexp.MustCompile(`^  (?:[a-z]+: "(?:[^"\\]|\\.)*"|[a-z]+:|  - "(?:[^"\\]|\\.)*")$`)
)

// readTAP reads version 13 strictly, and counts verdicts.
func readTAP(t *testing.T, text string) (counts map[string]int) {
	t.Helper()
	counts = map[string]int{}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 2 || lines[0] != "TAP version 13" || !strings.HasPrefix(lines[1], "1..") {
		t.Fatalf("got %q", lines[:min(2, len(lines))])
	}
	number, _, _ := strings.Cut(lines[1][3:], " ")
	plan, _ := strconv.Atoi(number)
	n, block := 0, false
	for _, l := range lines[2:] {
		switch m := tapLine.FindStringSubmatch(l); {
		case block && l == "  ...":
			block = false
		case block:
			if !yamlLine.MatchString(l) {
				t.Errorf("a block has %q", l)
			}
		case l == "  ---":
			block = true
		case strings.HasPrefix(l, "Bail out! "):
			counts["bail out"]++
		case m == nil:
			t.Errorf("got %q", l)
		default:
			n++
			if m[2] != strconv.Itoa(n) {
				t.Errorf("got number %s, want %d", m[2], n)
			}
			counts[strings.TrimSpace(m[1]+" "+m[4])]++
		}
	}
	if n != plan || block {
		t.Errorf("got %d tests, want %d; a block is open: %v", n, plan, block)
	}
	return counts
}

func TestTAP(t *testing.T) {
	prove := tool("prove")
	for _, c := range reports {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // it waits for perl
			text := TAP(c.all)
			harmless(t, text)
			got := readTAP(t, string(text))
			want := map[string]int{}
			good := true
			for _, e := range c.all {
				for _, r := range e.Results {
					switch {
					case r.Status == nodetest.Skipped:
						want["ok SKIP"]++
					case r.Known:
						want["not ok TODO"]++
					case r.Bad():
						want["not ok"]++
						good = false
					default:
						want["ok"]++
					}
				}
				if e.Err != nil {
					want["not ok"]++
					good = false
				}
				if e.Status() == jobs.Stopped {
					want["bail out"]++
				}
			}
			for _, verdict := range []string{"ok", "not ok", "ok SKIP", "not ok TODO", "bail out"} {
				if got[verdict] != want[verdict] {
					t.Errorf("%s: got %d, want %d", verdict, got[verdict], want[verdict])
				}
			}
			if prove != "" {
				proved(t, prove, text, good, want)
			}
		})
	}
}

// proved lets perl's harness judge.
func proved(t *testing.T, prove string, text []byte, good bool, want map[string]int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "conc.t")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command(prove, "-e", "cat", path).CombinedOutput()
	wanted := []string{"Result: PASS"}
	if !good {
		all := want["ok"] + want["not ok"] + want["ok SKIP"] + want["not ok TODO"]
		wanted = []string{"Result: FAIL", fmt.Sprintf("Failed %d/%d subtests", want["not ok"], all)}
	}
	switch {
	case want["bail out"] > 0:
		wanted = []string{"Bailout called", "interrupted"}
	case want["ok"]+want["not ok"]+want["not ok TODO"] == 0 && want["ok SKIP"] == 0:
		wanted = []string{"skipped: no checks"}
	}
	for _, w := range wanted {
		if !strings.Contains(string(out), w) {
			t.Errorf("prove: want %q in\n%s", w, out)
		}
	}
	if strings.Contains(string(out), "Parse errors") {
		t.Errorf("prove:\n%s", out)
	}
}
