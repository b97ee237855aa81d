package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"example.org/conc/internal/ui"
)

// progress is what the status line shows while nodes are examined. It is safe
// for concurrent use.
type progress struct {
	now   func() time.Time
	nodes int

	mu   sync.Mutex
	done int
	at   []*standing // nodes at work, in the order in which they began
}

// standing is how far one node is.
type standing struct {
	node  string
	what  string // while there is no check to tell of: "connecting to …"
	names []string
	made  int // of the checks
	since time.Time
}

// begin takes in a node that is about to be asked.
func (p *progress) begin(e examinee) {
	s := &standing{node: e.node.Name(), what: "connecting to " + e.target.String(), since: p.now()}
	for _, c := range e.suite.Checks {
		s.names = append(s.names, c.Name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = append(p.at, s)
}

// update changes what is known of a node.
func (p *progress) update(node string, change func(*standing)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.at {
		if s.node == node {
			change(s)
		}
	}
}

// connected says that a node has been reached.
func (p *progress) connected(node string) {
	p.update(node, func(s *standing) { s.what = "" })
}

// result says that a further check has its result.
func (p *progress) result(node string) {
	p.update(node, func(s *standing) { s.made++ })
}

// end takes a node out.
func (p *progress) end(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	for i, s := range p.at {
		if s.node == node {
			p.at = append(p.at[:i], p.at[i+1:]...)
			return
		}
	}
}

// line makes the status line: what the one node is waiting for, or how many
// nodes are done and how far the others are.
func (p *progress) line(int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.at) == 0 {
		return ""
	}
	if p.nodes == 1 {
		s := p.at[0]
		return fmt.Sprintf("%s  %s  %s", ui.Line(s.node), s.state(true), ui.Took(p.now().Sub(s.since)))
	}
	parts := make([]string, len(p.at))
	for i, s := range p.at {
		parts[i] = ui.Line(s.node) + " " + s.state(false)
	}
	return fmt.Sprintf("%d of %s done  %s", p.done, ui.Count(p.nodes, "node"), strings.Join(parts, ", "))
}

// state says how far a node is: "3 of 6  backup", or "3/6".
func (s *standing) state(alone bool) string {
	switch {
	case s.what != "" && alone:
		return ui.Line(s.what)
	case s.what != "":
		return "connecting"
	case s.made >= len(s.names):
		return "Go tests" // of which nobody knows how many there are
	case alone:
		return fmt.Sprintf("%d of %d  %s", s.made, len(s.names), ui.Line(s.names[s.made]))
	}
	return fmt.Sprintf("%d/%d", s.made, len(s.names))
}
