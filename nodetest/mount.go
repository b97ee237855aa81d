package nodetest

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"example.org/conc/jobs"
)

// mount is the check of a mount point.
type mount struct {
	path  string
	wants []want
}

var mountProperties = grammar{flags: []string{"exists", "absent"}, values: map[string]func(string) error{
	"type": nil, "source": nil, "options": nil, "super-options": nil, "without": nil, "used": isAmount(sizeNumber),
}}

func mountEntry() Entry {
	return Entry{
		Name:    "mount",
		Args:    "PATH [exists|absent] [type FSTYPE] [source SOURCE] [options LIST] [super-options LIST] [without LIST] [used BOUND]",
		Summary: "a mount point: what is mounted there, and how full it is",
		Help: `With no property something has to be mounted at exactly this path, as the agent
sees it. A symbolic link is followed when nothing is mounted at its own path.

type is the filesystem's: ext4, nfs4, fuse.sshfs. source is what is mounted:
/dev/sda1, files:/export. A LIST is options with commas between them, each of
which has to be in force, or with without none of them: rw,noexec,size=4k. ro is
in force when the mount or its filesystem is read-only, rw when neither is.
super-options are those of the filesystem alone. used is how full it is, as df has
it, in percent or as a size, <90%%, <=20GiB; without an operator it is "at most". The
percent sign stands twice, as everywhere in deploy.ini.

A mount point whose file server does not answer is TIMED OUT when used is asked
for, and only then. SKIPPED where there is no /proc/self/mountinfo, which is
Linux's.`,
		Example: "mount /srv type ext4 options rw,noexec used <90%%",
		Goss:    "mount",
		Parse: func(args []string) (Check, error) {
			path, rest, err := subject(args, "a path")
			if err != nil {
				return nil, err
			}
			wants, err := mountProperties.read(rest)
			if err != nil {
				return nil, err
			}
			return mount{path, wants}, absentAlone(wants)
		},
	}
}

// Look looks in the table of mounts.
func (c mount) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	if err := linuxOnly("mount points are listed in /proc/self/mountinfo"); err != nil {
		return nil, err
	}
	text, gone, err := readSystem("/proc/self/mountinfo")
	if gone {
		return nil, Skipf("there is no /proc/self/mountinfo here")
	} else if err != nil {
		return nil, unreadable(err)
	}
	mounts := parseMountinfo(text)
	path := filepath.Clean(env.Path(c.path))
	m, there := mountedAt(mounts, path)
	if !there {
		real, err := awaited(ctx, func() (string, error) { return resolved(path), nil })
		if err != nil {
			return nil, err
		}
		if real != "" {
			m, there = mountedAt(mounts, real)
		}
	}
	return c.judge(ctx, path, m, there, mountAbove(mounts, path))
}

func (c mount) judge(ctx context.Context, path string, m mountPoint, there bool, above string) ([]Finding, error) {
	findings, settled := presence(c.wants, "a mount at "+path, there, fmt.Sprintf("%s of type %s", m.source, m.fstype))
	if settled {
		if !there && above != "" {
			findings[0].Got = "not a mount point: it is a part of " + above
		}
		return findings, nil
	}
	for _, w := range c.wants {
		var f Finding
		switch w.property {
		case "exists":
			continue
		case "type":
			f = found(m.fstype == w.value, w.property, w.value, m.fstype)
		case "source":
			f = found(m.source == w.value, w.property, w.value, m.source)
		case "options":
			f = listed(w, m.inForce(), true)
		case "super-options":
			f = listed(w, m.super, true)
		case "without":
			f = listed(w, m.inForce(), false)
			f.Got = "options " + strings.Join(m.inForce(), ",")
		case "used":
			v, err := awaited(ctx, func() (volume, error) { return statVolume(m.point) })
			if err != nil {
				return nil, unreadable(err)
			}
			if f, err = v.judge(w); err != nil {
				return nil, err
			}
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// listed judges whether all that a list names is there, or none of it.
func listed(w want, have []string, all bool) Finding {
	ok := true
	for v := range strings.SplitSeq(w.value, ",") {
		if v = strings.TrimSpace(v); v != "" && slices.Contains(have, v) != all {
			ok = false
		}
	}
	got := strings.Join(have, ",")
	if got == "" {
		got = "none"
	}
	return found(ok, w.property, w.value, got)
}
