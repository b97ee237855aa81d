package config

import (
	"fmt"
	"slices"
	"strings"
)

// checkJumps refuses a node that is reached through itself, and wonders at a
// jump host that is nearly the name of a node.
func (p *parser) checkJumps() {
	f := p.file
	next := map[string]string{} // the node that a node is reached through
	told := map[Origin]bool{}
	for _, name := range f.nodes.names {
		e, ok := f.nodes.sections[name].find("sshd.jump")
		if !ok {
			continue
		}
		v := f.resolver().resolve(ref{name, "sshd.jump"})
		if v.problem != nil || v.value == "none" {
			continue
		}
		if _, ok := f.nodes.find(v.value); ok {
			next[name] = v.value
		} else if isName(v.value) && !told[e.origin] && len(p.warnings) < maxProblems {
			told[e.origin] = true
			if near := Near(v.value, f.nodes.names); len(near) > 0 {
				p.warnings = append(p.warnings, Problem{
					Origin: e.origin, Reason: fmt.Sprintf("sshd.jump: %s is no node; it is taken for a host", quote(v.value)),
					Hint: "did you mean " + list(near, " or ") + "?",
				})
			}
		}
	}
	done := map[string]bool{}
	for _, name := range f.nodes.names {
		var path []string
		for ; name != "" && !done[name]; name = next[name] {
			done[name] = true
			path = append(path, name)
		}
		if i := slices.Index(path, name); i >= 0 {
			e, _ := f.nodes.sections[name].find("sshd.jump")
			p.complain(e.origin, Problem{
				Reason: fmt.Sprintf("sshd.jump: node %s is reached through itself: %s", quote(name), strings.Join(append(path[i:], name), " -> ")),
				Hint:   fmt.Sprintf("write sshd.jump = none in [node:%s]", name),
			})
		}
	}
}
