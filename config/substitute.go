package config

import (
	"fmt"
	"strings"
)

// maxValue bounds what one value may become by substitution, in bytes: a few
// lines that each name the one before ten times would fill the memory.
const maxValue = 64 << 10

// part is a piece of a value: text as it stands, or, when ref is set, the name
// of what is substituted for it.
type part struct{ text, ref string }

// split cuts s into its parts. The Problem has no origin yet.
func split(s string) ([]part, *Problem) {
	var parts []part
	text := func(t string) {
		if n := len(parts); n > 0 && parts[n-1].ref == "" {
			parts[n-1].text += t
		} else if t != "" {
			parts = append(parts, part{text: t})
		}
	}
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			text(s)
			return parts, nil
		}
		text(s[:i])
		s = s[i+1:]
		switch {
		case strings.HasPrefix(s, "%"):
			text("%")
			s = s[1:]
		case strings.HasPrefix(s, "("):
			end := strings.IndexByte(s, ')')
			if end < 0 || !strings.HasPrefix(s[end+1:], "s") {
				return nil, &Problem{Reason: `a "%(" that does not end in )s`, Hint: "write %(key)s to substitute a key, %% for a per cent sign"}
			}
			ref := refName(s[1:end])
			if ref == "" {
				return nil, &Problem{Reason: "%()s names no key"}
			}
			parts = append(parts, part{ref: ref})
			s = s[end+2:]
		default:
			return nil, &Problem{Reason: `a "%" that starts no %(key)s`, Hint: "write %% for a per cent sign"}
		}
	}
}

// refName gives a reference in its one form: keys are lower case, the names of
// nodes as they are.
func refName(s string) string {
	if node, key, ok := otherNode(s); ok {
		return nodePrefix + node + ":" + strings.ToLower(key)
	}
	return strings.ToLower(s)
}

const nodePrefix = "node:"

// otherNode takes node:NAME:KEY apart.
func otherNode(ref string) (node, key string, ok bool) {
	rest, ok := strings.CutPrefix(ref, nodePrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// join puts parts together; value gives what a reference stands for. The
// Problem that is not value's own has no origin yet.
func join(parts []part, value func(ref string) (string, *Problem)) (string, *Problem) {
	if len(parts) == 1 && parts[0].ref == "" {
		return parts[0].text, nil
	}
	var b strings.Builder
	for _, p := range parts {
		s := p.text
		if p.ref != "" {
			var problem *Problem
			if s, problem = value(p.ref); problem != nil {
				return "", problem
			}
		}
		if b.Len()+len(s) > maxValue {
			return "", &Problem{Reason: fmt.Sprintf("becomes longer than %d KiB by substitution", maxValue>>10)}
		}
		b.WriteString(s)
	}
	return b.String(), nil
}
