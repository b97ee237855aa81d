package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"gopkg.in/ini.v1"
)

// gopkg.in/ini.v1 reads the file but has no line numbers, says nothing of
// duplicates, and gives up at its first error. So an index of our own goes over
// the lines first: it knows where each section and key is, and blanks the lines
// that cannot be right, whose complaints it keeps. What the two make of the
// rest must be the same, and it is checked that it is.

// maxSectionLines bounds a section: ini.v1 looks through all its keys for each
// further one.
const maxSectionLines = 1000

// indexed is a section as the index knows it.
type indexed struct {
	kind, name string // as parseTitle gives them; kind is "" for a title that is refused
	title      string
	line       int
	keys       []indexedKey
}

type indexedKey struct {
	name  string // as written
	value string // as ini.v1 has it: trimmed, with quotes and comment
	line  int
}

// index goes over the lines of text. It gives the sections and the text that is
// left for ini.v1.
func (p *parser) index(text []byte) (sections []*indexed, rest []byte) {
	var out bytes.Buffer
	var current *indexed
	for n := 1; len(text) > 0; n++ {
		var raw []byte
		raw, text, _ = bytes.Cut(text, []byte("\n"))
		line := string(bytes.TrimSuffix(raw, []byte("\r")))
		trimmed := strings.TrimFunc(line, unicode.IsSpace)
		switch {
		case control(line) != "":
			p.refuse(n, control(line), "")
		case trimmed == "" || strings.ContainsRune(";#", rune(trimmed[0])):
		case trimmed != strings.TrimRightFunc(line, unicode.IsSpace):
			p.refuse(n, "the line is indented", "start it at the margin; a value cannot go on over several lines")
		case trimmed[0] == '[':
			current = p.header(n, trimmed)
			sections = append(sections, current)
			fmt.Fprintf(&out, "[%s]", current.title)
		case current == nil:
			p.refuse(n, "a key before any section", "start with [DEFAULT], for what every node has")
		case len(current.keys) == maxSectionLines:
			p.refuse(n, fmt.Sprintf("more than %d lines in one section", maxSectionLines), "")
			current.keys = append(current.keys, indexedKey{}) // said once
		case len(current.keys) > maxSectionLines:
		case p.key(n, trimmed, current):
			out.WriteString(trimmed)
		}
		out.WriteByte('\n')
	}
	for _, s := range sections {
		s.keys = s.keys[:min(len(s.keys), maxSectionLines)]
	}
	return sections, out.Bytes()
}

// header reads "[title] ; comment".
func (p *parser) header(n int, line string) *indexed {
	title, after, closed := strings.Cut(line[1:], "]")
	after = strings.TrimLeft(after, " \t")
	s := &indexed{title: title, line: n}
	switch {
	case !closed:
		p.refuse(n, "the section's title has no ]", "")
	case after != "" && !strings.ContainsRune(";#", rune(after[0])):
		p.refuse(n, "text after the section's title: "+quote(after), "")
	default:
		var problem *Problem
		if s.kind, s.name, problem = parseTitle(title); problem == nil {
			return s
		}
		p.refuse(n, problem.Reason, problem.Hint)
	}
	s.kind, s.name = "", ""
	s.title = "refused" // its lines are still read, for what is wrong with them
	return s
}

// key reads "name = value" into its section, and tells whether ini.v1 may see it.
func (p *parser) key(n int, line string, s *indexed) bool {
	name, value, found := strings.Cut(line, "=")
	name, value = strings.TrimFunc(name, unicode.IsSpace), strings.TrimFunc(value, unicode.IsSpace)
	switch {
	case !found:
		p.refuse(n, fmt.Sprintf("%s is neither [section] nor key = value", quote(line)), "")
	case name == "":
		p.refuse(n, "no key before the =", "")
	case !s.isList() && !isKey(name):
		p.refuse(n, fmt.Sprintf("%s is no name for a key", quote(name)), `use letters, digits, ".", "_" and "-"`)
	case s.isList() && !isLineName(name):
		p.refuse(n, fmt.Sprintf("%s is no name for a line", quote(name)), "use a word or words that start with a letter")
	case strings.HasPrefix(value, "`"), strings.HasPrefix(value, `"""`):
		p.refuse(n, fmt.Sprintf("%s: a value cannot start with %s", name, value[:1]), "")
	default:
		s.keys = append(s.keys, indexedKey{name: name, line: n})
		return true
	}
	return false
}

// values has ini.v1 read the text, and gives the index its values.
func values(sections []*indexed, text []byte) error {
	f, err := ini.LoadSources(ini.LoadOptions{
		AllowNonUniqueSections:     true,
		AllowShadows:               true,
		AllowDuplicateShadowValues: true,
		IgnoreContinuation:         true,
		IgnoreInlineComment:        true, // ours knows quotes
		PreserveSurroundedQuote:    true,
		KeyValueDelimiters:         "=",
	}, text)
	if err != nil {
		return err
	}
	read := f.Sections()[1:] // the first is DEFAULT as it was before any line
	if len(read) != len(sections) {
		return fmt.Errorf("%d sections, not %d", len(read), len(sections))
	}
	for i, s := range sections {
		if got := read[i].Name(); got != s.title {
			return fmt.Errorf("line %d: section %q, not %q", s.line, got, s.title)
		}
		names := map[string]bool{}
		for j := range s.keys {
			k := &s.keys[j]
			if !read[i].HasKey(k.name) {
				return fmt.Errorf("line %d: no key %q", k.line, k.name)
			}
			k.value = read[i].Key(k.name).Value() // of a key's repetitions the first; they are refused
			names[k.name] = true
		}
		if got := len(read[i].KeyStrings()); got != len(names) {
			return fmt.Errorf("line %d: %d keys, not %d", s.line, got, len(names))
		}
	}
	return nil
}

// isList tells whether the section is made of lines to split into words. What
// is in a section that is refused is not known.
func (s *indexed) isList() bool {
	return s.kind == kindJobs || s.kind == kindSuite || s.kind == kindRehearse || s.kind == ""
}
