package config

import (
	"fmt"
	"slices"
	"strings"
)

// maxDepth is how many substitutions may lie behind one another, as in Python's
// ConfigParser.
const maxDepth = 10

// maxNode bounds what all values of a node come to, in bytes: they travel to
// the node in one message.
const maxNode = 128 << 10

// ref is a key of a node.
type ref struct{ node, key string }

// resolver substitutes values, each once. It is for one goroutine.
type resolver struct {
	file  *File
	memo  map[ref]*resolved
	chain []ref // what is being resolved, the outermost first
	deep  *Problem
	spent int // a measure of the work done, in bytes
}

// resolved is what a value came to.
type resolved struct {
	text    string // substituted
	value   string // text, or the token of a secret
	problem *Problem
	open    bool // it is being resolved
	height  int  // how many substitutions lie behind one another in it
	below   ref  // the one to follow for height
}

func (f *File) resolver() *resolver { return &resolver{file: f, memo: map[ref]*resolved{}} }

// resolve gives the value of a key that its node has. Every Problem in it has
// an origin.
func (r *resolver) resolve(at ref) *resolved {
	if v, ok := r.memo[at]; ok {
		switch {
		case v.open:
			return &resolved{problem: r.cycle(at)}
		case v.problem == nil && len(r.chain)+v.height > maxDepth:
			return &resolved{problem: r.tooDeep(at)}
		}
		return v
	}
	if len(r.chain) > maxDepth {
		return &resolved{problem: r.tooDeep(at)}
	}
	e, _ := r.file.nodes.sections[at.node].find(at.key)
	v := &resolved{open: true}
	r.memo[at] = v
	r.chain = append(r.chain, at)
	v.text, v.problem = join(e.parts, func(name string) (string, *Problem) { return r.refer(v, name) })
	if v.problem == nil {
		v.value, v.problem = e.value(v.text)
	} else if v.problem.Origin == (Origin{}) {
		*v.problem = named(e.key, *v.problem)
		v.problem.Reason += r.trail()
	}
	if v.problem != nil && v.problem.Origin == (Origin{}) {
		v.problem.Origin = e.origin
	}
	r.chain = r.chain[:len(r.chain)-1]
	r.spent += 64 + len(v.text)
	v.open = false
	if v.problem != nil {
		r.spent += maxValue / 16
		if v.problem == r.deep { // from where the chain starts; from here it may do
			delete(r.memo, at)
		}
	}
	return v
}

// refer gives what a reference in the value v, the last of the chain, stands for.
func (r *resolver) refer(v *resolved, name string) (string, *Problem) {
	at, problem := r.file.target(r.chain[len(r.chain)-1].node, name)
	if problem != nil {
		return "", problem
	}
	w := r.resolve(at)
	if w.problem != nil {
		return "", w.problem
	}
	if h := w.height + 1; h > v.height {
		v.height, v.below = h, at
	}
	return w.value, nil
}

// target finds the key that a reference in node's scope means.
func (f *File) target(node, name string) (ref, *Problem) {
	key := name
	if other, k, ok := otherNode(name); ok {
		node, key = other, k
	}
	n, ok := f.nodes.find(node)
	if !ok {
		return ref{}, &Problem{Reason: fmt.Sprintf("%s: there is no node %s", quote("%("+name+")s"), quote(node)), Hint: suggest(node, f.nodes.names)}
	}
	if _, ok := n.find(key); !ok {
		return ref{}, unknownRef(name, key, node, n.keyNames())
	}
	return ref{node, key}, nil
}

// refer gives what a reference in a line of a list stands for in node's scope.
func (f *File) refer(node, name string) (string, *Problem) {
	at, problem := f.target(node, name)
	if problem != nil {
		return "", problem
	}
	v := f.resolver().resolve(at)
	return v.value, v.problem
}

func (r *resolver) cycle(at ref) *Problem {
	links := r.chain[slices.Index(r.chain, at):]
	return &Problem{Origin: r.origin(at), Reason: "interpolation cycle " + r.arrows(append(slices.Clone(links), at)) + r.places(links)}
}

func (r *resolver) tooDeep(at ref) *Problem {
	links := append(slices.Clone(r.chain), at)
	for v := r.memo[at]; v != nil && v.height > 0 && len(links) <= maxDepth+1; v = r.memo[at] {
		at = v.below
		links = append(links, at)
	}
	r.deep = &Problem{Origin: r.origin(links[0]), Reason: fmt.Sprintf("substitutions deeper than %d: %s%s", maxDepth, r.arrows(links), r.places(links))}
	return r.deep
}

// trail says which values led to the last of the chain, "" when none did.
func (r *resolver) trail() string {
	if len(r.chain) < 2 {
		return ""
	}
	return ", in " + r.arrows(r.chain) + r.places(r.chain)
}

// arrows gives "a -> b -> node:db1:c".
func (r *resolver) arrows(links []ref) string {
	names := make([]string, len(links))
	for i, l := range links {
		if names[i] = l.key; l.node != links[0].node {
			names[i] = nodePrefix + l.node + ":" + l.key
		}
	}
	return strings.Join(names, " -> ")
}

// places gives " (deploy.ini:3, deploy.ini:5)", where links are written.
func (r *resolver) places(links []ref) string {
	places := make([]string, len(links))
	for i, l := range links {
		places[i] = r.origin(l).String()
	}
	return " (" + strings.Join(places, ", ") + ")"
}

func (r *resolver) origin(at ref) Origin {
	e, _ := r.file.nodes.sections[at.node].find(at.key)
	return e.origin
}

// Node resolves one node. The error is Problems.
func (f *File) Node(name string) (*Node, error) {
	s, ok := f.nodes.find(name)
	if !ok {
		return nil, f.problem("there is no node "+quote(name), suggest(name, f.nodes.names))
	}
	n := &Node{name: name, attrs: map[string]Attr{}, file: f}
	r := f.resolver()
	size := 0
	for _, key := range s.keyNames() {
		v := r.resolve(ref{name, key})
		if v.problem != nil { // cannot be: the file was checked
			return nil, Problems{*v.problem}
		}
		e, _ := s.find(key)
		n.attrs[key] = Attr{Key: key, Raw: e.raw, Value: v.value, Origin: e.origin}
		if size += len(key) + len(v.value); size > maxNode {
			return nil, Problems{{Origin: s.origin, Reason: fmt.Sprintf("the values of node %s come to more than %d KiB", name, maxNode>>10)}}
		}
	}
	return n, nil
}
