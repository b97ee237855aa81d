package ui

import (
	"bytes"
	"fmt"
	"strings"

	"example.org/conc/jobs"
)

// The states of the Nagios plugin API; their numbers are its exit codes.
const (
	nagiosOK = iota
	nagiosWarning
	nagiosCritical
	nagiosUnknown
)

var nagiosWords = []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// maxNagios bounds what is written, in bytes: more than 8 KiB is cut by Nagios,
// wherever that is.
const maxNagios = 6 << 10

// Nagios makes the output of a plugin for Nagios, Icinga and the like, and gives
// the exit code that goes with it. The worst of what was found is the state, in
// this order:
//
//	2 CRITICAL  a check FAILED or TIMED OUT
//	3 UNKNOWN   a check is ERROR, or a node could not be asked
//	1 WARNING   what failed had failed before, or every check was SKIPPED
//	0 OK        all else
func Nagios(all []Examined) (text []byte, code int) {
	counts := map[jobs.Status]int{}
	checks, up, known := 0, 0, 0
	var bad []string // node and check, or node
	var long []string
	for _, e := range all {
		of, before := e.Counts()
		known += before
		checks += max(len(e.Results), e.Asked)
		for s, n := range of {
			counts[s] += n
		}
		for _, r := range e.Results {
			if !r.Bad() || r.Known {
				continue
			}
			bad = append(bad, inFleet(all, e, r.Name))
			long = append(long, fmt.Sprintf("%s %s: %s", r.Status, inFleet(all, e, r.Name), brief(r)))
		}
		if e.Err == nil {
			up++
			continue
		}
		bad = append(bad, e.Node)
		long = append(long, fmt.Sprintf("%s %s: %s", e.Status(), e.Node, noteOf(e)))
	}
	switch {
	case counts[jobs.Failed]+counts[jobs.TimedOut] > 0:
		code = nagiosCritical
	case counts[jobs.Errored] > 0 || up < len(all):
		code = nagiosUnknown
	case known > 0 || counts[jobs.OK] == 0:
		code = nagiosWarning
	}
	head := fmt.Sprintf("NODETEST %s - %s", nagiosWords[code], nagiosSummary(all, counts, known, up))
	if len(bad) > 0 {
		head += ": " + strings.Join(bad, ", ")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s |", fit(nagiosText(head), 400))
	for _, s := range statuses {
		label := strings.ReplaceAll(strings.ToLower(string(s)), " ", "_")
		fmt.Fprintf(&b, " %s=%d;;;0;%d", label, counts[s], checks)
	}
	fmt.Fprintf(&b, " nodes_up=%d;;;0;%d time=%ss;;;0\n", up, len(all), seconds(span(all)))
	for i, l := range long {
		l = fit(nagiosText(l), 400) + "\n"
		if b.Len()+len(l) > maxNagios {
			fmt.Fprintf(&b, "and %d more\n", len(long)-i)
			break
		}
		b.WriteString(l)
	}
	return b.Bytes(), code
}

// NagiosUnknown is the output when there is nothing to tell of any node, and
// its exit code.
func NagiosUnknown(why string) (text []byte, code int) {
	return fmt.Appendf(nil, "NODETEST UNKNOWN - %s\n", fit(nagiosText(firstLine(why)), 400)), nagiosUnknown
}

func nagiosSummary(all []Examined, counts map[jobs.Status]int, known, up int) string {
	parts := countsOf(counts)
	if known > 0 {
		parts = append(parts, fmt.Sprintf("%d known", known))
	}
	if n := len(all) - up; n > 0 {
		parts = append(parts, Count(n, "node")+" not asked")
	}
	what := strings.Join(parts, ", ")
	if len(all) == 1 {
		return all[0].Node + ": " + what
	}
	return Count(len(all), "node") + ": " + what
}

// inFleet names a check, with its node when there are several.
func inFleet(all []Examined, e Examined, check string) string {
	if len(all) == 1 {
		return check
	}
	return e.Node + " " + check
}

// nagiosText keeps text on its line, and free of the bar behind which Nagios
// looks for figures.
func nagiosText(s string) string { return strings.ReplaceAll(Line(s), "|", "¦") }
