package nodetest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/jobs"
)

func TestParseMountinfo(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []mountPoint
	}{
		{
			"plain", "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n",
			[]mountPoint{{"/", "ext4", "/dev/vda", []string{"rw", "relatime"}, []string{"rw", "discard"}}},
		},
		{
			"no optional field, and several", "1 2 0:1 / /a rw - proc proc rw\n1 2 0:1 / /b rw shared:1 master:2 propagate_from:3 unbindable - proc proc rw\n",
			[]mountPoint{{"/a", "proc", "proc", []string{"rw"}, []string{"rw"}}, {"/b", "proc", "proc", []string{"rw"}, []string{"rw"}}},
		},
		{
			"escapes", `1 2 0:1 / /a\040b\011\012\134040\043 rw - fuse.x s\040r:/\134 rw,x=\054` + "\n",
			[]mountPoint{{"/a b\t\n\\040#", "fuse.x", `s r:/\`, []string{"rw"}, []string{"rw", "x=,"}}},
		},
		{
			"a point like the separator", `1 2 0:1 / - rw - - - -` + "\n",
			[]mountPoint{{"-", "-", "-", []string{"rw"}, []string{"-"}}},
		},
		{
			"an empty source", "1 2 0:1 / /a rw - tmpfs  rw\n",
			[]mountPoint{{"/a", "tmpfs", "", []string{"rw"}, []string{"rw"}}},
		},
		{
			"no end of the line", "1 2 0:1 / /a rw - tmpfs x rw",
			[]mountPoint{{"/a", "tmpfs", "x", []string{"rw"}, []string{"rw"}}},
		},
		{"cut", "1 2 0:1 / /a rw shared:1 - tmpfs x", nil},
		{"no separator", "1 2 0:1 / /a rw shared:1 a b c d e", nil},
		{"nothing", "\n\n", nil},
		{"half an escape", `1 2 0:1 / /a\04 rw - x \777 \0` + "\n", []mountPoint{{`/a\04`, "x", `\777`, []string{"rw"}, []string{`\0`}}}},
	} {
		if d := cmp.Diff(tt.want, parseMountinfo([]byte(tt.text)), cmp.AllowUnexported(mountPoint{})); d != "" {
			t.Errorf("%s: want -, got +:\n%s", tt.name, d)
		}
	}
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add([]byte("27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n"))
	f.Add([]byte(`1 2 0:1 / /a\040b rw - - \04 -` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, lines := len(parseMountinfo(text)), bytes.Count(text, []byte("\n"))+1; got > lines {
			t.Errorf("got %d mounts of %d lines", got, lines)
		}
	})
}

func TestMounts(t *testing.T) {
	const table = "1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro\n" +
		"2 1 8:2 / /srv rw,noexec - ext4 /dev/sdb1 rw\n" +
		"3 1 8:3 / /srv rw,nosuid - xfs /dev/sdc1 ro,size=4k\n" +
		"4 1 0:9 / /mnt/a\\040b ro - nfs4 files:/export rw,vers=4.2\n"
	mounts := parseMountinfo([]byte(table))
	verdicts(t, func(t *testing.T, line string) Result {
		c := check(t, line).(mount)
		path := filepath.Clean(c.path)
		m, there := mountedAt(mounts, path)
		findings, err := c.judge(t.Context(), path, m, there, mountAbove(mounts, path))
		return Result{}.fill(here(t), findings, err)
	}, [][2]string{
		{"mount /", "OK"},
		{"mount / exists type ext4 source /dev/sda1 options rw,relatime super-options rw,errors=remount-ro without ro,noexec", "OK"},
		{"mount /srv/ type xfs", "OK"}, // the last one counts
		{"mount /srv type ext4", "FAILED type ext4: type xfs"},
		{"mount /srv options rw", "FAILED options rw: options nosuid,ro,size=4k"},
		{"mount /srv options ro,nosuid", "OK"},
		{"mount /srv options ro,noexec", "FAILED options ro,noexec: options nosuid,ro,size=4k..."},
		{"mount /srv super-options rw", "FAILED super-options rw: super-options ro,size=4k"},
		{"mount /srv without nosuid", "FAILED without nosuid: options nosuid,ro,size=4k"},
		{"mount '/mnt/a b' source files:/export options ro", "OK"},
		{"mount '/mnt/a b' options rw", "FAILED options rw: options ro,vers=4.2"},
		{"mount /srv/x", "FAILED a mount at /srv/x: not a mount point: it is a part of /srv"},
		{"mount /srvx absent", "OK"},
		{"mount /srv absent", "FAILED a mount at /srv absent: /dev/sdc1 of type xfs"},
	})
}

func TestMountsOfThisHost(t *testing.T) {
	env := here(t)
	if runtime.GOOS != "linux" {
		if r := look(t, env, "mount /"); r.Status != Skipped {
			t.Errorf("got %s, want SKIPPED", verdict(r))
		}
		return
	}
	if err := os.Symlink("/proc", filepath.Join(env.Home, "l")); err != nil {
		t.Fatal(err)
	}
	verdicts(t, looked(env), [][2]string{
		{"mount /proc type proc", "OK"},
		{"mount l type proc", "OK"}, // a link to it
		{"mount .", "FAILED a mount at " + env.Home + ": not a mount point: it is a part of /..."},
		{"mount /proc used <90%%", "ERROR the filesystem of /proc has no size"},
	})
}

func TestVolumes(t *testing.T) {
	const g = 1 << 30
	v := volume{path: "/srv", size: 100 * g, used: 60.5 * g, free: 34.5 * g, inodes: 1000, takenInodes: 901, freeInodes: 99}
	flexible := volume{path: "/btrfs", size: g, free: g}
	judge := func(v volume) func(t *testing.T, line string) Result {
		return func(t *testing.T, line string) Result {
			f, err := v.judge(check(t, line).(disk).wants[0])
			return Result{}.fill(here(t), []Finding{f}, err)
		}
	}
	verdicts(t, judge(v), [][2]string{
		{"disk /srv free >=30%%", "OK"},
		{"disk /srv free 36%%", "OK"}, // 36.3: what df calls 64% used
		{"disk /srv free >=37%%", "FAILED free >=37%: free 34.5 GiB of 95.0 GiB (36%)"},
		{"disk /srv free >34GiB", "OK"},
		{"disk /srv free 35G", "FAILED free >=35G: free 34.5 GiB of 95.0 GiB (36%)"},
		{"disk /srv used <=64%%", "OK"},
		{"disk /srv used <64%%", "FAILED used <64%: used 60.5 GiB of 95.0 GiB (64%)"},
		{"disk /srv used 60.5G", "OK"},
		{"disk /srv size >=100G", "OK"},
		{"disk /srv size 101G", "FAILED size >=101G: size 100.0 GiB"},
		{"disk /srv inodes-free >=9%%", "OK"},
		{"disk /srv inodes-free >=10%%", "FAILED inodes-free >=10%: inodes-free 99 of 1000 (9%)"},
		{"disk /srv inodes-free 99", "OK"},
		{"disk /srv inodes-used 900", "FAILED inodes-used <=900: inodes-used 901 of 1000 (91%)"},
	})
	verdicts(t, judge(flexible), [][2]string{
		{"disk / inodes-free >=10%%", "OK"},
		{"disk / inodes-free >=1000000", "OK"},
		{"disk / inodes-used <5%%", "OK"},
		{"disk / inodes-used =5", "FAILED inodes-used =5: inodes-used no limit"},
	})
	if got := used(0.1*3, 0.3*1, showSize).percent; got != 100 {
		t.Errorf("got %v%%, want 100%%: the division adds nothing", got)
	}
	if got := free(1, 0, showSize).percent; got != 0 || math.IsNaN(got) {
		t.Errorf("got %v%% of nothing, want 0", got)
	}
}

func TestDisksOfThisHost(t *testing.T) {
	env := here(t)
	verdicts(t, looked(env), [][2]string{
		{"disk . free >0 used >=0 size >0 inodes-free >=0", "OK"},
		{"disk . free >100T", "FAILED free >100T: free ..."},
		{"disk no/such free 1%%", "FAILED a filesystem at " + env.Home + "/no/such: nothing there"},
	})
}

// TestACheckThatHangsInTheKernel has something that never ends in the place of a
// statfs whose file server is gone.
func TestACheckThatHangsInTheKernel(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	defer close(hang)
	c := Catalogue{kind("hang", false, func(ctx context.Context, _ *jobs.Env) ([]Finding, error) {
		return awaited(ctx, func() ([]Finding, error) { <-hang; return nil, nil })
	})}
	begun := time.Now()
	r := c.once(t.Context(), here(t), Spec{N: 1, Timeout: 20 * time.Millisecond, Words: []string{"hang"}})
	if r.Status != jobs.TimedOut || time.Since(begun) > time.Minute {
		t.Errorf("got %s after %v, want TIMED OUT at once", verdict(r), time.Since(begun))
	}
	if _, err := awaited(t.Context(), func() (int, error) { panic("oh") }); err == nil || !strings.Contains(err.Error(), "oh") {
		t.Errorf("got %v, want the panic", err)
	}
	if _, err := awaited(t.Context(), func() (int, error) { return 0, errors.New("x") }); err == nil {
		t.Error("got no error")
	}
}
