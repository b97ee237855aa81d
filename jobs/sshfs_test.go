package jobs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/config"
)

func TestSSHFSArgs(t *testing.T) {
	got, err := sshfsArgs([]string{"-p", "22", "-i", "/k,e\\y", "-J", "a@b,c@d", "deploy@fe80::1%eth0"}, "shop-bundle", "/m")
	want := []string{
		"sshfs", "-o",
		`ssh_command=ssh -oBatchMode=yes -oServerAliveInterval=15 -oServerAliveCountMax=3 -p 22 -i /k\,e\\y -J a@b\,c@d`,
		"deploy@[fe80::1%eth0]:shop-bundle", "/m",
	}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if _, err := sshfsArgs([]string{"-i", "/my key", "a@b"}, "x", "/m"); StatusOf(err) != Errored {
		t.Errorf("a space: got %v, want ERROR", err)
	}
}

// An ssh that runs the SFTP server right here stands in for the line to a node;
// sshfs, FUSE and the server are the real ones.
func TestSSHFSMounts(t *testing.T) {
	const server = "/usr/lib/openssh/sftp-server"
	_, err := exec.LookPath("sshfs")
	need(t, "sshfs", err == nil)
	_, err = os.Stat(server)
	need(t, server, err == nil)
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err) // not everybody may mount
	}
	_ = fuse.Close()

	env, _ := testEnv(t, Local)
	far := filepath.Join(t.TempDir(), "far")
	write(t, far+"/delivered.txt", "hello", 0o644)
	write(t, env.Home+"/bin/ssh", "#!/bin/sh\nfor a; do printf '%s\\n' \"$a\"; done > "+env.Home+"/args\nexec "+server+"\n", 0o755)
	t.Setenv("PATH", env.Home+"/bin:"+os.Getenv("PATH"))
	env.SSH = []string{"-p", "22", "-i", "/k,e\\y", "-o", "UserKnownHostsFile=/a /b", "deploy@::1"}
	env.Node = config.NewNode("web1", map[string]string{"bundle": far})
	if err := os.Mkdir(env.Bundle, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", env.Bundle).Run() })

	do(t, env, UnmountSSHFS{}, OK, "nothing is mounted there")
	do(t, env, MountSSHFS{}, OK, env.Bundle)
	if data, err := os.ReadFile(env.Bundle + "/delivered.txt"); string(data) != "hello" {
		t.Errorf("got %q, %v; want the far file", data, err)
	}
	if args, _ := os.ReadFile(env.Home + "/args"); !strings.Contains(string(args), "-p\n22\n-i\n/k,e\\y\n-o\nUserKnownHostsFile=/a\t/b\n") {
		t.Errorf("ssh got\n%s", args)
	}
	do(t, env, MountSSHFS{}, OK, "already there, "+env.Bundle)
	env.Node = config.NewNode("web1", map[string]string{"bundle": far + "/other"})
	do(t, env, MountSSHFS{}, Blocked, "mounted on "+env.Bundle+" already")
	if err := (MountSSHFS{}).Verify(t.Context(), env); err != nil {
		t.Error(err)
	}
	do(t, env, UnmountSSHFS{}, OK, "")
	if err := (UnmountSSHFS{}).Verify(t.Context(), env); err != nil {
		t.Error(err)
	}
}

func TestSSHFSIsMissing(t *testing.T) {
	env, _ := testEnv(t, Local)
	t.Setenv("PATH", env.Home)
	do(t, env, MountSSHFS{}, Errored, "no sshfs program")
}
