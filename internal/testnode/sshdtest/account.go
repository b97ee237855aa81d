package sshdtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// makeAccount writes the node's passwd, group and shadow: the machine's own,
// with the account in them.
func (n *Node) makeAccount(t testing.TB, o Options) {
	t.Helper()
	n.User = o.Account
	if n.User == "" {
		n.User = "conctest"
	}
	if out, err := exec.Command(program(t, "unshare"), "--mount", "--pid", "--fork", "--mount-proc", "true").CombinedOutput(); err != nil {
		unavailable(t, fmt.Sprintf("no namespaces of our own here: %v %s", err, out))
	}
	passwd, err := os.ReadFile("/etc/passwd")
	must(t, err)
	group, err := os.ReadFile("/etc/group")
	must(t, err)
	if n.User != "root" {
		for n.UID = 60100; strings.Contains(string(passwd)+string(group), fmt.Sprintf(":%d:", n.UID)); n.UID++ {
		}
	}
	hash := o.ShadowHash
	if hash == "" {
		hash = "*" // no password; "!" would lock the account
	}
	own := fmt.Sprintf("%s:x:%d:%d:conc test:%s:%s\n", n.User, n.UID, n.UID, n.Home, o.Shell)
	ownShadow := fmt.Sprintf("%s:%s:19000:0:99999:7:::\n", n.User, hash)
	ownGroup := fmt.Sprintf("%s:x:%d:\n", n.User, n.UID)
	write := func(name, text string, mode os.FileMode) {
		must(t, os.WriteFile(filepath.Join(n.dir, name), []byte(text), mode))
	}
	write("passwd", own+without(string(passwd), n.User), 0o644)
	write("group", ownGroup+without(string(group), n.User), 0o644)
	shadow, err := os.ReadFile("/etc/shadow")
	must(t, err)
	write("shadow", ownShadow+without(string(shadow), n.User), 0o600)
	if o.Sudoers != "" {
		write("sudoers", "root ALL=(ALL:ALL) ALL\n"+o.Sudoers+"\n", 0o440)
	}
	must(t, os.Mkdir(filepath.Join(n.dir, "run"), 0o755))
	must(t, os.Mkdir(filepath.Join(n.dir, "run", "sshd"), 0o755))
}

// without leaves an account's line out of a file such as passwd.
func without(text, account string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, account+":") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// mounts is the beginning of the shell script that starts sshd: what the node
// sees instead of the machine's own.
func (n *Node) mounts(o Options) string {
	var b strings.Builder
	b.WriteString("set -e\n")
	bind := func(name, at string) { fmt.Fprintf(&b, "mount --bind %q %q\n", filepath.Join(n.dir, name), at) }
	bind("passwd", "/etc/passwd")
	bind("group", "/etc/group")
	bind("shadow", "/etc/shadow")
	if o.Sudoers != "" {
		bind("sudoers", "/etc/sudoers")
	}
	if _, err := os.Stat("/run/sshd"); err != nil {
		bind("run", "/run") // sshd insists on its empty directory
	}
	if o.HomeFS > 0 {
		fmt.Fprintf(&b, "mkdir -p %[1]q\nmount -t tmpfs -o size=%[2]dm,mode=755,uid=%[3]d tmpfs %[1]q\ncp -a %[4]q/. %[1]q\nmount --bind %[1]q %[4]q\n",
			filepath.Join(n.dir, "homefs"), o.HomeFS, n.UID, n.Home)
	}
	if o.NoExecHome {
		fmt.Fprintf(&b, "mount --bind %[1]q %[1]q\nmount -o remount,bind,noexec %[1]q\n", n.Home)
	}
	if o.TinyFS {
		fmt.Fprintf(&b, "mkdir -p %[1]q\nmount -t tmpfs -o size=4m,mode=755,uid=%[2]d tmpfs %[1]q\n", filepath.Join(n.Home, "tiny"), n.UID)
	}
	return b.String()
}
