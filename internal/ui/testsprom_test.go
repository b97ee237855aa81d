package ui

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	promSample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	promLabel  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)`)
)

// readProm reads the text format as strictly as promtool check metrics does: HELP
// and TYPE before the samples of a family, families in one piece, no sample twice.
func readProm(text string) (samples map[string]float64, err error) {
	samples = map[string]float64{}
	helped, typed := map[string]bool{}, map[string]bool{}
	family := ""
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("the last line has no end")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			if helped[name] || help == "" {
				return nil, fmt.Errorf("HELP of %s: %q", name, line)
			}
			helped[name], family = true, name
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			counter := strings.HasSuffix(name, "_total")
			if typed[name] || name != family || kind != "gauge" && kind != "counter" || counter != (kind == "counter") {
				return nil, fmt.Errorf("TYPE of %s: %q", name, line)
			}
			typed[name] = true
			continue
		}
		m := promSample.FindStringSubmatch(line)
		if m == nil || m[1] != family || !helped[family] || !typed[family] {
			return nil, fmt.Errorf("got %q in the family %s", line, family)
		}
		if _, err := strconv.ParseFloat(m[3], 64); err != nil {
			return nil, fmt.Errorf("the value of %q", line)
		}
		labels := map[string]bool{}
		for rest := m[2]; rest != ""; {
			l := promLabel.FindStringSubmatch(rest)
			if l == nil || labels[l[1]] {
				return nil, fmt.Errorf("the labels of %q", line)
			}
			labels[l[1]] = true
			rest = rest[len(l[0]):]
		}
		series := strings.TrimSuffix(line, " "+m[3])
		if _, twice := samples[series]; twice {
			return nil, fmt.Errorf("%s twice", series)
		}
		samples[series], _ = strconv.ParseFloat(m[3], 64)
	}
	return samples, nil
}

func TestPrometheus(t *testing.T) {
	promtool := tool("promtool")
	for _, c := range reports {
		t.Run(c.name, func(t *testing.T) {
			text := Prometheus(c.all)
			harmless(t, text)
			samples, err := readProm(string(text))
			if err != nil {
				t.Fatalf("%v\n%.3000s", err, text)
			}
			for _, e := range c.all {
				want := 1.0
				if e.Err != nil {
					want = 0
				}
				if got, ok := samples[fmt.Sprintf(`conc_node_up{node=%q}`, e.Node)]; !ok || got != want {
					t.Errorf("%s up: got %v, %v, want %v", e.Node, got, ok, want)
				}
			}
			if promtool != "" {
				judge(t, text, "sh", "metrics.prom", "-c", promtool+` check metrics < "$0"`)
			}
		})
	}
	samples, err := readProm(string(Prometheus(reports[3].all)))
	if err != nil {
		t.Fatal(err)
	}
	for series, want := range map[string]float64{
		`conc_check_ok{node="web1",suite="web",check="firewall",kind="file"}`:                  1,
		`conc_check_ok{node="web1",suite="web",check="healthy",kind="http"}`:                   0,
		`conc_check_seconds{node="web1",suite="web",check="healthy",kind="http"}`:              5,
		`conc_check_ok{node="web1",suite="web",check="smoke: TestSub/bad_one",kind="go test"}`: 0,
		`conc_checks{node="web1",suite="web",status="TIMED OUT"}`:                              1,
		`conc_checks{node="web1",suite="web",status="SKIPPED"}`:                                1,
		`conc_nodetest_timestamp_seconds{node="web1"}`:                                         float64(begun.UnixMilli()+35600) / 1000,
		`conc_nodetest_seconds{node="web1"}`:                                                   35.6,
		`conc_nodetest_ok{node="web1"}`:                                                        0,
	} {
		if got, ok := samples[series]; !ok || got != want {
			t.Errorf("%s: got %v, %v, want %v", series, got, ok, want)
		}
	}
	if _, ok := samples[`conc_check_ok{node="web1",suite="web",check="md",kind="file"}`]; ok {
		t.Error("a check that was SKIPPED is not OK, and not bad")
	}
}
