package nodetest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"example.org/conc/jobs"
)

// account is the check of a user or a group.
type account struct {
	database string // passwd or groups
	name     string
	wants    []want
}

func userEntry() Entry {
	return Entry{
		Name:    "user",
		Args:    "NAME [exists|absent] [uid N] [gid N] [group GROUP] [home PATH] [shell PATH] [groups LIST]",
		Summary: "an account: its numbers, home, shell and groups",
		Help: `With no property the account has to be there. It is looked up with getent, which
knows of LDAP and its like, or in /etc/passwd where there is no getent.

uid and gid are numbers; group is the name, or the number, of the account's own
group. home and shell are compared as they are written. groups is names or numbers
with commas between them: the account has to be in each, its own group among them.

ERROR when getent, or for groups the program id, does not answer. SKIPPED on macOS.`,
		Example: "user shop uid 1200 home /srv/shop shell /usr/sbin/nologin groups shop,ssl-cert",
		Goss:    "user",
		Parse: parseAccount(passwd, "the name of a user", grammar{flags: []string{"exists", "absent"}, values: map[string]func(string) error{
			"uid": isID, "gid": isID, "group": isAccount, "home": nil, "shell": nil, "groups": isAccountList,
		}}),
	}
}

func groupEntry() Entry {
	return Entry{
		Name:    "group",
		Args:    "NAME [exists|absent] [gid N] [members LIST]",
		Summary: "a group: its number and its members",
		Help: `With no property the group has to be there. It is looked up as for user. members
is names with commas between them: each has to be in the group, be it because the
group's entry says so or because it is the account's own group.

ERROR when getent does not answer. SKIPPED on macOS.`,
		Example: "group ssl-cert members shop,postgres",
		Goss:    "group",
		Parse: parseAccount(groups, "the name of a group", grammar{flags: []string{"exists", "absent"}, values: map[string]func(string) error{
			"gid": isID, "members": isAccountList,
		}}),
	}
}

func isAccountList(s string) error {
	for name := range strings.SplitSeq(s, ",") {
		if err := isAccount(strings.TrimSpace(name)); err != nil {
			return err
		}
	}
	return nil
}

func parseAccount(database, what string, g grammar) func([]string) (Check, error) {
	return func(args []string) (Check, error) {
		name, rest, err := subject(args, what)
		if err != nil {
			return nil, err
		}
		if err := judged(name, isAccount); err != nil {
			return nil, err
		}
		wants, err := g.read(rest)
		if err != nil {
			return nil, err
		}
		return account{database, name, wants}, absentAlone(wants)
	}
}

// Look looks the account up.
func (c account) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	what := map[string]string{passwd: "user ", groups: "group "}[c.database] + c.name
	entry, there, err := namedEntry(ctx, env, c.database, c.name)
	if err != nil {
		return nil, err
	}
	as := "there"
	if there {
		as = "there, with number " + entry[2]
	}
	findings, settled := presence(c.wants, what, there, as)
	if settled {
		return findings, nil
	}
	for _, w := range c.wants {
		if w.property == "exists" {
			continue
		}
		f, err := c.property(ctx, env, entry, w)
		if err != nil {
			return nil, err
		}
		findings = append(findings, f)
	}
	return findings, nil
}

func (c account) property(ctx context.Context, env *jobs.Env, entry []string, w want) (Finding, error) {
	switch w.property {
	case "groups":
		return c.inGroups(ctx, env, w)
	case "members":
		return c.hasMembers(ctx, env, entry, w)
	case "group":
		f, err := c.inGroup(ctx, env, entry[3], w.value)
		return found(f, w.property, w.value, groupLabel(entry[3])), err
	}
	at := map[string]int{"uid": 2, "gid": 3, "home": 5, "shell": 6}
	if c.database == groups {
		at["gid"] = 2
	}
	got := entry[at[w.property]]
	if got == "" {
		got = "none"
	}
	ok := got == w.value
	if w.property == "uid" || w.property == "gid" {
		ok = strings.TrimLeft(w.value, "0") == strings.TrimLeft(got, "0")
	}
	return found(ok, w.property, w.value, got), nil
}

// inGroup tells whether gid is the number of a group, named or numbered.
func (c account) inGroup(ctx context.Context, env *jobs.Env, gid, group string) (bool, error) {
	id, there, err := accountID(ctx, env, groups, group)
	return there && fmt.Sprint(id) == gid, err
}

// inGroups asks id, which knows all groups of an account, the numbers of them:
// names may hold blanks.
func (c account) inGroups(ctx context.Context, env *jobs.Env, w want) (Finding, error) {
	id, ok := program("id")
	if !ok {
		return Finding{}, jobs.Errorf("there is no program id here")
	}
	r, err := askProgram(ctx, env, id, "-G", c.name)
	if err != nil {
		return Finding{}, err
	}
	if r.exit != 0 {
		return Finding{}, r.refused("id -G")
	}
	have := strings.Fields(r.stdout)
	all := true
	for group := range strings.SplitSeq(w.value, ",") {
		gid, there, err := accountID(ctx, env, groups, strings.TrimSpace(group))
		if err != nil {
			return Finding{}, err
		}
		all = all && there && slices.Contains(have, fmt.Sprint(gid))
	}
	for i, gid := range have {
		have[i] = groupLabel(gid)
	}
	return found(all, w.property, w.value, strings.Join(have, ",")), nil
}

func (c account) hasMembers(ctx context.Context, env *jobs.Env, entry []string, w want) (Finding, error) {
	members := strings.FieldsFunc(entry[3], func(r rune) bool { return r == ',' })
	all := true
	for name := range strings.SplitSeq(w.value, ",") {
		name = strings.TrimSpace(name)
		if slices.Contains(members, name) {
			continue
		}
		user, there, err := namedEntry(ctx, env, passwd, name)
		if err != nil {
			return Finding{}, err
		}
		if there && user[3] == entry[2] {
			members = append(members, name)
			continue
		}
		all = false
	}
	got := strings.Join(members, ",")
	if got == "" {
		got = "none"
	}
	return found(all, w.property, w.value, got), nil
}

// groupLabel names a group; its number where it has no name here.
func groupLabel(gid string) string {
	if name := groupName(gid); name != "" {
		return name
	}
	return gid
}
