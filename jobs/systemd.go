package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"example.org/conc/config"
)

// Systemd has systemctl do something to units.
type Systemd struct {
	Action string
	Units  []string
	User   bool // the account's own service manager
}

// What systemd may be told, and which of it leaves the units active.
var (
	systemdActions = []string{
		"start", "stop", "restart", "reload", "reload-or-restart", "enable", "disable",
		"is-active", "is-enabled", "reset-failed", "daemon-reload",
	}
	systemdStarts = []string{"start", "restart", "reload", "reload-or-restart"}
)

func systemdEntry() Entry {
	return Entry{
		Name:    "systemd",
		Args:    "[--user] ACTION [UNIT...]",
		Summary: "have systemctl start, stop, restart, reload or enable units",
		Help: `ACTION is start, stop, restart, reload, reload-or-restart, enable, disable,
is-active, is-enabled, reset-failed or daemon-reload; the last one takes no unit.
It mostly needs root, so write sudo before it. After a start, a restart or a
reload the units must be active, or, when they are of the type oneshot, have
ended well: otherwise FAILED.

FAILED when systemctl says no. ERROR when the host does not run systemd.`,
		Example: "remote sudo systemd restart shop",
		Parse:   parseSystemd,
	}
}

func parseSystemd(args []string) (Op, error) {
	var s Systemd
	if len(args) > 0 && args[0] == "--user" {
		s.User, args = true, args[1:]
	}
	if len(args) == 0 {
		return nil, errors.New("it needs an action")
	}
	s.Action, s.Units = args[0], args[1:]
	return s, nil
}

// Validate checks action and units.
func (s Systemd) Validate() error {
	if !slices.Contains(systemdActions, s.Action) {
		hint := config.DidYouMean(config.Mask(s.Action), systemdActions)
		if hint == "" {
			hint = "there is " + strings.Join(systemdActions, ", ")
		}
		return fmt.Errorf("unknown action %q; %s", config.Mask(s.Action), hint)
	}
	if alone := s.Action == "daemon-reload"; alone && len(s.Units) > 0 {
		return errors.New("daemon-reload takes no unit")
	} else if !alone && len(s.Units) == 0 {
		return fmt.Errorf("%s needs a unit", s.Action)
	}
	for _, u := range s.Units {
		if u == "" || strings.HasPrefix(u, "-") {
			return fmt.Errorf("%q is not the name of a unit", config.Mask(u))
		}
	}
	return nil
}

func (s Systemd) args(words ...string) []string {
	args := []string{"systemctl"}
	if s.User {
		args = append(args, "--user")
	}
	return append(args, words...)
}

// Do tells systemctl, and looks whether what was started is active.
func (s Systemd) Do(ctx context.Context, env *Env) error {
	if _, err := exec.LookPath("systemctl"); err != nil {
		return Errorf("there is no systemctl: this host does not run systemd")
	}
	args := s.args("--no-ask-password", "--no-pager", s.Action)
	if err := env.Run(ctx, Cmd{Args: append(args, s.Units...)}); err != nil {
		if _, gone := os.Stat("/run/systemd/system"); gone != nil && !s.User && ctx.Err() == nil {
			return Errorf("systemd is not running on this host: %w", err)
		}
		return err
	}
	if !slices.Contains(systemdStarts, s.Action) {
		return nil
	}
	return s.await(ctx, env)
}

// settleFor is how long a unit may be on its way up after systemctl returned:
// it only returns before a unit is up when that unit was restarted by itself.
const settleFor = 5 * time.Second

func (s Systemd) await(ctx context.Context, env *Env) error {
	end := time.Now().Add(settleFor)
	for _, unit := range s.Units {
		for {
			p, err := s.show(ctx, env, unit)
			if err != nil {
				return err
			}
			state := p["ActiveState"]
			if state == "active" || p["Type"] == "oneshot" && state == "inactive" && p["Result"] == "success" {
				break
			}
			if state != "activating" && state != "reloading" || time.Now().After(end) {
				return Failedf("%s is %s (%s) after %s", unit, state, p["Result"], s.Action).
					WithHint("on that host: systemctl status %s; journalctl -u %s", quote(unit), quote(unit))
			}
			t := time.NewTimer(pollFirst)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return cut(ctx, "%s is %s", unit, state)
			}
		}
	}
	return nil
}

func (s Systemd) show(ctx context.Context, env *Env, unit string) (map[string]string, error) {
	var out bytes.Buffer
	args := s.args("show", "--no-pager", "-p", "ActiveState", "-p", "Result", "-p", "Type", unit)
	if err := env.Run(ctx, Cmd{Args: args, Stdout: &out}); err != nil {
		return nil, fmt.Errorf("systemctl show %s: %w", unit, err)
	}
	p := map[string]string{}
	for line := range strings.Lines(out.String()) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		p[key] = value
	}
	return p, nil
}

// Verify looks at the units' state, as far as the action is about that.
func (s Systemd) Verify(ctx context.Context, env *Env) error {
	for _, unit := range s.Units {
		p, err := s.show(ctx, env, unit)
		if err != nil {
			return err
		}
		switch state := p["ActiveState"]; {
		case slices.Contains(systemdStarts, s.Action) && state != "active" && p["Type"] != "oneshot",
			s.Action == "stop" && state == "active":
			return fmt.Errorf("%s is %s", unit, state)
		}
	}
	return nil
}

// ByHand is the systemctl command.
func (s Systemd) ByHand(*config.Node) []string {
	return []string{quote(append(s.args(s.Action), s.Units...)...)}
}

// Repeatable: systemctl may be told the same thing twice.
func (s Systemd) Repeatable() {}

// Inert marks that no later step needs a file that it makes.
func (s Systemd) Inert() {}
