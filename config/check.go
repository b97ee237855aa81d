package config

import (
	"fmt"
	"slices"
	"strings"
)

const secretPrefix = "secret:"

// value makes a value of its substituted text: a token of "secret:NAME".
func (e *entry) value(text string) (string, *Problem) {
	if !strings.HasPrefix(e.raw, secretPrefix) {
		return text, nil
	}
	name := strings.TrimPrefix(text, secretPrefix)
	if !isKey(name) {
		return "", &Problem{Reason: fmt.Sprintf("%s: %s is no name for a secret", e.key, quote(name)), Hint: `use letters, digits, ".", "_" and "-"`}
	}
	return SecretToken(name), nil
}

// check judges a value, substituted, of a key that conc reads. The Problem has
// no origin yet.
func check(e *entry, text string) *Problem {
	v, problem := e.value(text)
	k := knownKey()[e.key]
	switch {
	case problem != nil || k.check == nil:
		return problem
	case e.key != sudoSecret && secretToken().MatchString(v):
		return &Problem{Reason: e.key + " cannot be a secret"}
	}
	if err := k.check(v); err != nil {
		shown := quote(v) + " "
		if v == "" || passwordKey().MatchString(e.key) {
			shown = ""
		}
		return &Problem{Reason: fmt.Sprintf("%s: %s%s", e.key, shown, err)}
	}
	return nil
}

// link gives every node the layers that its values come from, in the order of
// precedence: --set, itself, its groups (the last named first), DEFAULT, built in.
func (p *parser) link() {
	f := p.file
	groups := map[*entry][]*layer{} // the keys of those that a value of groups names
	for _, name := range f.nodes.names {
		if p.enough() {
			return
		}
		n := f.nodes.sections[name]
		e, ok := n.keys.keys["groups"]
		if !ok {
			e = f.defaults.keys["groups"]
		}
		if _, ok := groups[e]; !ok && e != nil {
			layers, problem := f.groupsOf(e)
			if problem != nil {
				p.complain(e.origin, *problem)
			}
			groups[e] = layers
		}
		n.layers = append([]*layer{f.set, n.keys}, groups[e]...)
		n.layers = append(n.layers, f.defaults, f.builtIns)
	}
}

// maxGroups is how many groups a node may be in.
const maxGroups = 100

// groupsOf gives the keys of the groups that a value of groups names, the last
// one first. Blanks or commas are between the names.
func (f *File) groupsOf(e *entry) ([]*layer, *Problem) {
	if e.late {
		return nil, &Problem{Reason: "groups: nothing is substituted here", Hint: "write the names of the groups"}
	}
	names := strings.FieldsFunc(e.raw, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	if len(names) > maxGroups {
		return nil, &Problem{Reason: fmt.Sprintf("groups: more than %d", maxGroups)}
	}
	var layers []*layer
	for _, name := range slices.Backward(names) {
		g, ok := f.groups.find(name)
		switch {
		case !ok:
			return layers, &Problem{Reason: fmt.Sprintf("groups: there is no group %s", quote(name)), Hint: suggest(name, f.groups.names)}
		case slices.Contains(layers, g.keys):
			return layers, &Problem{Reason: fmt.Sprintf("groups: %s is named twice", quote(name))}
		}
		layers = append(layers, g.keys)
	}
	return layers, nil
}

// maxSpent bounds the work of checking a file, in bytes of substituted values.
// A fleet of a thousand nodes needs a hundredth of it.
const maxSpent = 64 << 20

// checkLate resolves, for each node, the values in which something is
// substituted; all others have been checked where they stand. A line that many
// nodes inherit is complained about once.
func (p *parser) checkLate() {
	f := p.file
	told := map[Origin]bool{} // of --set, which has no lines, one complaint too
	spent := 0
	for _, name := range f.nodes.names {
		if p.enough() {
			return
		}
		n := f.nodes.sections[name]
		r := f.resolver()
		for _, key := range n.lateKeys() {
			e, _ := n.find(key)
			if told[e.origin] {
				continue
			}
			v := r.resolve(ref{name, key})
			problem, at := v.problem, e.origin
			if problem != nil {
				at = problem.Origin // of the line that is wrong, which another may have led to
			} else {
				problem = check(e, v.text)
			}
			if at.BuiltIn() { // the node's name will not do for its sshd.ip
				at = n.origin
			}
			if problem != nil && !told[at] {
				p.complain(at, *problem)
			}
			if problem != nil {
				told[at], told[e.origin] = true, true
			}
			if spent+r.spent > maxSpent {
				p.refuse(0, "the values of all nodes are too many or too long to check", "name what they have in common once")
				return
			}
		}
		spent += r.spent
	}
}
