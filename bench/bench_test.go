package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(measureKey) != "" {
		os.Exit(measureMain(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// The bench is alive: conc does some of the work, and the right bytes are there.
func TestTiny(t *testing.T) {
	if _, err := program("sshd"); err != nil {
		if os.Getenv("CONC_REQUIRE_SSHD") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	temp := t.TempDir()
	if os.Geteuid() == 0 { // the node's accounts must get in
		for _, dir := range []string{filepath.Dir(temp), temp} {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("TMPDIR", temp)
	figures := filepath.Join(temp, "figures.inc")
	var out, log bytes.Buffer
	err := run(t.Context(), []string{"-tiny", "-only", "a,g", "-delays", "0", "-peers", "conc", "-o", figures}, &out, &log)
	t.Logf("%s%s", &log, &out)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Tiny data", "a. 13 steps with 5 archives", `"first time", "conc", "`, `"unchanged", "conc", "`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the manual's tables lack %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), temp) {
		t.Errorf("the manual's tables name a path of the machine:\n%s", text)
	}
	left, err := filepath.Glob(filepath.Join(temp, "conc-bench-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestMedian(t *testing.T) {
	var r results
	k := key{work: "a", variant: first, peer: "conc"}
	for _, s := range []sample{
		{taken: taken{Wall: 5}, up: 1},
		{taken: taken{Wall: 1}, failed: "no"},
		{taken: taken{Wall: 3}, up: 9},
		{taken: taken{Wall: 4}, up: 2},
	} {
		r.add(k, s)
	}
	m, failed, of, ok := r.median(k)
	if !ok || m.Wall != 4 || m.up != 2 || failed != 1 || of != 4 || m.failed != "no" {
		t.Errorf("got %+v, %d of %d failed, %v; want 4 and 2 of those that did not fail", m, failed, of, ok)
	}
	if _, _, _, ok := r.median(key{}); ok {
		t.Error("there is a median of nothing")
	}
}

// A round trip is what the time grows by, for what was added to the line.
func TestRoundTrips(t *testing.T) {
	b := &bench{options: options{delays: []time.Duration{0, 100 * time.Millisecond}}, peers: []peer{{name: "conc"}, {name: "ssh"}}}
	w := work{id: "b", variants: []variant{first}}
	for name, times := range map[string][2]time.Duration{
		"conc": {200 * time.Millisecond, 1200 * time.Millisecond},
		"ssh":  {400 * time.Millisecond, 3600 * time.Millisecond},
	} {
		for i, d := range b.delays {
			b.results.add(key{"b", first, name, d}, sample{taken: taken{Wall: times[i]}})
		}
	}
	rows := b.rows(w)
	if len(rows) != 2 || rows[0].trips != 10 || rows[1].trips != 32 || rows[1].at[0].ratio != 2 || rows[1].at[1].ratio != 3 {
		t.Errorf("got %+v", rows)
	}
}

func TestDiffers(t *testing.T) {
	want := contents{"app/a": "sha256:1", "app/b": "-> a"}
	for _, c := range []struct {
		name string
		got  contents
		want string
	}{
		{"the same", contents{"app/a": "sha256:1", "app/b": "-> a"}, ""},
		{"missing", contents{"app/a": "sha256:1"}, "app/b is missing"},
		{"other", contents{"app/a": "sha256:2", "app/b": "-> a"}, "app/a is sha256:2, not sha256:1"},
		{"more", contents{"app/a": "sha256:1", "app/b": "-> a", "app/c": "sha256:3"}, "app/c should not be there"},
	} {
		if got := differs(c.got, want); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
