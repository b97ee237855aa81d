package cli

import (
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"example.org/conc/config"
	"example.org/conc/internal/ui"
)

// nodeJSON is a node for programs.
type nodeJSON struct {
	V      int      `json:"v"`
	Type   string   `json:"type"`
	Node   string   `json:"node"`
	Target string   `json:"target"`
	Groups []string `json:"groups"`
	Jobs   string   `json:"jobs"`
}

func (p *program) nodesCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "nodes [NODE...]",
		Short: "List the nodes of deploy.ini",
		Long: `List the nodes of deploy.ini: how each is reached, its groups, and the job list
that a deploy would run. NODE may be a name, a glob, or @group.`,
		Example: `  conc nodes
  conc nodes @web`,
		Args:              atLeast(0),
		ValidArgsFunction: p.completeNodes,
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := p.load()
			if err != nil {
				return err
			}
			names := f.NodeNames()
			if len(args) > 0 {
				if names, err = p.names(f, args...); err != nil {
					return err
				}
			}
			rows := [][]string{{"NODE", "TARGET", "GROUPS", "JOBS"}}
			for _, name := range names {
				n, err := f.Node(name)
				if err != nil {
					return err
				}
				r := nodeJSON{V: 1, Type: "node", Node: name, Target: p.shownTarget(f, n), Groups: groups(n), Jobs: n.Get("jobs")}
				if p.flags.json {
					if err := p.printJSON(r); err != nil {
						return err
					}
					continue
				}
				rows = append(rows, []string{name, r.Target, strings.Join(r.Groups, " "), r.Jobs})
			}
			if p.flags.json {
				return nil
			}
			_, err = fmt.Fprint(p.streams.Out, ui.Table(rows))
			return err
		},
	}
}

// shownTarget gives user@host:port as a deploy would use it, or as the file
// has it when ~/.ssh/config is in the way.
func (p *program) shownTarget(f *config.File, n *config.Node) string {
	if t, err := p.target(f, n); err == nil {
		return t.String()
	}
	host := net.JoinHostPort(n.Get("sshd.ip"), fmt.Sprint(n.Port()))
	if admin := n.Get("admin"); admin != "" {
		host = config.Mask(admin) + "@" + host
	}
	return host
}

// groups gives the groups of a node, as its section lists them.
func groups(n *config.Node) []string {
	all := strings.FieldsFunc(n.Get("groups"), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	if all == nil {
		all = []string{}
	}
	return all
}
