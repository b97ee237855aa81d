package cli

import (
	"strings"

	"al.essio.dev/pkg/shellescape"

	"example.org/conc/config"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// byHand gives the shell lines of a step; as root where the step is. here is
// where the bundle's other half is on this workstation.
func byHand(node *config.Node, s jobs.Step, here string) []string {
	op, ok := s.Op.(jobs.ByHander)
	if !ok {
		return nil
	}
	if s.Host == jobs.Local {
		switch s.Op.(type) {
		case jobs.OpenBundle, jobs.CloseBundle:
			values := node.Values()
			values["bundle"] = here
			node = config.NewNode(node.Name(), values)
		}
	}
	_, conc := s.Op.(nodetest.SuiteOp)
	if conc && s.Host == jobs.Local {
		return nil // nodetest makes its checks on the node only
	}
	lines := op.ByHand(node)
	if !s.AsRoot() || conc {
		return lines
	}
	asRoot := make([]string, len(lines))
	for i, l := range lines {
		switch {
		case strings.HasPrefix(l, "#"):
			asRoot[i] = l
		case strings.ContainsAny(l, "|&;<>()$`\n~") || strings.HasPrefix(l, "cd "):
			// Root's shell has another home: "~" means the account's.
			asRoot[i] = `sudo HOME="$HOME" sh -c ` + shellescape.Quote(l)
		default:
			asRoot[i] = "sudo " + l
		}
	}
	return asRoot
}
