package main

import (
	"fmt"
	"strings"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// entry is an op or a check, for its page.
type entry struct{ name, args, summary, help, example string }

// reference is a page about all of a catalogue.
type reference struct {
	what    string // "op": the label of each entry starts with it
	title   string
	intro   string
	args    bool   // are the arguments in the table?
	section string // of deploy.ini, where a line that names an entry stands
	entries []entry
}

// opsPage writes the reference of a catalogue of ops, in its order.
func opsPage(c jobs.Catalogue) string {
	r := reference{
		what: "op", title: "Op reference", section: "[jobs:NAME]",
		intro: "These are the ops that come with conc, in the order of `conc ops`. `conc ops NAME` shows the same text on a terminal.",
	}
	for _, e := range c {
		r.entries = append(r.entries, entry{e.Name, e.Args, e.Summary, e.Help, e.Example})
	}
	return r.page()
}

// checksPage writes the reference of a catalogue of checks, in its order.
func checksPage(c nodetest.Catalogue) string {
	r := reference{
		what: "check", title: "Check reference", args: true, section: "[nodetest:NAME]",
		intro: "These are the checks that come with conc, in the order of `conc ops`. `conc ops NAME` shows the same text on a terminal. " +
			"What stands around a check on its line, and what comes of it, is told in the chapter about suites of checks.",
	}
	for _, e := range c {
		r.entries = append(r.entries, entry{e.Name, e.Args, e.Summary, e.Help, e.Example})
	}
	return r.page()
}

func (r reference) page() string {
	var b strings.Builder
	b.WriteString(notice)
	fmt.Fprintf(&b, ".. _%ss:\n\n", r.what)
	heading(&b, r.title, "=")
	prose(&b, r.intro)
	b.WriteString(".. list-table::\n   :header-rows: 1\n")
	if r.args {
		fmt.Fprintf(&b, "   :widths: 15 35 50\n\n   * - %s\n     - What it looks at\n     - Arguments\n", sentenceCase(r.what))
	} else {
		fmt.Fprintf(&b, "   :widths: 25 75\n\n   * - %s\n     - What it is for\n", sentenceCase(r.what))
	}
	for _, e := range r.entries {
		fmt.Fprintf(&b, "   * - :ref:`%s <%s>`\n     - %s\n", e.name, r.label(e), escape(e.summary))
		if r.args {
			fmt.Fprintf(&b, "     - ``%s``\n", e.args)
		}
	}
	b.WriteString("\n")
	for _, e := range r.entries {
		fmt.Fprintf(&b, ".. _%s:\n\n", r.label(e))
		heading(&b, e.name, "-")
		prose(&b, sentence(e.summary))
		literal(&b, "text", strings.TrimSpace(e.name+" "+e.args))
		prose(&b, e.help)
		if e.example != "" {
			fmt.Fprintf(&b, "Example, in a ``%s`` section:\n\n", r.section)
			literal(&b, "ini", e.name+" = "+e.example)
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func (r reference) label(e entry) string {
	return r.what + "-" + strings.ReplaceAll(e.name, "_", "-")
}

// sentence makes a sentence of a summary.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return sentenceCase(strings.TrimSuffix(s, ".")) + "."
}

func sentenceCase(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
