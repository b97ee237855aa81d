package config

import "slices"

// entry is one key with its value, as written.
type entry struct {
	key    string // lower case
	raw    string
	parts  []part
	late   bool // something in it is substituted
	origin Origin
}

// layer is the keys of one section, or of another source of values.
type layer struct {
	keys map[string]*entry
	late []string // the keys of entries that are late, in the order of the lines
}

// add puts an entry into the layer, in the place of one with its key.
func (l *layer) add(e *entry) {
	if l.keys == nil {
		l.keys = map[string]*entry{}
	}
	l.keys[e.key] = e
	if e.late {
		l.late = append(l.late, e.key)
	}
}

// section is one section of the file. A list has lines; all others have keys.
type section struct {
	kind, name string
	origin     Origin
	keys       *layer
	lines      []Line
	layers     []*layer // of a node: where its values come from; the first that has a key wins
}

// find gives the entry that wins for a key of a node.
func (s *section) find(key string) (*entry, bool) {
	for _, l := range s.layers {
		if e, ok := l.keys[key]; ok {
			return e, true
		}
	}
	return nil, false
}

// keyNames lists every key that a node has, sorted.
func (s *section) keyNames() []string {
	var names []string
	for _, l := range s.layers {
		for k := range l.keys {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// lateKeys lists the keys of a node whose winning entries are late, sorted.
func (s *section) lateKeys() []string {
	var names []string
	for _, l := range s.layers {
		for _, k := range l.late {
			if e, _ := s.find(k); e == l.keys[k] {
				names = append(names, k)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
