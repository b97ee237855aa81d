package nodetest

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"example.org/conc/jobs"
)

// service is the check of a unit of systemd.
type service struct {
	unit  string
	user  bool // of the account's own service manager
	wants []want
}

var serviceProperties = grammar{
	flags:  []string{"exists", "absent", "active", "running", "stopped", "enabled", "disabled", "masked"},
	values: map[string]func(string) error{"state": nil},
}

func serviceEntry() Entry {
	return Entry{
		Name:    "service",
		Args:    "[--user] UNIT [exists|absent] [active|running|stopped] [state STATE] [enabled|disabled] [masked]",
		Summary: "a systemd unit: that it runs, and starts at boot",
		Help: `UNIT is a service, or with its suffix another unit: nginx, backup.timer. With no
property it has to be active. --user asks the account's own service manager.

active is what systemctl is-active calls so: a unit that has done its work and
counts as up is, too. running wants that it has a process: it is active and its
sub-state is running. stopped is neither active nor on its way there or from
there; a unit that has failed is stopped. state is one of systemd's words, active,
inactive, failed, activating, or a sub-state: exited, waiting, listening. enabled is
what systemctl is-enabled ends well for, static units among them; disabled is the
opposite. masked units cannot be started. A unit that systemd does not know is
FAILED, and absent.

SKIPPED on a host that does not run systemd. ERROR when systemctl does not answer.`,
		Example: "service nginx running enabled",
		Goss:    "service (systemd)",
		Parse:   parseService,
	}
}

func parseService(args []string) (Check, error) {
	var c service
	if len(args) > 0 && args[0] == "--user" {
		c.user, args = true, args[1:]
	}
	unit, rest, err := subject(args, "a unit")
	if err != nil {
		return nil, err
	}
	if err := judged(unit, isUnit); err != nil {
		return nil, err
	}
	c.unit = unit
	if c.wants, err = serviceProperties.read(rest); err != nil {
		return nil, err
	}
	if len(c.wants) == 0 {
		c.wants = []want{{property: "active"}}
	}
	return c, absentAlone(c.wants)
}

func isUnit(s string) error {
	if strings.HasPrefix(s, "-") || strings.ContainsAny(s, "*?[ \t\n/") {
		return errors.New("not the name of a unit")
	}
	return nil
}

// Look asks systemctl.
func (c service) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	systemctl, ok := program("systemctl")
	if !ok {
		return nil, Skipf("there is no systemctl: this host does not run systemd")
	}
	words := []string{systemctl, "--no-pager"}
	if c.user {
		words = append(words, "--user")
	}
	r, err := askProgram(ctx, env, append(words, "show", "--property=LoadState,ActiveState,SubState", c.unit)...)
	if err != nil {
		return nil, err
	}
	unit := unitProperties(r.stdout)
	if r.exit != 0 || unit["LoadState"] == "" {
		if _, err := os.Stat("/run/systemd/system"); err != nil && ctx.Err() == nil {
			return nil, Skipf("systemd is not running on this host")
		}
		return nil, r.refused("systemctl show " + c.unit)
	}
	enabled := ""
	if slices.ContainsFunc(c.wants, func(w want) bool { return w.property == "enabled" || w.property == "disabled" }) &&
		unit["LoadState"] != "not-found" {
		// It knows of init scripts, too, which show does not.
		r, err := askProgram(ctx, env, append(words, "is-enabled", c.unit)...)
		if err != nil {
			return nil, err
		}
		if enabled = strings.TrimSpace(r.stdout); enabled == "" {
			return nil, r.refused("systemctl is-enabled " + c.unit)
		}
		if r.exit == 0 {
			unit["Enabled"] = "yes"
		}
	}
	return c.judge(unit, enabled), nil
}

// unitProperties reads what systemctl show prints: KEY=VALUE lines.
func unitProperties(text string) map[string]string {
	p := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			p[key] = value
		}
	}
	return p
}

func (c service) judge(unit map[string]string, enabled string) []Finding {
	active, sub := unit["ActiveState"], unit["SubState"]
	state := active + " (" + sub + ")"
	findings, settled := presence(c.wants, "unit "+c.unit, unit["LoadState"] != "not-found", unit["LoadState"]+", "+state)
	if settled {
		return findings
	}
	up := active == "active" || active == "reloading" || active == "refreshing"
	for _, w := range c.wants {
		f := Finding{Want: c.unit + " " + w.property, Got: state}
		switch w.property {
		case "exists":
			continue
		case "active":
			f.OK = up
		case "running":
			f.OK = up && sub == "running"
		case "stopped":
			f.OK = active == "inactive" || active == "failed"
		case "state":
			f.OK, f.Want = active == w.value || sub == w.value, c.unit+" state "+w.value
		case "enabled":
			f.OK, f.Got = unit["Enabled"] == "yes", enabled
		case "disabled":
			f.OK, f.Got = unit["Enabled"] != "yes", enabled
		case "masked":
			f.OK, f.Got = unit["LoadState"] == "masked", unit["LoadState"]
		}
		findings = append(findings, f)
	}
	return findings
}
