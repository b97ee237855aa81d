package jobs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"example.org/conc/config"
)

// MountSSHFS mounts the node's bundle on the workstation, with the sshfs program.
type MountSSHFS struct {
	Dir string // on the workstation; "" is the local bundle
}

func mountSSHFSEntry() Entry {
	return Entry{
		Name:    "mount_sshfs",
		Args:    "[DIR]",
		Summary: "mount the node's bundle on the workstation, with sshfs",
		Help: `The node's bundle appears on the local bundle, or on DIR, which must be there. It
is reached as conc itself reaches the node: the same port, key and known hosts.
Steps can then copy files into it, and so can you while the deploy is paused.
deliver does not need it, is faster, and checks what arrived.

OK when it is mounted there already, BLOCKED when something else is. ERROR when the sshfs program is
not there, or the system has no FUSE.`,
		Example: "local mount_sshfs",
		Parse: func(args []string) (Op, error) {
			dir, err := atMostOne(args)
			return MountSSHFS{Dir: dir}, err
		},
	}
}

func atMostOne(args []string) (string, error) {
	switch {
	case len(args) > 1:
		return "", fmt.Errorf("it takes one directory, not %d", len(args))
	case len(args) == 1 && args[0] == "":
		return "", fmt.Errorf("the directory's name is empty")
	case len(args) == 1:
		return args[0], nil
	}
	return "", nil
}

// Prepare looks for sshfs and FUSE.
func (m MountSSHFS) Prepare(context.Context, *Env) error {
	if _, err := exec.LookPath("sshfs"); err != nil {
		return Errorf("there is no sshfs program here").WithHint("install the package sshfs, or use deliver in its place")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil && runtime.GOOS == "linux" {
		return Errorf("this system has no FUSE: %w", err).WithHint("modprobe fuse, or use deliver in its place")
	}
	return nil
}

// Do mounts it.
func (m MountSSHFS) Do(ctx context.Context, env *Env) error {
	if err := m.Prepare(ctx, env); err != nil {
		return err
	}
	if len(env.SSH) == 0 {
		return Errorf("it is not known how ssh reaches the node")
	}
	dir := env.mountPoint(m.Dir)
	args, err := sshfsArgs(env.SSH, remoteBundle(env), dir)
	if err != nil {
		return err
	}
	source := args[len(args)-2]
	if _, err := os.Stat(dir); gone(err) {
		return Blockedf("there is no directory %s to mount on", dir)
	}
	mounted, err := isMounted(dir)
	switch {
	case err != nil:
		return err
	case mounted:
		if mountedFrom(dir) == source {
			env.Note("already there, %s", dir)
			return nil
		}
		return Blockedf("something is mounted on %s already", dir).WithHint("unmount_sshfs, or by hand: fusermount -u %s", quote(dir))
	}
	if err := env.Run(ctx, Cmd{Args: args}); err != nil {
		var failed *Error
		if errors.As(err, &failed) && failed.Status == Failed { // sshfs keeps to itself what ssh says
			return failed.WithHint("ssh itself may say why: %s", quote(append(append([]string{"ssh"}, env.SSH...), "true")...))
		}
		return err
	}
	env.Note("%s", dir)
	return nil
}

func remoteBundle(env *Env) string {
	if env.Far != nil {
		return env.Far.Bundle()
	}
	return env.Node.Get("bundle")
}

// sshfsArgs makes sshfs's command line of ssh's: ssh's options go along as they
// are, so that it is as strict as conc about the node's key.
func sshfsArgs(ssh []string, bundle, dir string) ([]string, error) {
	last := len(ssh) - 1
	user, host, ok := strings.Cut(ssh[last], "@")
	if !ok {
		user, host = "", ssh[last]
	} else {
		user += "@"
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	command := "ssh -oBatchMode=yes -oServerAliveInterval=15 -oServerAliveCountMax=3"
	for i, a := range ssh[:last] {
		// sshfs splits the command at spaces, and knows no way to keep one. In an
		// option of ssh's, and in a command in it, a tab parts words as well.
		if i > 0 && ssh[i-1] == "-o" && !strings.ContainsAny(a, `"'\`+"`\t") {
			a = strings.ReplaceAll(a, " ", "\t")
			command += " " + a
			continue
		}
		if a == "" || strings.ContainsAny(a, " \t\n") {
			return nil, Errorf("sshfs cannot be given an ssh option with a space in it: %q", a).
				WithHint("move the key to a path without one, or use deliver in its place")
		}
		command += " " + a
	}
	// Commas part options, and a backslash guards one.
	command = strings.NewReplacer(`\`, `\\`, ",", `\,`).Replace(command)
	return []string{"sshfs", "-o", "ssh_command=" + command, user + host + ":" + bundle, dir}, nil
}

// ByHand is the command without the options that reach the node.
func (m MountSSHFS) ByHand(n *config.Node) []string {
	target := n.Get("admin") + "@" + n.Get("sshd.ip") + ":" + n.Get("bundle")
	return []string{fmt.Sprintf("sshfs -p %d %s %s", n.Port(), quote(target), typed(n, mountArg(m.Dir)))}
}

// mountArg is a mount point's argument with the default filled in.
func mountArg(dir string) string {
	if dir == "" {
		return bundlePrefix
	}
	return dir
}

func (e *Env) mountPoint(dir string) string { return e.Path(mountArg(dir)) }

// Verify looks whether it is mounted.
func (m MountSSHFS) Verify(_ context.Context, env *Env) error {
	dir := env.mountPoint(m.Dir)
	mounted, err := isMounted(dir)
	if err == nil && !mounted {
		err = fmt.Errorf("nothing is mounted on %s", dir)
	}
	return err
}

// Place is the workstation.
func (m MountSSHFS) Place() Host { return Local }

// UnmountSSHFS undoes MountSSHFS.
type UnmountSSHFS struct {
	Dir string // as in MountSSHFS
}

func unmountSSHFSEntry() Entry {
	return Entry{
		Name:    "unmount_sshfs",
		Args:    "[DIR]",
		Summary: "unmount what mount_sshfs mounted",
		Help: `OK, and nothing is done, when nothing is mounted there. FAILED when it is in use: a
shell whose folder is in it is enough.`,
		Example: "local unmount_sshfs",
		Parse: func(args []string) (Op, error) {
			dir, err := atMostOne(args)
			return UnmountSSHFS{Dir: dir}, err
		},
	}
}

// Do unmounts it.
func (u UnmountSSHFS) Do(ctx context.Context, env *Env) error {
	dir := env.mountPoint(u.Dir)
	mounted, err := isMounted(dir)
	if err != nil {
		return err
	}
	if !mounted {
		env.Note("nothing is mounted there")
		return nil
	}
	args := []string{"umount", dir}
	for _, name := range []string{"fusermount3", "fusermount"} {
		if _, err := exec.LookPath(name); err == nil {
			args = []string{name, "-u", dir}
			break
		}
	}
	return env.Run(ctx, Cmd{Args: args})
}

// Verify looks whether it is unmounted.
func (u UnmountSSHFS) Verify(_ context.Context, env *Env) error {
	dir := env.mountPoint(u.Dir)
	mounted, err := isMounted(dir)
	if err == nil && mounted {
		err = fmt.Errorf("something is mounted on %s", dir)
	}
	return err
}

// ByHand is the command.
func (u UnmountSSHFS) ByHand(n *config.Node) []string {
	return []string{"fusermount -u " + typed(n, mountArg(u.Dir))}
}

// Place is the workstation.
func (u UnmountSSHFS) Place() Host { return Local }

// Repeatable: unmounting what is not mounted is OK.
func (u UnmountSSHFS) Repeatable() {}

// Inert marks that no later step needs a file that it makes.
func (u UnmountSSHFS) Inert() {}

// mountedFrom tells what is mounted on dir, "" when that is not known, or does
// not answer: the first part of its line in the list of mounts.
func mountedFrom(dir string) string {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	source := ""
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && unmangle.Replace(f[1]) == dir && f[2] == "fuse.sshfs" {
			source = unmangle.Replace(f[0])
		}
	}
	if _, err := os.ReadDir(dir); err != nil {
		return ""
	}
	return source
}

// isMounted tells whether dir is a mount point. Where there is no list of
// mounts, dir is on another device than the directory that it is in. A mount
// whose server is gone cannot be asked, only listed.
func isMounted(dir string) (bool, error) {
	if real, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
		dir = filepath.Join(real, filepath.Base(dir))
	}
	if f, err := os.Open("/proc/self/mounts"); err == nil {
		defer f.Close() //nolint:errcheck // it was only read
		for s := bufio.NewScanner(f); s.Scan(); {
			fields := strings.Fields(s.Text())
			if len(fields) > 1 && unmangle.Replace(fields[1]) == dir {
				return true, nil
			}
		}
	}
	here, err := os.Stat(dir)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	above, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return false, err
	}
	a, ok1 := here.Sys().(*syscall.Stat_t)
	b, ok2 := above.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && a.Dev != b.Dev, nil
}

// unmangle undoes how the list of mounts writes what would part its fields.
var unmangle = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
