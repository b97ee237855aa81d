package nodetest

import (
	"os"
	"path/filepath"
	"testing"
)

// stub puts a program, a script for sh, in a PATH that holds nothing else of the
// kind.
func stub(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// onlyStubs makes PATH a new directory.
func onlyStubs(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("PATH", dir)
	return dir
}

// A systemctl that answers as the real one does.
const systemctl = `
[ "$LC_ALL" = C ] || exit 9
user=
while :; do case $1 in --no-pager) shift;; --user) user=1; shift;; *) break;; esac; done
verb=$1; for unit; do :; done
say() { printf 'LoadState=%s\nActiveState=%s\nSubState=%s\n' "$@"; }
case $verb:$user$unit in
show:nginx|show:1nginx) say loaded active running;;
show:setup) say loaded active exited;;
show:down) say loaded inactive dead;;
show:broken) say loaded failed failed;;
show:slow) say loaded activating start-pre;;
show:again) say loaded reloading reload;;
show:hidden) say masked inactive dead;;
show:backup.timer) say loaded active waiting;;
show:odd) echo garbage;;
show:sick) echo 'no answer from the bus' >&2; exit 1;;
show:*) say not-found inactive dead;;
is-enabled:nginx) echo enabled;;
is-enabled:setup) echo static;;
is-enabled:down) echo disabled; exit 1;;
is-enabled:hidden) echo masked; exit 1;;
is-enabled:broken) echo 'Failed to get unit file state' >&2; exit 1;;
*) exit 8;;
esac
`

func TestServices(t *testing.T) {
	stub(t, onlyStubs(t), "systemctl", systemctl)
	wants := [][2]string{
		{"service nginx", "OK"},
		{"service nginx active running enabled state active state running exists", "OK"},
		{"service --user nginx running", "OK"},
		{"service nginx stopped", "FAILED nginx stopped: active (running)"},
		{"service nginx disabled", "FAILED nginx disabled: enabled"},
		{"service nginx masked", "FAILED nginx masked: loaded"},
		{"service nginx absent", "FAILED unit nginx absent: loaded, active (running)"},
		{"service setup active enabled", "OK"},
		{"service setup running", "FAILED setup running: active (exited)"},
		{"service setup state exited", "OK"},
		{"service down", "FAILED down active: inactive (dead)"},
		{"service down stopped disabled", "OK"},
		{"service down running enabled", "FAILED down running: inactive (dead) down enabled: disabled"},
		{"service broken stopped state failed", "OK"},
		{"service broken active", "FAILED broken active: failed (failed)"},
		{"service broken enabled", "ERROR systemctl is-enabled broken: exit 1: Failed to get unit file state"},
		{"service slow active stopped", "FAILED slow active: activating (start-pre) slow stopped: activating (start-pre)"},
		{"service again active", "OK"},
		{"service hidden masked disabled stopped", "OK"},
		{"service backup.timer state waiting", "OK"},
		{"service ghost", "FAILED unit ghost: not there"},
		{"service ghost enabled", "FAILED unit ghost: not there"},
		{"service ghost absent", "OK"},
	}
	verdicts(t, looked(here(t)), wants)
	// One that gives no answer tells that there is no systemd, or that it is ill.
	odd, sick := "SKIPPED systemd is not running on this host", "SKIPPED systemd is not running on this host"
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		odd, sick = "ERROR systemctl show odd: exit 0: nothing", "ERROR systemctl show sick: exit 1: no answer from the bus"
	}
	verdicts(t, looked(here(t)), [][2]string{{"service odd", odd}, {"service sick", sick}})
}

func TestServicesWithoutSystemd(t *testing.T) {
	onlyStubs(t)
	verdicts(t, looked(here(t)), [][2]string{{"service nginx running", "SKIPPED there is no systemctl: this host does not run systemd"}})
}

func TestServicesOfThisHost(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		if r := look(t, here(t), "service nginx"); r.Status != Skipped {
			t.Errorf("got %s, want SKIPPED", verdict(r))
		}
		return
	}
	verdicts(t, looked(here(t)), [][2]string{
		{"service init.scope active", "OK"},
		{"service conc-no-such-unit absent", "OK"},
		{"service conc-no-such-unit", "FAILED unit conc-no-such-unit: not there"},
	})
}
