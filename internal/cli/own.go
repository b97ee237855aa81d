package cli

import (
	"fmt"
	"path"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// concModule is the module of the stock program, and of all that it is made of.
const concModule = "example.org/conc"

// ownMain tells whether the program's main package is not conc's own.
func ownMain(info *debug.BuildInfo) bool {
	return info != nil && info.Main.Path != "" && info.Main.Path != concModule
}

// name is what the program is called in its messages, and typed as: App.Name, or
// the name that go build gives to a program of somebody's own.
func (p *program) name() string {
	if p.app.Name != "" {
		return p.app.Name
	}
	if !ownMain(p.env.Build) {
		return bundle.Stock
	}
	pkg := p.env.Build.Path
	if !strings.HasPrefix(pkg, p.env.Build.Main.Path) {
		pkg = p.env.Build.Main.Path // it was built of named files
	}
	if majorVersion().MatchString(path.Base(pkg)) {
		pkg = path.Dir(pkg)
	}
	return path.Base(pkg)
}

var majorVersion = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^v[0-9]+$`) })

// identity is what owner records and journals have of the program.
func (p *program) identity() *bundle.Program {
	id := &bundle.Program{Name: p.name(), Release: p.app.Release}
	if p.env.Build == nil {
		return id
	}
	for _, s := range p.env.Build.Settings {
		switch s.Key {
		case "vcs.revision":
			id.Revision = s.Value
		case "vcs.modified":
			id.Modified = s.Value == "true"
		}
	}
	if id.Release == "" && ownMain(p.env.Build) {
		id.Release = taggedRelease(p.env.Build.Main.Version)
	}
	return id
}

// pseudo is the end of a version that go has made of a commit that has no tag.
var pseudo = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[-.]\d{14}-[0-9a-f]{12}$`) })

// taggedRelease gives the release that a main module's version names: its tag. "" where
// there was none; then the commit says what it is.
func taggedRelease(version string) string {
	version, _, _ = strings.Cut(version, "+dirty")
	if version == "(devel)" || pseudo().MatchString(version) {
		return ""
	}
	return version
}

// opNames is what can be written in a line of deploy.ini.
var opNames = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`) })

// faults says what of an application's own cannot be: it is wrong in the program,
// whatever is typed.
func (a App) faults() error {
	wrong := func(format string, args ...any) error {
		return jobs.Errorf("the program cannot be used: %s", fmt.Sprintf(format, args...)).
			WithHint("it is to be mended where conc.Main is called")
	}
	if strings.ContainsAny(a.Name, " \t\n/") {
		return wrong("App.Name %q is not one word", a.Name)
	}
	judge := func(what, field, name string, parses bool, err error, taken map[string]string) error {
		switch {
		case err != nil:
			return wrong("the %s %q: %v", what, name, err)
		case !opNames().MatchString(name) || name == "sudo":
			return wrong("%s has the name %q: a name is a letter, and then letters, digits, _ . or -", field, name)
		case taken[name] != "":
			return wrong("the %s %q is in %s, and %s", what, name, field, taken[name])
		case !parses:
			return wrong("the %s %q has no Parse", what, name)
		}
		taken[name] = "once more"
		return nil
	}
	const stock = "comes with conc"
	ops := map[string]string{nodetest.Stock().Op().Name: stock}
	for _, e := range jobs.Stock() {
		ops[e.Name] = stock
	}
	for _, e := range a.Ops {
		if err := judge("op", "App.Ops", e.Name, e.Parse != nil, e.Err, ops); err != nil {
			return err
		}
	}
	checks := map[string]string{}
	for _, e := range nodetest.Stock() {
		checks[e.Name] = stock
	}
	for _, e := range a.Checks {
		if err := judge("check", "App.Checks", e.Name, e.Parse != nil, e.Err, checks); err != nil {
			return err
		}
	}
	for name := range a.Lists {
		if name == "" || strings.TrimSpace(name) != name {
			return wrong("App.Lists has a list %q", name)
		}
	}
	return nil
}

// twice says which job lists are in deploy.ini and in the program: nil, or
// config.Problems.
func (a App) twice(f *config.File) error {
	var problems config.Problems
	for _, name := range f.ListNames() {
		if _, ok := a.Lists[name]; !ok {
			continue
		}
		at := config.Origin{Section: f.Path}
		if lines, err := f.List(name); err == nil && len(lines) > 0 {
			at = lines[0].Origin
		}
		problems = append(problems, config.Problem{
			Origin: at, Reason: fmt.Sprintf("the job list %q is in this file and in the program", name), Hint: "rename one of them",
		})
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}
