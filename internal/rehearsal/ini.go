package rehearsal

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// fileName is what a deploy.ini is called on a stage.
const fileName = "deploy.ini"

// Rewrite gives a deploy.ini in which attributes of one node, and of no other,
// have other values: written as they stand there.
func Rewrite(ini []byte, node string, attrs map[string]string) ([]byte, error) {
	lines := strings.Split(strings.TrimPrefix(string(ini), "\ufeff"), "\n")
	title, end := -1, len(lines)
	for i, l := range lines {
		name, ok := sectionTitle(l)
		switch {
		case ok && title < 0 && name == "node:"+node:
			title = i
		case ok && title >= 0:
			end = i
		}
		if end < len(lines) {
			break
		}
	}
	if title < 0 {
		return nil, fmt.Errorf("%s has no line [node:%s]", fileName, node)
	}
	section := slices.DeleteFunc(slices.Clone(lines[title+1:end]), func(l string) bool {
		key, _, ok := strings.Cut(l, "=")
		_, replaced := attrs[strings.ToLower(strings.TrimSpace(key))]
		return ok && replaced
	})
	var further []string
	for _, key := range slices.Sorted(maps.Keys(attrs)) {
		further = append(further, key+" = "+attrs[key])
	}
	return []byte(strings.Join(slices.Concat(lines[:title+1], further, section, lines[end:]), "\n")), nil
}

// sectionTitle reads a line "[TITLE]".
func sectionTitle(line string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), "[")
	if !ok {
		return "", false
	}
	name, _, ok := strings.Cut(rest, "]")
	return strings.TrimSpace(name), ok
}
