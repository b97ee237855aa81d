package cli

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "example.org/conc"

// mayImport is the layout: which packages of ours each package may import.
// DESIGN.md has it as a table. nil: everything.
var mayImport = map[string][]string{
	".":                          {"internal/cli", "jobs", "nodetest"}, // an App is made of these packages' types
	"cmd/conc":                   {"."},
	"bench":                      {"internal/testnode"}, // it measures the program, from outside
	"config":                     {},
	"bundle":                     {},
	"jobs":                       {"config", "bundle"},
	"jobs/jobstest":              {"jobs", "config", "bundle"},             // cases for the ops, run on each host
	"runner":                     {"jobs", "config", "bundle", "nodetest"}, // an Event, and an Outcome, has a report of checks
	"nodetest":                   {"jobs", "config"},
	"internal/agent":             {"jobs", "config", "bundle"},
	"internal/sshconn":           {"config"},
	"internal/testnode":          {},
	"internal/testnode/sshdtest": {"internal/testnode"},
	"internal/rehearsal":         {"config", "bundle", "jobs", "internal/testnode"},
	// It tests a deploy program as its user has it, and reads what that leaves behind.
	"conctest":     {".", "internal/cli", "config", "bundle", "jobs", "runner", "internal/rehearsal", "internal/agent"},
	"internal/cli": nil,
	// An Event is made of these packages' types: who reads it names them. A report
	// of tests is nodetest's.
	"internal/ui": {"runner", "jobs", "config", "bundle", "nodetest"},
}

// badNames say nothing of what is in a package.
var badNames = []string{"util", "utils", "common", "types", "helpers", "helper", "misc", "pkg", "lib", "shared"}

func TestImportTable(t *testing.T) {
	seen := map[string]bool{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if rel != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules" || rel == "docs") {
				return filepath.SkipDir
			}
			// A module of its own, of an example say, sees what every project sees.
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && rel != "." {
				return filepath.SkipDir
			}
			if slices.Contains(badNames, name) {
				t.Errorf("%s: a package's name says what it is for", rel)
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(rel))
		seen[dir] = true
		checkImports(t, rel, path, dir)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range mayImport {
		if !seen[dir] {
			t.Errorf("the table has %s, and there is no such package", dir)
		}
	}
}

func checkImports(t *testing.T, rel, path, dir string) {
	table := dir
	if strings.HasPrefix(dir, "internal/cli/") {
		table = "internal/cli"
	}
	allowed, known := mayImport[table]
	if !known {
		t.Errorf("%s: package %s is not in the table", rel, dir)
		return
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(err)
			continue
		}
		ours, found := strings.CutPrefix(name, module+"/")
		if name == module {
			ours, found = ".", true
		}
		if found && allowed != nil && !slices.Contains(allowed, ours) {
			t.Errorf("%s imports %s, which the table does not allow", rel, ours)
		}
	}
}
