package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"example.org/conc/config"
	"example.org/conc/internal/ui"
)

func (p *program) configCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show, compare and check what deploy.ini says",
		Args:  groupArgs,
		RunE:  group,
	}
	for _, c := range []*cobra.Command{p.configShowCmd(), p.configGetCmd(), p.configDiffCmd(), p.configCheckCmd()} {
		cmd.AddCommand(c)
	}
	return cmd
}

// attrJSON is an attribute for programs.
type attrJSON struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Raw     string `json:"raw,omitempty"` // where substitution changed it
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Section string `json:"section,omitempty"`
}

func (p *program) configShowCmd() *cobra.Command {
	var origin bool
	cmd := &cobra.Command{
		Use:   "show NODE",
		Short: "Show a node's attributes, resolved",
		Long: `Show a node's attributes, with every reference resolved and every secret hidden.
With --origin, show where each was written, and how.`,
		Example:           `  conc config show web1 --origin`,
		Args:              exactly(1),
		ValidArgsFunction: p.completeNode(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, n, err := p.node(args[0])
			if err != nil {
				return err
			}
			if p.flags.json {
				return p.printJSON(struct {
					V     int        `json:"v"`
					Type  string     `json:"type"`
					Node  string     `json:"node"`
					Attrs []attrJSON `json:"attrs"`
				}{1, "config", n.Name(), attrRecords(n)})
			}
			return p.showConfig(n, origin)
		},
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "show where each value comes from")
	return cmd
}

func attrRecords(n *config.Node) []attrJSON {
	attrs := []attrJSON{}
	for _, a := range n.Attrs() {
		attrs = append(attrs, attrRecord(a))
	}
	return attrs
}

func attrRecord(a config.Attr) attrJSON {
	r := attrJSON{Key: a.Key, Value: config.Mask(a.Value), File: a.Origin.File, Line: a.Origin.Line, Section: a.Origin.Section}
	if a.Raw != a.Value && len(config.SecretNames(a.Value)) == 0 {
		r.Raw = a.Raw
	}
	return r
}

func (p *program) showConfig(n *config.Node, origin bool) error {
	rows := [][]string{{"KEY", "VALUE"}}
	if origin {
		rows[0] = append(rows[0], "FROM", "", "")
	}
	for _, a := range n.Attrs() {
		row := []string{a.Key, config.Mask(a.Value)}
		if origin {
			row = append(row, fromColumns(a)...)
		}
		rows = append(rows, row)
	}
	_, err := fmt.Fprint(p.streams.Out, ui.Table(rows))
	return err
}

// fromColumns says where an attribute was written, in which section, and how,
// if substitution changed it.
func fromColumns(a config.Attr) []string {
	if a.Origin.File == "" {
		return []string{a.Origin.String()}
	}
	raw := ""
	if a.Raw != a.Value {
		raw = a.Raw
	}
	return []string{a.Origin.String(), "[" + a.Origin.Section + "]", raw}
}

func (p *program) configGetCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "get NODE KEY",
		Short:   "Show one attribute of a node",
		Long:    "Show one attribute of a node, resolved. A secret is hidden.",
		Example: `  conc config get web1 venv`,
		Args:    exactly(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) != 1 {
				return p.completeNode(1)(cmd, args, word)
			}
			return p.completeKeys(args[0]), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			_, n, err := p.node(args[0])
			if err != nil {
				return err
			}
			a, ok := n.Lookup(args[1])
			if !ok {
				return config.Problems{{
					Origin: config.Origin{File: p.flags.config},
					Reason: fmt.Sprintf("%s has no key %q", n.Name(), args[1]),
					Hint:   fmt.Sprintf("see %s config show %s", p.name(), n.Name()),
				}}
			}
			if p.flags.json {
				return p.printJSON(struct {
					V    int    `json:"v"`
					Type string `json:"type"`
					Node string `json:"node"`
					attrJSON
				}{1, "attr", n.Name(), attrRecord(a)})
			}
			_, err = fmt.Fprintln(p.streams.Out, ui.Line(config.Mask(a.Value)))
			return err
		},
	}
}

func (p *program) completeKeys(name string) []cobra.Completion {
	f, err := p.read()
	if err != nil {
		return nil
	}
	n, err := f.Node(name)
	if err != nil {
		return nil
	}
	var keys []string
	for _, a := range n.Attrs() {
		keys = append(keys, a.Key)
	}
	return keys
}

// difference is a key that two nodes do not have in common.
type difference struct {
	Key   string  `json:"key"`
	Left  *string `json:"left"` // null: the node has no such key
	Right *string `json:"right"`
}

func (p *program) configDiffCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "diff NODE NODE",
		Short: "Show what two nodes do not have in common",
		Long: `Show the attributes in which two nodes differ, resolved. A node that has no such
key shows "-". Secrets are hidden, and compared by their names.`,
		Example:           `  conc config diff web1 web2`,
		Args:              exactly(2),
		ValidArgsFunction: p.completeNode(2),
		RunE: func(_ *cobra.Command, args []string) error {
			f, left, err := p.node(args[0])
			if err != nil {
				return err
			}
			names, err := f.Select(args[1])
			if err != nil {
				return err
			}
			if len(names) != 1 {
				return usagef("%s means %d nodes; this command takes one", args[1], len(names))
			}
			right, err := f.Node(names[0])
			if err != nil {
				return err
			}
			return p.showDiff(left, right)
		},
	}
}

func (p *program) showDiff(left, right *config.Node) error {
	diffs := differences(left, right)
	if p.flags.json {
		return p.printJSON(struct {
			V     int          `json:"v"`
			Type  string       `json:"type"`
			Left  string       `json:"left"`
			Right string       `json:"right"`
			Diffs []difference `json:"diffs"`
		}{1, "config_diff", left.Name(), right.Name(), diffs})
	}
	if len(diffs) == 0 {
		_, err := fmt.Fprintf(p.streams.Out, "%s and %s have the same attributes\n", left.Name(), right.Name())
		return err
	}
	rows := [][]string{{"KEY", left.Name(), right.Name()}}
	for _, d := range diffs {
		rows = append(rows, []string{d.Key, orDash(d.Left), orDash(d.Right)})
	}
	_, err := fmt.Fprint(p.streams.Out, ui.Table(rows))
	return err
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func differences(left, right *config.Node) []difference {
	var keys []string
	for _, n := range []*config.Node{left, right} {
		for _, a := range n.Attrs() {
			keys = append(keys, a.Key)
		}
	}
	slices.Sort(keys)
	diffs := []difference{}
	for _, key := range slices.Compact(keys) {
		l, inLeft := left.Lookup(key)
		r, inRight := right.Lookup(key)
		if key == "name" || inLeft == inRight && l.Value == r.Value {
			continue
		}
		d := difference{Key: key}
		if inLeft {
			v := config.Mask(l.Value)
			d.Left = &v
		}
		if inRight {
			v := config.Mask(r.Value)
			d.Right = &v
		}
		diffs = append(diffs, d)
	}
	return diffs
}
