package main

import (
	"fmt"
	"strings"

	"example.org/conc/jobs"
)

// opsPage writes the reference of a catalogue, in its order.
func opsPage(c jobs.Catalogue) string {
	var b strings.Builder
	b.WriteString(notice)
	b.WriteString(".. _ops:\n\n")
	heading(&b, "Op reference", "=")
	prose(&b, "These are the ops that come with conc, in the order of `conc ops`. `conc ops NAME` shows the same text on a terminal.")
	b.WriteString(".. list-table::\n   :header-rows: 1\n   :widths: 25 75\n\n   * - Op\n     - What it is for\n")
	for _, e := range c {
		fmt.Fprintf(&b, "   * - :ref:`%s <%s>`\n     - %s\n", e.Name, opLabel(e), escape(e.Summary))
	}
	b.WriteString("\n")
	for _, e := range c {
		fmt.Fprintf(&b, ".. _%s:\n\n", opLabel(e))
		heading(&b, e.Name, "-")
		prose(&b, sentence(e.Summary))
		literal(&b, "text", strings.TrimSpace(e.Name+" "+e.Args))
		prose(&b, e.Help)
		if e.Example != "" {
			b.WriteString("Example, in a ``[jobs:NAME]`` section:\n\n")
			literal(&b, "ini", e.Name+" = "+e.Example)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func opLabel(e jobs.Entry) string { return "op-" + strings.ReplaceAll(e.Name, "_", "-") }

// sentence makes a sentence of a summary.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}
