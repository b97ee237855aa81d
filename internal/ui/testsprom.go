package ui

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// Prometheus makes the text exposition format, version 0.0.4, of the nodes'
// last reports. A node that could not be asked has conc_node_up 0 and no checks;
// a check that was SKIPPED is in the counts only.
func Prometheus(all []Examined) []byte {
	var b bytes.Buffer
	family := func(name, help string, samples func(put func(value string, labels ...string))) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
		samples(func(value string, labels ...string) {
			b.WriteString(name)
			writeLabels(&b, labels)
			b.WriteString(" " + value + "\n")
		})
	}
	perNode := func(value func(Examined) string) func(put func(string, ...string)) {
		return func(put func(string, ...string)) {
			for _, e := range all {
				put(value(e), "node", e.Node)
			}
		}
	}
	perCheck := func(value func(nodetest.Result) string) func(put func(string, ...string)) {
		return func(put func(string, ...string)) {
			for _, e := range all {
				for _, r := range distinct(e.Results) {
					put(value(r), "node", e.Node, "suite", e.Suite, "check", r.Name, "kind", r.Check)
				}
			}
		}
	}
	family("conc_node_up", "Whether the node could be asked (1) or not (0).", perNode(func(e Examined) string {
		return oneIf(e.Err == nil)
	}))
	family("conc_nodetest_ok", "Whether the node could be asked and none of its checks is bad (1) or not (0).", perNode(func(e Examined) string {
		return oneIf(e.Status() == jobs.OK)
	}))
	family("conc_nodetest_timestamp_seconds", "When the node's last examination ended, in seconds since 1970.", perNode(func(e Examined) string {
		return unixSeconds(e.Begun.Add(e.Took))
	}))
	family("conc_nodetest_seconds", "How long the node's last examination took.", perNode(func(e Examined) string {
		return seconds(e.Took)
	}))
	family("conc_checks", "Number of the node's checks with a status.", func(put func(string, ...string)) {
		for _, e := range all {
			counts := map[jobs.Status]int{}
			for _, r := range e.Results {
				counts[r.Status]++
			}
			for _, s := range statuses {
				put(strconv.Itoa(counts[s]), "node", e.Node, "suite", e.Suite, "status", string(s))
			}
		}
	})
	family("conc_check_ok", "Whether the check is OK (1) or FAILED, TIMED OUT or ERROR (0).", perCheck(func(r nodetest.Result) string {
		return oneIf(r.Status == jobs.OK)
	}))
	family("conc_check_seconds", "How long the check took, with all its tries.", perCheck(func(r nodetest.Result) string {
		return seconds(r.Took)
	}))
	return b.Bytes()
}

// distinct gives the results that looked at something, one for each name and
// kind: of several with the same labels, a bad one.
func distinct(results []nodetest.Result) []nodetest.Result {
	type labels struct{ name, kind string }
	at := map[labels]int{}
	var out []nodetest.Result
	for _, r := range results {
		if r.Status == nodetest.Skipped {
			continue
		}
		l := labels{Line(r.Name), Line(r.Check)}
		i, seen := at[l]
		switch {
		case !seen:
			at[l] = len(out)
			out = append(out, r)
		case r.Bad() && !out[i].Bad():
			out[i] = r
		}
	}
	return out
}

// writeLabels writes pairs of names and values. What a value holds that a
// terminal would act on is escaped before.
func writeLabels(b *bytes.Buffer, pairs []string) {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	sep := byte('{')
	for i := 0; i < len(pairs); i += 2 {
		b.WriteByte(sep)
		sep = ','
		fmt.Fprintf(b, `%s="%s"`, pairs[i], escape.Replace(Line(pairs[i+1])))
	}
	b.WriteByte('}')
}

func oneIf(yes bool) string {
	if yes {
		return "1"
	}
	return "0"
}

func unixSeconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}
