package nodetest

import (
	"context"
	"os"
	"slices"
	"strings"

	"example.org/conc/jobs"
)

// packager is a package manager: how it is asked.
type packager struct {
	name    string
	program string
	systems []string // whose own it is: words of ID and ID_LIKE in /etc/os-release

	// query gives the arguments that ask for a package, read what its reply says:
	// the versions that are installed, or in which state it is otherwise.
	query func(name string) []string
	read  func(name string, r reply) (installed, other []string, err error)

	// compare compares two versions: -1, 0 or 1.
	compare func(ctx context.Context, env *jobs.Env, a, b string) (int, error)
}

var packagers = []packager{
	{
		name: "dpkg", program: "dpkg-query", systems: []string{"debian", "ubuntu"},
		query: func(name string) []string {
			return []string{"--show", `--showformat=${Status}\t${Version}\n`, name}
		},
		read: readDpkg, compare: compareDpkg,
	},
	{
		name: "rpm", program: "rpm", systems: []string{"fedora", "rhel", "centos", "suse", "opensuse", "amzn"},
		query: func(name string) []string {
			return []string{"--query", "--queryformat", `%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n`, name}
		},
		read:    readRPM,
		compare: func(_ context.Context, _ *jobs.Env, a, b string) (int, error) { return compareRPM(a, b), nil },
	},
	{
		name: "apk", program: "apk", systems: []string{"alpine"},
		query: func(name string) []string { return []string{"info", "--installed", "--verbose", name} },
		read:  readApk, compare: compareApk,
	},
}

// choosePackager finds the package manager of this host: the one called name, or,
// where that is "", the one that its system has for its own, or the first that
// is there.
func choosePackager(name string) (p packager, path string, ok bool) {
	order := slices.Clone(packagers)
	release, _ := os.ReadFile("/etc/os-release") // where there is none, the order is as good
	like := systemLike(string(release))
	own := func(p packager) bool {
		return slices.ContainsFunc(p.systems, func(s string) bool { return slices.Contains(like, s) })
	}
	slices.SortStableFunc(order, func(a, b packager) int {
		switch {
		case own(a) && !own(b):
			return -1
		case own(b) && !own(a):
			return 1
		}
		return 0
	})
	for _, p := range order {
		if name != "" && p.name != name {
			continue
		}
		if path, ok := program(p.program); ok {
			return p, path, true
		}
	}
	return packager{}, "", false
}

// systemLike gives the words of ID and ID_LIKE in an os-release file.
func systemLike(text string) []string {
	var words []string
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "ID" || key == "ID_LIKE" {
			words = append(words, strings.Fields(strings.Trim(value, `"'`))...)
		}
	}
	return words
}

// readDpkg reads lines "WANT FLAG STATE\tVERSION", one for each architecture.
func readDpkg(_ string, r reply) (installed, other []string, err error) {
	if r.exit > 1 {
		return nil, nil, r.refused("dpkg-query")
	}
	for line := range strings.Lines(r.stdout) {
		status, version, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		words := strings.Fields(status)
		switch {
		case len(words) != 3 || words[2] == "not-installed":
		case words[2] == "installed":
			installed = append(installed, version)
		default:
			other = append(other, words[2])
		}
	}
	if r.exit == 1 && len(installed)+len(other) == 0 && !strings.Contains(r.stderr, "no packages found") {
		return nil, nil, r.refused("dpkg-query")
	}
	return installed, other, nil
}

// readRPM reads lines of versions. Of a database that it cannot read rpm says that
// the package is not installed, too.
func readRPM(name string, r reply) (installed, other []string, err error) {
	if r.exit != 0 {
		if strings.TrimSpace(r.stdout) == "package "+name+" is not installed" && !strings.Contains(r.stderr, "error:") {
			return nil, nil, nil
		}
		return nil, nil, r.refused("rpm")
	}
	return strings.Fields(r.stdout), nil, nil
}

// readApk reads lines NAME-VERSION.
func readApk(name string, r reply) (installed, other []string, err error) {
	for line := range strings.Lines(r.stdout) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), name+"-"); ok {
			installed = append(installed, version)
		} else if line = strings.TrimSpace(line); line != "" {
			other = append(other, "provided by "+line)
		}
	}
	if len(installed)+len(other) == 0 && r.exit != 0 && r.stderr != "nothing" {
		return nil, nil, r.refused("apk")
	}
	return installed, other, nil
}

func compareDpkg(ctx context.Context, env *jobs.Env, a, b string) (int, error) {
	dpkg, ok := program("dpkg")
	if !ok {
		return 0, jobs.Errorf("there is no dpkg, which compares versions")
	}
	for _, try := range []struct {
		relation string
		order    int
	}{{"lt", -1}, {"eq", 0}} {
		r, err := askProgram(ctx, env, dpkg, "--compare-versions", a, try.relation, b)
		switch {
		case err != nil:
			return 0, err
		case r.exit == 0:
			return try.order, nil
		case r.exit > 1:
			return 0, r.refused("dpkg --compare-versions")
		}
	}
	return 1, nil
}

func compareApk(ctx context.Context, env *jobs.Env, a, b string) (int, error) {
	apk, ok := program("apk")
	if !ok {
		return 0, jobs.Errorf("there is no apk, which compares versions")
	}
	r, err := askProgram(ctx, env, apk, "version", "--test", a, b)
	if err != nil {
		return 0, err
	}
	order, ok := map[string]int{"<": -1, "=": 0, ">": 1}[strings.TrimSpace(r.stdout)]
	if !ok {
		return 0, r.refused("apk version --test")
	}
	return order, nil
}
