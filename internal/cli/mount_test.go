package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// needSSHFS skips a test where nothing can be mounted.
func needSSHFS(t *testing.T) {
	t.Helper()
	needSSH(t)
	if _, err := exec.LookPath("sshfs"); err != nil {
		t.Skip(err)
	}
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	_ = fuse.Close()
}

func (o *operator) unmountLater(dir string) {
	o.t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
}

// The bundle is seen from the workstation: on its other half here, or on a
// directory of conc's own, or on one that is named.
func TestMount(t *testing.T) {
	needSSHFS(t)
	o := sshOperator(t, "open = remote open_bundle\nfile = remote shell \"echo hello > $CONC_BUNDLE/file\"\n"+
		"stage = local open_bundle\nunstage = local close_bundle\nclose = remote close_bundle\n")
	own := t.TempDir()
	for _, c := range []struct {
		name string
		to   string // the step that the run is taken to before
		dir  string
		in   string // what the path must have in it
	}{
		{"conc's own", "file", "", "/mounts/web1-"},
		{"one that is named", "", own, own},
		{"the local bundle", "stage", "", "/bundles/web1-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			switch {
			case c.to == "file":
				o.want(0, "deploy", "web1", "--to", c.to)
			case c.to != "":
				o.want(0, "step", "web1", "--from", c.to, "--to", c.to)
			}
			args := []string{"mount", "web1"}
			if c.dir != "" {
				args = append(args, c.dir)
			}
			r := o.want(0, args...)
			dir := strings.TrimSuffix(r.out, "\n")
			o.unmountLater(dir)
			if !strings.Contains(dir, c.in) {
				t.Errorf("got the path %q, want one with %s", r.out, c.in)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "file")); string(text) != "hello\n" {
				t.Errorf("got %q, %v through the mount", text, err)
			}
			o.want(0, args...) // once more changes nothing
			if r := o.want(0, append(args, "--umount")...); r.out != dir+"\n" {
				t.Errorf("got %q, want %s", r.out, dir)
			}
			if _, err := os.Stat(filepath.Join(dir, "file")); err == nil {
				t.Error("it is still mounted")
			}
			o.want(3, append(args, "--umount")...)
		})
	}
	bob := *o
	bob.env.User, bob.env.StateDir = "bob", t.TempDir()
	r := bob.want(0, "mount", "web1")
	o.unmountLater(strings.TrimSuffix(r.out, "\n"))
	if !strings.Contains(r.err, "alice@desk7") || !strings.Contains(r.out, bob.env.StateDir) {
		t.Errorf("it is not told whose the bundle is:\n%s", r)
	}
	bob.want(0, "mount", "web1", "--umount")
	o.want(0, "step", "web1", "--from", "unstage")
}

func TestMountWithoutABundle(t *testing.T) {
	needSSH(t)
	o := sshOperator(t, "a = remote run true\n")
	if r := o.want(3, "mount", "web1"); !strings.Contains(r.err, "no bundle is open") {
		t.Errorf("got\n%s", r)
	}
	o.want(3, "mount", "web1", "--umount")
	o.want(2, "mount")
	if left, _ := filepath.Glob(filepath.Join(o.env.StateDir, "mounts", "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
