package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Select turns names, globs and @groups into node names, in the file's order
// within each pattern, without repeats. @all is every node. A pattern that
// means no node is Problems, with near names.
func (f *File) Select(patterns ...string) ([]string, error) {
	var names []string
	var problems Problems
	taken := map[string]bool{}
	for _, pattern := range patterns {
		found, more := f.match(pattern)
		problems = append(problems, more...)
		for _, name := range found {
			if !taken[name] {
				taken[name] = true
				names = append(names, name)
			}
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return names, nil
}

// match gives the nodes that one pattern means.
func (f *File) match(pattern string) ([]string, Problems) {
	if group, ok := strings.CutPrefix(pattern, "@"); ok {
		return f.members(group)
	}
	if _, ok := f.nodes.find(pattern); ok {
		return []string{pattern}, nil
	}
	if !strings.ContainsAny(pattern, `*?[\`) {
		return nil, f.problem("there is no node "+quote(pattern), suggest(pattern, f.nodes.names))
	}
	var found []string
	for _, name := range f.nodes.names {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, f.problem(fmt.Sprintf("%s is no pattern", quote(pattern)), "a [ is not closed, or a \\ is last")
		}
		if ok {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil, f.problem("no node matches "+quote(pattern), suggest(pattern, f.nodes.names))
	}
	return found, nil
}

// members gives the nodes of a group.
func (f *File) members(group string) ([]string, Problems) {
	if group == "all" {
		return slices.Clone(f.nodes.names), nil
	}
	g, ok := f.groups.find(group)
	if !ok {
		return nil, f.problem("there is no group "+quote(group), suggest(group, append([]string{"all"}, f.groups.names...)))
	}
	var found []string
	for _, name := range f.nodes.names {
		if slices.Contains(f.nodes.sections[name].layers, g.keys) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil, Problems{{Origin: g.origin, Reason: fmt.Sprintf("no node is in the group %s", group)}}
	}
	return found, nil
}
