package ui

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// TAP makes the text of the Test Anything Protocol, version 13. A check is one
// test, named after node and check; that a node could not be asked is one, too.
// Bail out stands at the end when the operator ended the examination.
func TAP(all []Examined) []byte {
	var b bytes.Buffer
	b.WriteString("TAP version 13\n")
	n := 0
	for _, e := range all {
		n += len(e.Results)
		if e.Err != nil {
			n++
		}
	}
	fmt.Fprintf(&b, "1..%d", n)
	if n == 0 {
		b.WriteString(" # SKIP no checks")
	}
	b.WriteByte('\n')
	n = 0
	for _, e := range all {
		for _, r := range e.Results {
			n++
			tapTest(&b, n, e.Node, r)
		}
		if e.Err != nil {
			n++
			fmt.Fprintf(&b, "not ok %d - %s\n", n, tapText(e.Node+": "+notAsked))
			tapBlock(&b, []tapField{{"status", []string{string(e.Status())}}, {"message", []string{e.Err.Error()}}, {"hint", texts(e.Hint)}})
		}
	}
	if slices.ContainsFunc(all, func(e Examined) bool { return e.Status() == jobs.Stopped }) {
		b.WriteString("Bail out! The examination was interrupted.\n")
	}
	return b.Bytes()
}

func tapTest(b *bytes.Buffer, n int, node string, r nodetest.Result) {
	verdict := "ok"
	if r.Bad() {
		verdict = "not ok"
	}
	fmt.Fprintf(b, "%s %d - %s", verdict, n, tapText(node+": "+r.Name))
	switch {
	case r.Status == nodetest.Skipped:
		fmt.Fprintf(b, " # SKIP %s", tapText(r.Text))
	case r.Bad() && r.Known:
		b.WriteString(" # TODO known: it was so before")
	}
	b.WriteByte('\n')
	if !r.Bad() {
		return
	}
	tapBlock(b, []tapField{
		{"status", []string{string(r.Status)}},
		{"check", texts(r.Check)},
		{"want", r.Want},
		{"got", r.Got},
		{"message", texts(r.Text)},
		{"hint", texts(r.Hint)},
		{"output", r.Output},
	})
}

// tapField is an entry of a block: a text, or a list of several.
type tapField struct {
	name  string
	texts []string
}

func texts(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// tapBlock writes the YAML below a test. Everything in it is quoted.
func tapBlock(b *bytes.Buffer, fields []tapField) {
	b.WriteString("  ---\n")
	for _, f := range fields {
		switch len(f.texts) {
		case 0:
		case 1:
			fmt.Fprintf(b, "  %s: %s\n", f.name, yamlText(f.texts[0]))
		default:
			fmt.Fprintf(b, "  %s:\n", f.name)
			for _, s := range f.texts {
				fmt.Fprintf(b, "    - %s\n", yamlText(s))
			}
		}
	}
	b.WriteString("  ...\n")
}

// yamlText quotes a text for YAML: in double quotes, on one line.
func yamlText(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(Escape(s))
	return `"` + s + `"`
}

// tapText makes a description that no reader takes for a directive.
func tapText(s string) string {
	return strings.NewReplacer(`\`, `\\`, "#", `\#`).Replace(Line(s))
}
