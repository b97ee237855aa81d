package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/conc/internal/testnode"
)

// node is the sshd that everything goes to. It is one machine with as many
// accounts as there are nodes in a fleet; each has a home of its own.
type node struct {
	testnode.Node

	names []string // the nodes', which are the accounts'
	homes map[string]string
	why   string // there is one node only; "" when there are accounts

	wide   door // MaxStartups is as many as there are nodes
	strict door // MaxStartups is sshd's own: 10:30:100

	dir, log string
	uid, gid int
	cmd      *exec.Cmd // what the processes of the node descend from
	stdin    io.Closer
}

// door is one of the ports that sshd listens on, and the proxy before it.
type door struct {
	port  int
	proxy *testnode.Proxy
}

// startNode starts sshd for so many nodes, or for one where it cannot have
// accounts of its own.
func startNode(ctx context.Context, dir string, count int) (n *node, err error) {
	sshd, err := program("sshd")
	if err != nil {
		return nil, err
	}
	n = &node{dir: filepath.Join(dir, "node"), homes: map[string]string{}}
	n.log = filepath.Join(n.dir, "sshd.log")
	defer func() {
		if err != nil {
			n.stop()
		}
	}()
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		return nil, err
	}
	n.OpKey = "bench"
	authorized, err := n.MakeKeys(filepath.Join(dir, "operator", ".ssh"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(n.dir, "authorized_keys"), authorized, 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(n.dir, "host_key")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	if n.why = noAccounts(ctx); n.why != "" {
		count = 1
	}
	if err := n.makeHomes(count); err != nil {
		return nil, err
	}
	// A port is free when it is chosen, but another may be faster.
	for try := 1; ; try++ {
		err := n.serve(ctx, sshd)
		if err == nil {
			break
		}
		if text, _ := os.ReadFile(n.log); try == 5 || !bytes.Contains(text, []byte("in use")) {
			return nil, fmt.Errorf("sshd does not start: %w\n%s", err, text)
		}
	}
	text, err := os.ReadFile(filepath.Join(n.dir, "host_key.pub"))
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, err
	}
	for _, d := range []*door{&n.wide, &n.strict} {
		if d.proxy, err = testnode.NewProxy(net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port))); err != nil {
			return nil, err
		}
		if err := n.Trust(d.proxy.Addr, key); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// noAccounts tells why sshd cannot have accounts of its own here.
func noAccounts(ctx context.Context) string {
	if os.Geteuid() != 0 {
		return "they need root, for accounts of their own"
	}
	if out, err := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--mount-proc", "true").CombinedOutput(); err != nil {
		return fmt.Sprintf("they need namespaces: %v %s", err, bytes.TrimSpace(out))
	}
	return ""
}

// makeHomes makes the homes, and the passwd that has them. The accounts share
// one number: to the kernel they are one user, to sshd and to what it starts
// they are not.
func (n *node) makeHomes(count int) error {
	own, err := user.Current()
	if err != nil {
		return err
	}
	n.uid, n.gid = os.Getuid(), os.Getgid()
	passwd, shadow := "", ""
	if n.why == "" {
		n.uid, n.gid = 60200, 60200
	}
	for i := range count {
		name := fmt.Sprintf("n%03d", i+1)
		home := filepath.Join(n.dir, "homes", name)
		if err := os.MkdirAll(home, 0o755); err != nil {
			return err
		}
		if err := os.Chown(home, n.uid, n.gid); err != nil {
			return err
		}
		n.names, n.homes[name] = append(n.names, name), home
		passwd += fmt.Sprintf("%s:x:%d:%d:bench:%s:/bin/sh\n", name, n.uid, n.gid, home)
		shadow += name + ":*:19000:0:99999:7:::\n"
	}
	n.User = own.Username
	if n.why != "" {
		return nil
	}
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{"passwd", passwd, 0o644},
		{"group", fmt.Sprintf("bench:x:%d:\n", n.gid), 0o644},
		{"shadow", shadow, 0o600},
	} {
		text, err := os.ReadFile(filepath.Join("/etc", f.name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(n.dir, f.name), append([]byte(f.text), text...), f.mode); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(n.dir, "run", "sshd"), 0o755)
}

// account gives the name to log in with at a node.
func (n *node) account(name string) string {
	if n.why != "" {
		return n.User
	}
	return name
}

// serve starts sshd on two ports that are free just now.
func (n *node) serve(ctx context.Context, sshd string) error {
	script := ""
	if n.why == "" {
		for _, name := range []string{"passwd", "group", "shadow"} {
			script += fmt.Sprintf("mount --bind %q /etc/%s || exit\n", filepath.Join(n.dir, name), name)
		}
		if _, err := os.Stat("/run/sshd"); err != nil {
			script += fmt.Sprintf("mount --bind %q /run || exit\n", filepath.Join(n.dir, "run"))
		}
	}
	for i, d := range []*door{&n.wide, &n.strict} {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		d.port = l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return err
		}
		path := filepath.Join(n.dir, fmt.Sprintf("sshd_config-%d", i+1))
		text, err := n.config(d)
		if err != nil {
			return err
		}
		// What a newer sshd does by itself an older one does not know.
		for _, more := range []string{"PerSourcePenalties no\n", ""} {
			if err = os.WriteFile(path, []byte(text+more), 0o600); err != nil {
				return err
			}
			if err = n.checkConfig(ctx, sshd, path); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
		script += fmt.Sprintf("%q -D -e -f %q & pids=\"$pids $!\"\n", sshd, path)
	}
	log, err := os.Create(n.log)
	if err != nil {
		return err
	}
	defer log.Close()
	// The shell ends with its standard input, that is, also when this process
	// dies; sshd ends with the shell.
	script += "cat\nkill $pids\nwait\n"
	argv := []string{"/bin/sh", "-c", script}
	if n.why == "" {
		argv = append([]string{"unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"}, argv...)
	}
	n.cmd = exec.Command(argv[0], argv[1:]...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	// Ctrl-C is for this process, which ends the node when it ends.
	n.cmd.SysProcAttr = ownGroup()
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(n.log)
		switch {
		case bytes.Count(text, []byte("Server listening on 127.0.0.1")) == 2:
			return nil
		case bytes.Contains(text, []byte("Cannot bind")), bytes.Contains(text, []byte("fatal: ")), ctx.Err() != nil:
			n.end()
			return errors.New("it ended")
		}
	}
	n.end()
	return errors.New("it does not listen within 20 s")
}

// checkConfig lets sshd read its configuration, where it would run.
func (n *node) checkConfig(ctx context.Context, sshd, path string) error {
	mount := ""
	if _, err := os.Stat("/run/sshd"); err != nil && n.why == "" {
		mount = fmt.Sprintf("mount --bind %q /run && ", filepath.Join(n.dir, "run"))
	}
	argv := []string{"/bin/sh", "-c", mount + `"$0" -t -f "$1"`, sshd, path}
	if mount != "" {
		argv = append([]string{"unshare", "--mount", "--propagation", "private"}, argv...)
	}
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// config is a door's sshd_config. But for MaxStartups, which the wide door has
// raised, nothing in it changes how fast sshd is.
func (n *node) config(d *door) (string, error) {
	lines := []string{
		"ListenAddress 127.0.0.1",
		"Port " + strconv.Itoa(d.port),
		"HostKey " + filepath.Join(n.dir, "host_key"),
		"AuthorizedKeysFile " + filepath.Join(n.dir, "authorized_keys"),
		"StrictModes no", // the folders above are everyone's
		"PidFile none",
		"UsePAM no",
		"UseDNS no",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PrintMotd no",
		"Subsystem sftp internal-sftp",
	}
	if d == &n.wide {
		lines = append(lines, "MaxStartups 1000")
	}
	if n.why != "" {
		wrapper, err := n.wrapper()
		if err != nil {
			return "", err
		}
		lines = append(lines, "PermitRootLogin prohibit-password", "ForceCommand /bin/sh "+wrapper)
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// wrapper writes the program that gives the user's commands another home.
func (n *node) wrapper() (string, error) {
	server, err := program("sftp-server")
	if err != nil {
		return "", err
	}
	path := filepath.Join(n.dir, "session")
	script := fmt.Sprintf(`HOME=%[1]q SHELL=/bin/sh
export HOME SHELL
unset XDG_STATE_HOME XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME XDG_RUNTIME_DIR
cd "$HOME" || exit 1
case $SSH_ORIGINAL_COMMAND in
"") exec "$SHELL" -l ;;
internal-sftp) exec %[2]q ;;
esac
exec "$SHELL" -c "$SSH_ORIGINAL_COMMAND"
`, n.homes[n.names[0]], server)
	return path, os.WriteFile(path, []byte(script), 0o644)
}

// end ends sshd and, with namespaces, all that it started.
func (n *node) end() {
	if n.cmd == nil || n.cmd.Process == nil {
		return
	}
	_ = n.stdin.Close()
	ended := make(chan struct{})
	go func() { _ = n.cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		_ = n.cmd.Process.Kill()
		<-ended
	}
	n.cmd = nil
}

// stop ends sshd and the proxies.
func (n *node) stop() {
	for _, d := range []door{n.wide, n.strict} {
		if d.proxy != nil {
			_ = d.proxy.Close()
		}
	}
	n.end()
}

// program finds a program, also where only root or nobody has its PATH.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/libexec"} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && !st.IsDir() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}
