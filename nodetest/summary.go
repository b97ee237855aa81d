package nodetest

import (
	"fmt"
	"strings"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// text is a result for people: what was wanted and found, when it is not OK.
func (r Result) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-9s %s\n", r.Status, r.Name)
	line := func(label, s string) {
		for l := range strings.Lines(s + "\n") {
			fmt.Fprintf(&b, "          %-4s  %s\n", label, strings.TrimRight(l, "\n"))
			label = ""
		}
	}
	for i := range r.Want {
		line("want", r.Want[i])
		line("got", r.Got[i])
	}
	for _, s := range []string{r.Text, r.Hint} {
		if s != "" {
			line("", s)
		}
	}
	return b.String()
}

// tally is what is said of checks that went well: "6 checks, 1 SKIPPED".
func tally(results []Result) string {
	counts, known := Report{Results: results}.Counts()
	s := count(len(results), "check")
	if n := counts[Skipped]; n > 0 {
		s += fmt.Sprintf(", %d %s", n, Skipped)
	}
	if known > 0 {
		s += fmt.Sprintf(", %d known", known)
	}
	return s
}

// summary names the checks that are not as they should be, the worst first:
// "2 of 6 checks FAILED: healthy, listening". What was known before is left out.
func summary(results []Result) string {
	var parts []string
	for _, status := range []jobs.Status{jobs.Errored, jobs.Failed, jobs.TimedOut} {
		var names []string
		for _, r := range results {
			if r.Status == status && !r.Known {
				names = append(names, config.OneLine(r.Name))
			}
		}
		if len(names) == 0 {
			continue
		}
		of := ""
		if len(parts) == 0 {
			of = fmt.Sprintf(" of %s", count(len(results), "check"))
		}
		n := len(names)
		if n > maxNamed {
			names = append(names[:maxNamed], fmt.Sprintf("and %d more", n-maxNamed))
		}
		parts = append(parts, fmt.Sprintf("%d%s %s: %s", n, of, status, strings.Join(names, ", ")))
	}
	return strings.Join(parts, "; ")
}

// Summary names what is not as it should be, and was not so before; where there
// is nothing of that, it counts the checks.
func (r Report) Summary() string {
	if Worst(r.Results) == jobs.OK {
		return tally(r.Results)
	}
	return summary(r.Results)
}

// maxNamed is how many checks a message names.
const maxNamed = 5

// OnlyFlags are the flags of `conc nodetest` that choose the checks which are
// not as they should be; none, where there are too many to be typed.
func OnlyFlags(results []Result) []string {
	var flags []string
	for _, r := range results {
		if r.Bad() && !r.Known {
			flags = append(flags, "--only", literal.Replace(r.Name))
		}
	}
	if len(flags) > 2*maxNamed {
		return nil
	}
	return flags
}

// literal makes a pattern that means a name and nothing else.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
