package config

import (
	"fmt"
	"slices"
)

// File is one deploy.ini, read and checked whole. It does not change, and is
// safe for concurrent use.
type File struct {
	Path string

	set      *layer // --set
	defaults *layer
	builtIns *layer
	groups   catalogue
	nodes    catalogue
	lists    catalogue
	suites   catalogue
	rehearse Rehearse
	warnings Problems
}

// Load reads and checks the file at path. The error is Problems.
func Load(path string, opts Options) (*File, error) {
	data, problem := readFile(path)
	if problem != nil {
		return nil, Problems{*problem}
	}
	return Parse(path, data, opts)
}

// Parse is Load for bytes that are already at hand; path is only for messages.
// All that is wrong with them is told at once, in the order of the lines.
func Parse(path string, data []byte, opts Options) (*File, error) {
	p := &parser{file: &File{Path: path}, told: map[int]bool{}, typos: map[string][]string{}}
	p.parse(data, opts)
	if len(p.problems) > 0 {
		return nil, p.problems.inOrder()
	}
	p.file.warnings = p.warnings.inOrder()
	return p.file, nil
}

// Warnings are complaints that do not make the file unusable.
func (f *File) Warnings() Problems { return slices.Clone(f.warnings) }

// NodeNames lists the nodes in the file's order.
func (f *File) NodeNames() []string { return slices.Clone(f.nodes.names) }

// GroupNames lists the groups in the file's order.
func (f *File) GroupNames() []string { return slices.Clone(f.groups.names) }

// ListNames lists the [jobs:*] sections in the file's order.
func (f *File) ListNames() []string { return slices.Clone(f.lists.names) }

// SuiteNames lists the [nodetest:*] sections in the file's order.
func (f *File) SuiteNames() []string { return slices.Clone(f.suites.names) }

// List gives the lines of [jobs:name]. A missing or empty list is Problems, with near names.
func (f *File) List(name string) ([]Line, error) { return f.lines(&f.lists, "jobs", name) }

// Suite gives the lines of [nodetest:name], as List does.
func (f *File) Suite(name string) ([]Line, error) { return f.lines(&f.suites, "nodetest", name) }

func (f *File) lines(c *catalogue, kind, name string) ([]Line, error) {
	s, ok := c.find(name)
	if !ok {
		return nil, f.problem(fmt.Sprintf("there is no section %s", title(kind, name)), suggest(name, c.names))
	}
	if len(s.lines) == 0 {
		return nil, Problems{{Origin: s.origin, Reason: title(kind, name) + " has no lines"}}
	}
	lines := slices.Clone(s.lines)
	for i := range lines {
		lines[i].Words = slices.Clone(lines[i].Words)
	}
	return lines, nil
}

// problem is a complaint about the file as a whole.
func (f *File) problem(reason, hint string) Problems {
	return Problems{{Origin: Origin{File: f.Path}, Reason: reason, Hint: hint}}
}

// title writes a section's title for a message.
func title(kind, name string) string {
	if name != "" {
		kind += ":" + name
	}
	return "[" + printable(cut(kind)) + "]"
}

// catalogue is the sections of one kind, in the file's order.
type catalogue struct {
	names    []string
	sections map[string]*section
}

func (c *catalogue) add(s *section) {
	if c.sections == nil {
		c.sections = map[string]*section{}
	}
	c.names = append(c.names, s.name)
	c.sections[s.name] = s
}

func (c *catalogue) find(name string) (*section, bool) {
	s, ok := c.sections[name]
	return s, ok
}
