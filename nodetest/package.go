package nodetest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"example.org/conc/jobs"
)

// installed is the check of a package.
type installed struct {
	name    string
	manager string // "" is the host's own
	wants   []want // absent, or versions
}

var packageProperties = grammar{flags: []string{"installed", "absent"}, values: map[string]func(string) error{
	"version": isVersionBound, "with": isPackager,
}}

func packageEntry() Entry {
	return Entry{
		Name:    "package",
		Args:    "NAME [installed|absent] [version BOUND]... [with dpkg|rpm|apk]",
		Summary: "a package: that it is installed, and which version",
		Help: `The package manager of the host is asked: dpkg-query, rpm or apk. Where there are
several, it is the system's own, or the one that with names. With no property the
package has to be installed. One that is unpacked, but not set up, is not, nor one of
which only the configuration is left.

version is a version with an operator: >=1.22, <2, =1.22.1-9. It is compared as the
package manager does it. What a BOUND leaves out is not compared: the epoch, as in
1:9.2, and the revision of the distribution, as in 9.2-2. Named several times, all
have to hold; where several versions are installed, for one of them.

SKIPPED where there is none of the three. ERROR when it does not answer.`,
		Example: "package nginx version >=1.22 version <2",
		Goss:    "package",
		Parse:   parsePackage,
	}
}

var (
	packageName   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9+._:~-]*$`) })
	versionNumber = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._:~^-]*$`) })
)

func isPackage(s string) error {
	if !packageName().MatchString(s) {
		return errors.New("not the name of a package")
	}
	return nil
}

func isPackager(s string) error {
	for _, p := range packagers {
		if p.name == s {
			return nil
		}
	}
	return errors.New("not one of dpkg, rpm and apk")
}

func isVersionBound(s string) error {
	_, version := splitVersion(s)
	if !versionNumber().MatchString(version) {
		return errors.New("not a version with an operator, such as >=1.22")
	}
	return nil
}

// splitVersion takes the operator off; it is "=" where there is none.
func splitVersion(s string) (op, version string) {
	for _, op := range operators {
		if rest, ok := strings.CutPrefix(s, op); ok {
			return op, strings.TrimSpace(rest)
		}
	}
	return "=", s
}

func parsePackage(args []string) (Check, error) {
	name, rest, err := subject(args, "the name of a package")
	if err != nil {
		return nil, err
	}
	if err := judged(name, isPackage); err != nil {
		return nil, err
	}
	wants, err := packageProperties.read(rest)
	if err != nil {
		return nil, err
	}
	c := installed{name: name}
	for _, w := range wants {
		switch w.property {
		case "with":
			c.manager = w.value
		case "version", "absent":
			c.wants = append(c.wants, w)
		}
	}
	for _, w := range wants {
		if w.property == "installed" && len(c.wants) > 0 && c.wants[0].property == "absent" {
			return nil, errors.New("a package is installed, or absent")
		}
	}
	return c, absentAlone(c.wants)
}

// Look asks the package manager.
func (c installed) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	p, path, ok := choosePackager(c.manager)
	switch {
	case !ok && c.manager != "":
		return nil, Skipf("there is no %s on this host", c.manager)
	case !ok:
		return nil, Skipf("there is no dpkg, rpm or apk on this host")
	}
	r, err := askProgram(ctx, env, append([]string{path}, p.query(c.name)...)...)
	if err != nil {
		return nil, err
	}
	versions, other, err := p.read(c.name, r)
	if err != nil {
		return nil, err
	}
	findings, settled := presence(c.wants, "package "+c.name, len(versions) > 0, "installed, version "+strings.Join(versions, ", "))
	if settled {
		if len(versions) == 0 && len(other) > 0 {
			findings[0].Got = "not installed: " + strings.Join(other, ", ")
		}
		return findings, nil
	}
	return c.judge(findings, versions, func(a, b string) (int, error) { return p.compare(ctx, env, a, b) })
}

// judge looks for an installed version for which all bounds hold.
func (c installed) judge(findings []Finding, versions []string, compare func(a, b string) (int, error)) ([]Finding, error) {
	best, most := []Finding(nil), -1
	for _, v := range versions {
		var these []Finding
		held := 0
		for _, w := range c.wants {
			op, limit := splitVersion(w.value)
			n, err := compare(sameParts(v, limit), limit)
			if err != nil {
				return nil, fmt.Errorf("version %s: %w", v, err)
			}
			ok := bound{op: op}.holds(float64(n))
			if ok {
				held++
			}
			these = append(these, found(ok, "version", op+limit, strings.Join(versions, ", ")))
		}
		if held > most {
			best, most = these, held
		}
	}
	return append(findings, best...), nil
}

// sameParts leaves out of a version what the limit does not name.
func sameParts(version, limit string) string {
	if !strings.Contains(limit, ":") {
		if _, rest, ok := strings.Cut(version, ":"); ok {
			version = rest
		}
	}
	if i := strings.LastIndexByte(version, '-'); i > 0 && !strings.Contains(limit, "-") {
		version = version[:i]
	}
	return version
}
