package nodetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"example.org/conc/jobs"
)

// module is the check of a module of the kernel.
type module struct {
	name  string // with underscores
	wants []want
}

var moduleProperties = grammar{flags: []string{"loaded", "absent"}, values: map[string]func(string) error{"param": isParameter}}

func moduleEntry() Entry {
	return Entry{
		Name:    "module",
		Args:    "NAME [loaded|absent] [param NAME=VALUE]...",
		Summary: "a module of the kernel: that it is loaded, and with which parameters",
		Help: `In names a hyphen is as good as an underscore. With no property the module has to be
loaded, or built into the kernel. absent wants neither.

param is a parameter of the module, as it is now: =VALUE compares the text, where Y
and 1, N and 0 are the same; an operator compares a number: ip_pkt_list_tot>=35.

Many parameters may be read by root only: then it is ERROR, try sudo. SKIPPED where
there is neither /proc/modules nor /sys/module, which are Linux's.`,
		Example: "sudo module xt_recent param ip_pkt_list_tot=35",
		Parse: func(args []string) (Check, error) {
			name, rest, err := subject(args, "the name of a module")
			if err != nil {
				return nil, err
			}
			if err := judged(name, isModule); err != nil {
				return nil, err
			}
			wants, err := moduleProperties.read(rest)
			if err != nil {
				return nil, err
			}
			return module{underscored(name), wants}, absentAlone(wants)
		},
	}
}

var (
	moduleName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_-]+$`) })
	parameter  = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^([A-Za-z0-9_.-]*[A-Za-z0-9_-])\s*(<=|>=|<|>|=)(.*)$`)
	})
)

func isModule(s string) error {
	if !moduleName().MatchString(s) {
		return errors.New("not the name of a module")
	}
	return nil
}

func isParameter(s string) error {
	m := parameter().FindStringSubmatch(s)
	if m == nil {
		return errors.New("not NAME=VALUE")
	}
	if m[2] == "=" {
		return nil
	}
	return isBound(plainNumber)(m[2] + m[3])
}

func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Look looks in what the kernel tells of its modules.
func (c module) Look(ctx context.Context, _ *jobs.Env) ([]Finding, error) {
	if err := linuxOnly("modules are listed in /proc/modules and /sys/module"); err != nil {
		return nil, err
	}
	list, noList, err := readSystem("/proc/modules")
	if err != nil {
		return nil, unreadable(err)
	}
	if _, err := os.Stat("/sys/module"); err != nil && noList {
		return nil, Skipf("there is neither /proc/modules nor /sys/module here")
	}
	state, there := moduleState(list, c.name)
	if !there {
		// One that is built in has a directory only when there is something to tell
		// of it; the kernel's own list is with its modules.
		dir := filepath.Join("/sys/module", c.name)
		_, noDir := os.Stat(dir)
		_, noState := os.Stat(filepath.Join(dir, "initstate"))
		if noDir == nil && noState != nil || builtin(c.name) {
			state, there = "built in", true
		}
	}
	up := state == "built in" || state == "live"
	if there && !up && !(len(c.wants) == 1 && c.wants[0].property == "absent") {
		return []Finding{{Want: "module " + c.name + " loaded", Got: state}}, nil
	}
	findings, settled := presence(c.wants, "module "+c.name, there, state)
	if settled {
		return findings, nil
	}
	for _, w := range c.wants {
		if w.property != "param" {
			continue
		}
		f, err := awaited(ctx, func() (Finding, error) { return c.param(w) })
		if err != nil {
			return nil, unreadable(err)
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// moduleState finds a module in /proc/modules: NAME SIZE USERS USED-BY STATE ADDRESS.
func moduleState(list []byte, name string) (state string, there bool) {
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) > 0 && underscored(f[0]) == name {
			if len(f) < 5 {
				return "live", true
			}
			return strings.ToLower(f[4]), true
		}
	}
	return "", false
}

// builtin looks a module up in the list of those that are part of the running
// kernel: lines such as kernel/net/ipv4/tcp_cubic.ko.
func builtin(name string) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	list, _, err := readSystem(filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]), "modules.builtin"))
	return err == nil && isListed(list, name)
}

func isListed(list []byte, name string) bool {
	for line := range strings.Lines(string(list)) {
		base, ok := strings.CutSuffix(filepath.Base(strings.TrimSpace(line)), ".ko")
		if ok && underscored(base) == name {
			return true
		}
	}
	return false
}

func (c module) param(w want) (Finding, error) {
	m := parameter().FindStringSubmatch(w.value)
	if m == nil {
		return Finding{}, errors.New("not NAME=VALUE")
	}
	text, gone, err := readSystem(filepath.Join("/sys/module", c.name, "parameters", underscored(m[1])))
	if err != nil {
		return Finding{}, err
	}
	if gone {
		return Finding{Want: "param " + w.value, Got: "the module shows no such parameter"}, nil
	}
	have := strings.TrimSpace(string(text))
	return found(paramIs(m[2], m[3], have), "param", w.value, m[1]+"="+have), nil
}

// paramIs compares a parameter with what is wanted of it.
func paramIs(op, want, have string) bool {
	if op != "=" {
		return setTo(op+want, have)
	}
	if want == have {
		return true
	}
	switch strings.ToLower(want) {
	case "1", "y":
		return have == "Y" || have == "1"
	case "0", "n":
		return have == "N" || have == "0"
	}
	return setTo("="+want, have)
}
