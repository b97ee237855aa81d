package nodetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.org/conc/jobs"
)

// running is the check of processes.
type running struct {
	name   string // "*" is any
	args   *regexp.Regexp
	user   string
	absent bool
	counts []want
}

var processProperties = grammar{flags: []string{"running", "absent"}, values: map[string]func(string) error{
	"user": nil, "args": isPattern, "count": isBound(plainNumber),
}}

func processEntry() Entry {
	return Entry{
		Name:    "process",
		Args:    "NAME [user USER] [args REGEXP] [running|absent|count BOUND]",
		Summary: "processes: that they run, as whom, and how many",
		Help: `NAME is the name of the program as ps -o comm has it; * is any. A name of more than
15 bytes, which the kernel cuts, is looked for in the command line as well.

user and args say which of them are meant: those that run as this account, a name
or a number, and those in whose command line, its words with one blank between
them, the REGEXP is found. At least one has to run, or, with absent, none; count is
how many, with an operator: >=2, =1. Processes that have ended and wait for
their parent do not count, nor does the agent that looks.

ERROR when /proc is mounted with hidepid, and so shows an account only processes of
its own: try sudo. SKIPPED where there is no /proc with processes, which is Linux's.`,
		Example: "process nginx user www-data count >=2",
		Goss:    "process",
		Parse:   parseProcess,
	}
}

func parseProcess(args []string) (Check, error) {
	name, rest, err := subject(args, "the name of a program, or *")
	if err != nil {
		return nil, err
	}
	wants, err := processProperties.read(rest)
	if err != nil {
		return nil, err
	}
	c := running{name: name}
	seen := map[string]bool{}
	for _, w := range wants {
		if seen[w.property] && w.property != "count" {
			return nil, fmt.Errorf("%s may be named once", w.property)
		}
		seen[w.property] = true
		switch w.property {
		case "user":
			c.user = w.value
		case "args":
			c.args, _ = regexp.Compile(w.value) // what a secret hides is compiled on the node
		case "count":
			c.counts = append(c.counts, w)
		case "absent":
			c.absent = true
		}
	}
	if c.absent && (seen["running"] || seen["count"]) {
		return nil, errors.New("absent goes with neither running nor count")
	}
	return c, nil
}

// Look looks through the processes.
func (c running) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	if err := linuxOnly("processes are looked up in /proc"); err != nil {
		return nil, err
	}
	if _, gone, _ := readSystem("/proc/self/stat"); gone {
		return nil, Skipf("there is no /proc with processes here")
	}
	if hidesProcesses() {
		return nil, jobs.Errorf("/proc is mounted with hidepid: it shows only processes of this account").WithHint("try it with the modifier sudo")
	}
	uid, known := uint32(0), true
	if c.user != "" {
		var err error
		if uid, known, err = accountID(ctx, env, passwd, c.user); err != nil {
			return nil, err
		}
	}
	// A process that hangs in the kernel may hang who reads of it.
	all, err := awaited(ctx, listProcesses)
	if err != nil {
		return nil, unreadable(err)
	}
	return c.judge(all, func(p process) bool { return c.user == "" || known && p.uid == uid })
}

// hidesProcesses tells whether this account does not see them all.
func hidesProcesses() bool {
	if os.Geteuid() == 0 {
		return false
	}
	text, _, _ := readSystem("/proc/self/mountinfo")
	m, _ := mountedAt(parseMountinfo(text), "/proc")
	for _, o := range m.super {
		if mode, ok := strings.CutPrefix(o, "hidepid="); ok {
			return !slices.Contains([]string{"0", "off"}, mode)
		}
	}
	return false
}

func (c running) judge(all []process, owned func(process) bool) ([]Finding, error) {
	var meant, others []process
	for _, p := range all {
		switch {
		case c.name != "*" && !p.called(c.name):
		case owned(p) && (c.args == nil || c.args.MatchString(strings.Join(p.args, " "))):
			meant = append(meant, p)
		case c.name != "*":
			others = append(others, p)
		}
	}
	got := told(meant)
	if len(meant) == 0 {
		got = "none"
		if len(others) > 0 {
			got += "; of that name, but not as wanted: " + told(others)
		}
	}
	what := c.what()
	if c.absent {
		return []Finding{{OK: len(meant) == 0, Want: what + " absent", Got: got}}, nil
	}
	if len(c.counts) == 0 {
		return []Finding{{OK: len(meant) > 0, Want: what, Got: got}}, nil
	}
	var findings []Finding
	for _, w := range c.counts {
		b, err := readBound(w.value, "=", plainNumber)
		if err != nil {
			return nil, err
		}
		findings = append(findings, Finding{OK: b.holds(float64(len(meant))), Want: what + " count " + w.value, Got: got})
	}
	return findings, nil
}

// what names the processes that are meant.
func (c running) what() string {
	s := "process " + c.name
	if c.user != "" {
		s += " user " + c.user
	}
	if c.args != nil {
		s += " args " + strconv.Quote(c.args.String())
	}
	return s
}

// maxTold is how many processes a finding names.
const maxTold = 5

// told tells of processes: how many, and who they are.
func told(ps []process) string {
	slices.SortFunc(ps, func(a, b process) int { return a.pid - b.pid })
	var names []string
	for _, p := range ps[:min(len(ps), maxTold)] {
		id := strconv.FormatUint(uint64(p.uid), 10)
		owner := userName(id)
		if owner == "" {
			owner = id
		}
		names = append(names, fmt.Sprintf("pid %d of %s", p.pid, owner))
	}
	if len(ps) > maxTold {
		names = append(names, "...")
	}
	return fmt.Sprintf("%d: %s", len(ps), strings.Join(names, ", "))
}
