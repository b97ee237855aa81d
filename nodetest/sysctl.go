package nodetest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"example.org/conc/jobs"
)

// sysctl is the check of a parameter of the kernel.
type sysctl struct {
	key   string
	wants []want
}

var sysctlProperties = grammar{flags: []string{"exists", "absent"}, values: map[string]func(string) error{
	"value": isSetting, contains: nil, lacks: nil, matches: isPattern,
}}

func sysctlEntry() Entry {
	return Entry{
		Name:    "sysctl",
		Args:    "KEY [exists|absent] [value VALUE] [contains TEXT] [lacks TEXT] [matches REGEXP]",
		Summary: "a parameter of the running kernel",
		Help: `KEY is as sysctl(8) has it, with dots or slashes: net.core.somaxconn,
net/ipv4/conf/eth0.100/rp_filter. It is read below /proc/sys. With no property it
has to be there.

value is the whole value, with one blank between its words: "4096 131072 6291456";
with an operator it is a number: >=1024. contains, lacks and matches are as for file.

A parameter that may not be read is ERROR: try sudo. SKIPPED where there is no
/proc/sys, which is Linux's.`,
		Example: "sysctl net.core.somaxconn value >=1024",
		Goss:    "kernel-param",
		Parse: func(args []string) (Check, error) {
			key, rest, err := subject(args, "the name of a parameter")
			if err != nil {
				return nil, err
			}
			if err := judged(key, isSysctl); err != nil {
				return nil, err
			}
			wants, err := sysctlProperties.read(rest)
			if err != nil {
				return nil, err
			}
			return sysctl{key, wants}, absentAlone(wants)
		},
	}
}

func isSysctl(key string) error {
	for part := range strings.SplitSeq(sysctlPath(key), "/") {
		if part == "" || part == "." || part == ".." {
			return errors.New("not the name of a parameter such as vm.swappiness")
		}
	}
	return nil
}

// sysctlPath gives the path below /proc/sys. Whichever of dot and slash is first
// separates; the other one is part of a name, where a dot stands for itself.
func sysctlPath(key string) string {
	i := strings.IndexAny(key, "./")
	if i < 0 || key[i] == '/' {
		return key
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, key)
}

// isSetting judges a value: any text, or an operator and a number.
func isSetting(s string) error {
	if !slices.ContainsFunc(operators, func(op string) bool { return strings.HasPrefix(s, op) }) {
		return nil
	}
	return isBound(plainNumber)(s)
}

// setTo tells whether a setting of the kernel is as wanted.
func setTo(want, have string) bool {
	for _, op := range operators {
		if strings.HasPrefix(want, op) {
			b, err := readBound(want, "=", plainNumber)
			v, bad := plainNumber(have)
			return err == nil && bad == nil && b.holds(v)
		}
	}
	return strings.Join(strings.Fields(want), " ") == have
}

// Look reads the parameter.
func (c sysctl) Look(ctx context.Context, _ *jobs.Env) ([]Finding, error) {
	const root = "/proc/sys"
	if err := linuxOnly("parameters of the kernel are read below " + root); err != nil {
		return nil, err
	}
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return nil, Skipf("there is no %s here", root)
	}
	type setting struct {
		text []byte
		gone bool
	}
	// Reading of a parameter may set the kernel to work.
	s, err := awaited(ctx, func() (setting, error) {
		text, gone, err := readSystem(filepath.Join(root, sysctlPath(c.key)))
		return setting{text, gone}, err
	})
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		s.gone = true
	case errors.Is(err, syscall.EISDIR):
		return nil, jobs.Errorf("%s is a group of parameters", c.key)
	case errors.Is(err, fs.ErrPermission):
		return nil, unreadable(err)
	case err != nil:
		return nil, jobs.Errorf("%w", err)
	}
	value := strings.Join(strings.Fields(string(s.text)), " ")
	findings, settled := presence(c.wants, "the parameter "+c.key, !s.gone, "there, with the value "+value)
	if settled {
		return findings, nil
	}
	for _, w := range c.wants {
		switch w.property {
		case "exists":
		case "value":
			findings = append(findings, found(setTo(w.value, value), w.property, w.value, value))
		default:
			findings = append(findings, onText("", w, s.text))
		}
	}
	return findings, nil
}
