package nodetest

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"example.org/conc/jobs"
)

// environ is the check of an environment variable.
type environ struct {
	name  string
	wants []want
}

var environProperties = grammar{flags: []string{"set", "unset"}, values: map[string]func(string) error{
	"value": nil, contains: nil, lacks: nil, matches: isPattern,
}}

func environEntry() Entry {
	return Entry{
		Name:    "env",
		Args:    "NAME [set|unset] [value TEXT] [contains TEXT] [lacks TEXT] [matches REGEXP]",
		Summary: "an environment variable of a session on the node",
		Help: `It is the environment that sshd gives to a program that is run without a login, and
that the agent's jobs see; with sudo, the one that sudo leaves. What a login shell
reads, such as ~/.profile, is not in it.

With no property the variable has to be set; it may be empty. value is all of it.
contains, lacks and matches are as for file. What is found is shown when it is not
as wanted, so do not look at variables that hold secrets.`,
		Example: "env LANG matches '[.](UTF-8|utf8)$'",
		Parse: func(args []string) (Check, error) {
			name, rest, err := subject(args, "the name of a variable")
			if err != nil {
				return nil, err
			}
			if strings.Contains(name, "=") {
				return nil, errors.New("not the name of a variable")
			}
			wants, err := environProperties.read(rest)
			if err != nil {
				return nil, err
			}
			for _, w := range wants {
				if w.property == "unset" && len(wants) > 1 {
					return nil, errors.New("unset stands alone")
				}
			}
			return environ{name, wants}, nil
		},
	}
}

// Look looks at the environment of this process.
func (c environ) Look(context.Context, *jobs.Env) ([]Finding, error) {
	value, set := os.LookupEnv(c.name)
	got := "not set"
	if set {
		got = "set to " + strconv.Quote(value)
	}
	if len(c.wants) == 1 && c.wants[0].property == "unset" {
		return []Finding{{OK: !set, Want: c.name + " unset", Got: got}}, nil
	}
	findings := []Finding{{OK: set, Want: c.name + " set", Got: got}}
	if !set {
		return findings, nil
	}
	for _, w := range c.wants {
		switch w.property {
		case "set":
		case "value":
			findings = append(findings, found(value == w.value, w.property, strconv.Quote(w.value), strconv.Quote(value)))
		default:
			findings = append(findings, onText("", w, []byte(value)))
		}
	}
	return findings, nil
}
