package config

import "time"

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
	name string
}

// NewNode makes a node of values that are already resolved: the agent's view.
// Its Expand knows these values only.
func NewNode(name string, values map[string]string) *Node { panic("contract") }

// Name is the node's name in deploy.ini.
func (n *Node) Name() string { return n.name }

// Get gives the attribute's value, or "" when there is none.
func (n *Node) Get(key string) string { panic("contract") }

// Lookup gives the attribute and whether there is one.
func (n *Node) Lookup(key string) (Attr, bool) { panic("contract") }

// Attrs lists every attribute, sorted by key.
func (n *Node) Attrs() []Attr { panic("contract") }

// Values gives every attribute's resolved value; the map is the caller's own.
func (n *Node) Values() map[string]string { panic("contract") }

// Expand substitutes %(key)s and %% in s in the node's scope. at is where s was
// written, for the error, which is Problems.
func (n *Node) Expand(s string, at Origin) (string, error) { panic("contract") }

// Port is sshd.port, checked when the file was read.
func (n *Node) Port() int { panic("contract") }

// Duration gives a key that holds a time limit (timeout.job and its like), or
// the built-in value of that key. It was checked when the file was read.
func (n *Node) Duration(key string) time.Duration { panic("contract") }

// ParseDuration reads a time limit: Go's notation ("90s", "5m", "1h30m"), or a
// whole number of seconds; over zero and at most 1000 hours.
func ParseDuration(s string) (time.Duration, error) { panic("contract") }
