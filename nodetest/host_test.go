package nodetest

import (
	"strings"
	"testing"

	"example.org/conc/jobs"
)

// verdict writes a result in a line: its status, what was wanted and found, and
// why it could not be looked at.
func verdict(r Result) string {
	s := string(r.Status)
	for i := range r.Want {
		s += " " + r.Want[i] + ": " + r.Got[i]
	}
	if r.Text != "" {
		s += " " + r.Text
	}
	return s
}

// verdicts compares what each line comes to with what it should: a want that ends
// in "..." is but its beginning.
func verdicts(t *testing.T, result func(t *testing.T, line string) Result, wants [][2]string) {
	t.Helper()
	for _, w := range wants {
		r := result(t, w[0])
		got := verdict(r)
		start, cut := strings.CutSuffix(w[1], "...")
		if got != w[1] && !(cut && strings.HasPrefix(got, start)) {
			t.Errorf("%s:\n got %s\nwant %s", w[0], got, w[1])
		}
	}
}

// looked makes the checks of lines on this host.
func looked(env *jobs.Env) func(t *testing.T, line string) Result {
	return func(t *testing.T, line string) Result { t.Helper(); return look(t, env, line) }
}

// check parses a line to a check.
func check(t *testing.T, line string) Check {
	t.Helper()
	spec := parsed(t, Stock(), "it", line)
	e, _ := Stock().Lookup(spec.kind())
	c, err := e.Parse(spec.Words[1:])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLinesThatAreRefused(t *testing.T) {
	for line, want := range map[string]string{
		"mount":                         "it needs a path",
		"mount / used":                  "used needs a value",
		"mount / used 101%%":            "used 101%: not a percentage from 0% to 100%",
		"mount / used lots":             "used lots: not a size",
		"mount / absent type ext4":      "absent stands alone",
		"mount / option rw":             `unknown property "option"; did you mean "options"`,
		"disk /":                        "it needs a property",
		"disk / free =10G free":         "free needs a value",
		"disk / inodes-free 1G":         "not a number",
		"process":                       "it needs the name of a program, or *",
		"process x args (":              "not a regular expression",
		"process x absent count 0":      "absent goes with neither running nor count",
		"process x user a user b":       "user may be named once",
		"service -x":                    "not the name of a unit",
		"service --user":                "it needs a unit",
		"service a*":                    "not the name of a unit",
		"service a absent active":       "absent stands alone",
		"package -x":                    "not the name of a package",
		"package 'a b'":                 "not the name of a package",
		"package a* ":                   "not the name of a package",
		"package a version >=":          "not a version",
		"package a version '1 2'":       "not a version",
		"package a with pacman":         "not one of dpkg, rpm and apk",
		"package a absent version 1":    "absent stands alone",
		"package a installed absent":    "absent",
		"user -x":                       "not the name of an account",
		"user a:b":                      "not the name of an account",
		"user x uid -1":                 "not a number",
		"user x groups a,,b":            "not the name of an account",
		"group x gid y":                 "not a number",
		"interface lo address 1.2.3":    "not an address",
		"interface lo mac xx":           "not a hardware address",
		"env A=B":                       "not the name of a variable",
		"env A unset value x":           "unset stands alone",
		"sysctl ../../etc/passwd":       "not the name of a parameter",
		"sysctl net..ipv4":              "not the name of a parameter",
		"sysctl a/../../b":              "not the name of a parameter",
		"sysctl vm.swappiness value >x": "not a number",
		"module ../x":                   "not the name of a module",
		"module x param a":              "not NAME=VALUE",
		"module x param ../a=1":         "not NAME=VALUE",
		"module x param a>b":            "not a number",
		"load":                          "it needs a property",
		"load 2m <1":                    "unknown property",
		"memory":                        "it needs a property",
		"memory total 10%%":             "not a size",
	} {
		_, err := plan(t, "[node:web1]\n[nodetest:s]\nit = "+line+"\n", "s")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}

func TestASecretMayStandForASubject(t *testing.T) {
	for _, line := range []string{"user", "group", "service", "package", "sysctl", "module", "process", "mount", "interface", "env"} {
		if _, err := plan(t, "[node:web1]\npw = secret:key\n[nodetest:s]\nit = "+line+" %(pw)s\n", "s"); err != nil {
			t.Errorf("%s: got %v, want a plan", line, err)
		}
	}
}

func TestEveryExampleIsALine(t *testing.T) {
	for _, e := range Stock() {
		line := strings.NewReplacer("%(version)s", "1", "%(venv)s", "venv", "%(http.port)s", "8080", "%(node:db1:sshd.ip)s", "192.0.2.7").Replace(e.Example)
		if _, err := plan(t, "[node:web1]\n[nodetest:s]\nit = "+line+"\n", "s"); err != nil {
			t.Errorf("%s: %q: %v", e.Name, e.Example, err)
		}
		if e.Args == "" || e.Summary == "" || e.Help == "" {
			t.Errorf("%s: it is not documented", e.Name)
		}
	}
}
