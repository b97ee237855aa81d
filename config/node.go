package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Attr is one attribute of a node, resolved.
type Attr struct {
	Key    string
	Raw    string // as written, unsubstituted
	Value  string // substituted; a secret is a token, see SecretToken
	Origin Origin
}

// Node is one node's attributes, resolved. It is read-only and safe for
// concurrent use.
type Node struct {
	name  string
	attrs map[string]Attr
	file  *File // nil on the agent, which knows no other node
}

// NewNode makes a node of values that are already resolved: the agent's view.
// Its Expand knows these values only.
func NewNode(name string, values map[string]string) *Node {
	n := &Node{name: name, attrs: make(map[string]Attr, len(values))}
	for k, v := range values {
		n.attrs[k] = Attr{Key: k, Raw: v, Value: v}
	}
	return n
}

// Name is the node's name in deploy.ini.
func (n *Node) Name() string { return n.name }

// Get gives the attribute's value, or "" when there is none. The key may be in
// any case.
func (n *Node) Get(key string) string { return n.attrs[strings.ToLower(key)].Value }

// Lookup gives the attribute and whether there is one. One that nobody wrote
// has an Origin that says BuiltIn. The key may be in any case.
func (n *Node) Lookup(key string) (Attr, bool) {
	a, ok := n.attrs[strings.ToLower(key)]
	return a, ok
}

// Attrs lists every attribute, sorted by key.
func (n *Node) Attrs() []Attr {
	attrs := make([]Attr, 0, len(n.attrs))
	for _, k := range slices.Sorted(maps.Keys(n.attrs)) {
		attrs = append(attrs, n.attrs[k])
	}
	return attrs
}

// Values gives every attribute's resolved value; the map is the caller's own.
func (n *Node) Values() map[string]string {
	values := make(map[string]string, len(n.attrs))
	for k, a := range n.attrs {
		values[k] = a.Value
	}
	return values
}

// Expand substitutes %(key)s and %% in s in the node's scope. at is where s was
// written, for the error, which is Problems.
func (n *Node) Expand(s string, at Origin) (string, error) {
	parts, problem := split(s)
	var out string
	if problem == nil {
		out, problem = join(parts, n.refer)
	}
	if problem == nil {
		return out, nil
	}
	if problem.Origin == (Origin{}) {
		problem.Origin = at
	}
	return "", Problems{*problem}
}

// refer gives what a reference in a line of a list stands for.
func (n *Node) refer(ref string) (string, *Problem) {
	if a, ok := n.attrs[ref]; ok {
		return a.Value, nil
	}
	if n.file == nil {
		return "", unknownRef(ref, ref, n.name, slices.Sorted(maps.Keys(n.attrs)))
	}
	return n.file.refer(n.name, ref)
}

// unknownRef is the complaint about a reference to a key that node does not
// have; it has no origin yet.
func unknownRef(ref, key, node string, known []string) *Problem {
	return &Problem{Reason: fmt.Sprintf("%s: node %s has no such key", quote("%("+ref+")s"), quote(node)), Hint: suggest(key, known)}
}

// Port is sshd.port, checked when the file was read.
func (n *Node) Port() int {
	if p, err := strconv.Atoi(n.Get("sshd.port")); err == nil {
		return p
	}
	return 22
}

// Size gives a key that holds a number of bytes (cache.size), or the built-in
// value of that key. It was checked when the file was read.
func (n *Node) Size(key string) int64 {
	for _, s := range []string{n.Get(key), builtIn(key)} {
		if size, err := humanize.ParseBytes(s); err == nil {
			return int64(size)
		}
	}
	return 0
}

// Duration gives a key that holds a time limit (timeout.job and its like), or
// the built-in value of that key. It was checked when the file was read.
func (n *Node) Duration(key string) time.Duration {
	if d, err := ParseDuration(n.Get(key)); err == nil {
		return d
	}
	d, _ := ParseDuration(builtIn(key)) // 0 for a key that has none
	return d
}
