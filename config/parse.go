package config

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// parser makes a File and gathers what is wrong with it.
type parser struct {
	file     *File
	problems Problems
	warnings Problems
	told     map[int]bool        // the lines in problems
	typos    map[string][]string // what typo said of a key; a fleet has few
}

// refuse complains about a line of the file; 0 is the file as a whole.
func (p *parser) refuse(line int, reason, hint string) {
	p.complain(Origin{File: p.file.Path, Line: line}, Problem{Reason: reason, Hint: hint})
}

// complain keeps a complaint, one for each line: what is wrong first is what to
// mend first.
func (p *parser) complain(at Origin, problem Problem) {
	if at.Line > 0 {
		if p.told[at.Line] {
			return
		}
		p.told[at.Line] = true
	}
	problem.Origin = at
	p.problems = append(p.problems, problem)
}

// enough says that nobody will read more complaints: looking for them, and for
// near names, stops.
func (p *parser) enough() bool { return len(p.problems) > maxProblems }

func (p *parser) parse(data []byte, opts Options) {
	data, line, reason := text(data)
	if reason != "" {
		p.refuse(line, reason, "")
		return
	}
	sections, rest := p.index(data)
	whole := len(p.problems) == 0 // nothing is missing, so that a name that is not there was never written
	if err := values(sections, bytes.Clone(rest)); err != nil {
		p.refuse(0, "the file is not understood: "+printable(err.Error()), "")
		return
	}
	p.setLayer(opts.Set)
	p.file.builtIns, p.file.defaults = builtInLayer(), &layer{}
	first := map[string]int{} // line of a section, by its title in lower case
	for _, s := range sections {
		if s.kind == "" {
			continue
		}
		if line, ok := first[strings.ToLower(s.title)]; ok {
			p.refuse(s.line, fmt.Sprintf("%s repeats the section opened at line %d", title(s.title, ""), line), "")
			continue
		}
		first[strings.ToLower(s.title)] = s.line
		p.section(s)
	}
	if len(p.file.nodes.names) == 0 && whole {
		p.refuse(0, "no nodes defined", "add a section [node:NAME]")
	}
	p.link()
	if whole {
		p.checkLate()
		p.checkJumps()
	}
}

// section takes over a section of the index.
func (p *parser) section(in *indexed) {
	s := &section{kind: in.kind, name: in.name, origin: Origin{File: p.file.Path, Line: in.line, Section: in.title}, keys: &layer{}}
	first := map[string]int{} // line of a key, in lower case
	for _, k := range in.keys {
		at := Origin{File: p.file.Path, Line: k.line, Section: in.title}
		folded := strings.ToLower(k.name)
		if line, ok := first[folded]; ok {
			p.complain(at, Problem{Reason: fmt.Sprintf("%s is already at line %d, in %s", quote(k.name), line, title(in.title, ""))})
			continue
		}
		first[folded] = k.line
		if in.isList() {
			p.line(s, k, at)
			continue
		}
		value, problem := plain(k.value)
		if problem != nil {
			p.complain(at, named(folded, *problem))
		}
		p.entry(s.keys, folded, value, at)
	}
	switch in.kind {
	case kindDefault:
		p.file.defaults = s.keys
	case kindGroup:
		p.file.groups.add(s)
	case kindNode:
		s.keys.add(&entry{key: "name", raw: s.name, parts: []part{{text: s.name}}, origin: Origin{Section: builtInName}})
		p.file.nodes.add(s)
	case kindJobs:
		p.file.lists.add(s)
	case kindSuite:
		p.file.suites.add(s)
	}
	if in.isList() && len(in.keys) == 0 {
		p.warnings = append(p.warnings, Problem{Origin: s.origin, Reason: title(in.title, "") + " has no lines"})
	}
}

// line adds a line to a list.
func (p *parser) line(s *section, k indexedKey, at Origin) {
	words, problem := shellWords(k.value)
	if problem == nil && len(words) == 0 {
		problem = &Problem{Reason: "nothing after the ="}
	}
	for _, w := range words {
		if problem == nil && s.kind != kindRehearse { // where nothing is substituted
			_, problem = split(w)
		}
	}
	if problem != nil {
		p.complain(at, named(k.name, *problem))
		return
	}
	if s.kind == kindRehearse {
		if problem := p.file.rehearse.line(k.name, words); problem != nil {
			p.complain(at, *problem)
		}
		return
	}
	s.lines = append(s.lines, Line{Name: k.name, Words: words, Origin: at})
}

// entry checks a key with its value as far as it can be without its node, and
// adds it to a layer.
func (p *parser) entry(l *layer, key, value string, at Origin) {
	e := &entry{key: key, raw: value, origin: at}
	var problem *Problem
	switch {
	case key == "name":
		problem = &Problem{Reason: "name cannot be set", Hint: "a node's name is in its section's title"}
	case key == "groups" && (at.File == "" || strings.HasPrefix(at.Section, kindGroup)):
		problem = &Problem{Reason: "groups cannot be set here", Hint: "it belongs in a [node:NAME] section or in [DEFAULT]"}
	case len(p.typo(key)) > 0:
		problem = &Problem{Reason: fmt.Sprintf("unknown key %s in %s", quote(key), title(at.Section, "")), Hint: "did you mean " + list(p.typo(key), " or ") + "?"}
		if at.File == "" {
			problem.Reason = "unknown key " + quote(key)
		}
	case key == "sshd.ip" && isZoned(value):
		e.parts = []part{{text: value}} // its "%" starts a zone
	default:
		if e.parts, problem = split(value); problem != nil {
			*problem = named(key, *problem)
		}
	}
	if problem == nil {
		if e.late = isLate(e.parts); !e.late {
			problem = check(e, literal(e.parts))
		}
	}
	if key != "name" {
		l.add(e) // a refused one too, so that a reference to it is not refused as well
	}
	if problem != nil {
		p.complain(at, *problem)
		return
	}
	if passwordKey().MatchString(key) && !e.late && value != "" && !strings.HasPrefix(value, secretPrefix) {
		p.warnings = append(p.warnings, Problem{Origin: at, Reason: key + ": this looks like a password, in the open", Hint: "write " + key + " = secret:NAME, and conc asks for it when it is needed"})
	}
}

// passwordKey tells the keys whose values look like no one else's business.
var passwordKey = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(^|[._-])(password|passwd|pwd|passphrase|secret|token|credentials?|(api|secret|access|private)[._-]?key)$`)
})

// isZoned tells an IPv6 address with a zone. In it a per cent sign means what
// it does everywhere else but here.
func isZoned(s string) bool { return strings.Count(s, "%") == 1 && isIP(s) }

func isLate(parts []part) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.ref != "" })
}

// literal is the value of parts that have no reference.
func literal(parts []part) string {
	s := ""
	for _, p := range parts {
		s += p.text
	}
	return s
}

// named puts a key before the reason.
func named(key string, problem Problem) Problem {
	problem.Reason = printable(key) + ": " + problem.Reason
	return problem
}

// typo is the function typo, asked once for each key.
func (p *parser) typo(key string) []string {
	meant, ok := p.typos[key]
	if !ok {
		meant = typo(key)
		p.typos[key] = meant
	}
	return meant
}

// setLayer reads what --set gives. Of two values for a key the last is meant,
// as with any flag.
func (p *parser) setLayer(args []string) {
	p.file.set = &layer{}
	for _, arg := range args {
		at := Origin{Section: commandLine}
		key, value, found := strings.Cut(arg, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		switch {
		case !found:
			p.complain(at, Problem{Reason: quote(arg) + " has no =", Hint: "write --set KEY=VALUE"})
		case !isKey(key):
			p.complain(at, Problem{Reason: quote(key) + " is no name for a key"})
		case !utf8.ValidString(value):
			p.complain(at, Problem{Reason: key + ": the value is not UTF-8"})
		case control(value) != "":
			p.complain(at, Problem{Reason: key + ": " + control(value)})
		case len(value) > maxValue:
			p.complain(at, Problem{Reason: fmt.Sprintf("%s: the value is longer than %d KiB", key, maxValue>>10)})
		default:
			p.entry(p.file.set, key, value, at)
		}
	}
}
