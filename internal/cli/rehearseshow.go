package cli

import (
	"fmt"
	"strings"

	"example.org/conc/internal/rehearsal"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// rehearsalJSON is what rehearse --json writes: one line.
type rehearsalJSON struct {
	V          int                  `json:"v"`
	Type       string               `json:"type"` // "rehearsal"
	Node       string               `json:"node"`
	List       string               `json:"list"`
	Steps      []rehearsedStepJSON  `json:"steps"`
	Violations []rehearsalBrokeJSON `json:"violations"`
	Code       int                  `json:"code"`
}

type rehearsedStepJSON struct {
	Step       int                                   `json:"step"`
	Name       string                                `json:"name"`
	Where      jobs.Host                             `json:"where"`
	Repeatable bool                                  `json:"repeatable"`
	Faults     map[rehearsal.Fault]rehearsal.Verdict `json:"faults"` // "ok", "violation", or "-": it cannot befall the step
}

type rehearsalBrokeJSON struct {
	Step    int             `json:"step,omitempty"` // none: the list as a whole
	Name    string          `json:"name,omitempty"`
	Fault   rehearsal.Fault `json:"fault,omitempty"`
	Message string          `json:"message"`
	Paths   []string        `json:"paths,omitempty"`
}

// showRehearsal writes what came of a rehearsal, and ends with its exit code.
func (p *program) showRehearsal(r *rehearsal.Report) error {
	code := exitOK
	if len(r.Violations) > 0 {
		code = exitFailed
	}
	var err error
	if p.flags.json {
		err = p.printJSON(rehearsalRecord(r, code))
	} else {
		_, err = fmt.Fprint(p.streams.Out, rehearsalText(r))
	}
	if err == nil && code != exitOK {
		err = ended{code}
	}
	return err
}

func rehearsalRecord(r *rehearsal.Report, code int) rehearsalJSON {
	j := rehearsalJSON{V: 1, Type: "rehearsal", Node: r.Plan.Node.Name(), List: r.Plan.List, Violations: []rehearsalBrokeJSON{}, Code: code}
	for i, s := range r.Plan.Steps {
		_, repeatable := s.Op.(jobs.Repeatable)
		step := rehearsedStepJSON{Step: s.N, Name: s.Name, Where: s.Host, Repeatable: repeatable, Faults: map[rehearsal.Fault]rehearsal.Verdict{}}
		for k, f := range r.Faults {
			step.Faults[f] = r.Verdicts[i][k]
		}
		j.Steps = append(j.Steps, step)
	}
	for _, v := range r.Violations {
		j.Violations = append(j.Violations, rehearsalBrokeJSON{v.Step, v.Name, v.Fault, v.Text, v.Paths})
	}
	return j
}

// nameWidth is that of the column of the steps' names: with seven faults, the
// table has 75 columns.
const nameWidth = 20

// rehearsalText is the table, and what was not kept.
func rehearsalText(r *rehearsal.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  list %s, %s\n\n", ui.Line(r.Plan.Node.Name()), ui.Line(r.Plan.List), ui.Count(len(r.Plan.Steps), "step"))
	var row strings.Builder
	flush := func() {
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
		row.Reset()
	}
	fmt.Fprintf(&row, "%3s  %-6s  %-*s", "", "", nameWidth, "")
	for _, f := range r.Faults {
		fmt.Fprintf(&row, "  %-4s", f)
	}
	flush()
	for i, s := range r.Plan.Steps {
		name := []rune(ui.Line(s.Name))
		if len(name) > nameWidth {
			name = append(name[:nameWidth-1], '…')
		}
		fmt.Fprintf(&row, "%3d  %-6s  %-*s", s.N, s.Host, nameWidth, string(name))
		for k := range r.Faults {
			mark := string(r.Verdicts[i][k])
			if r.Verdicts[i][k] == rehearsal.Broken {
				mark = "NO"
			}
			fmt.Fprintf(&row, "  %-4s", mark)
		}
		flush()
	}
	for _, v := range r.Violations {
		where := "the list"
		if v.Step > 0 {
			where = fmt.Sprintf("step %d %s", v.Step, ui.Line(v.Name))
		}
		if v.Fault != "" {
			where += ", " + string(v.Fault)
		}
		fmt.Fprintf(&b, "\n%s:\n  %s\n", where, ui.Line(v.Text))
		for _, path := range v.Paths {
			fmt.Fprintf(&b, "    %s\n", ui.Line(path))
		}
	}
	if len(r.Violations) == 0 {
		b.WriteString("\nno violation\n")
	} else {
		fmt.Fprintf(&b, "\n%s\n", ui.Count(len(r.Violations), "violation"))
	}
	return b.String()
}
