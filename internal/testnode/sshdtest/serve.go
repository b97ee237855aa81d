package sshdtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode"
)

// serve starts sshd on a port that is free just now. It is false when sshd
// ended instead.
func (n *Node) serve(t testing.TB, sshd string, o Options) bool {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	n.SetAddr(l.Addr().String())
	must(t, l.Close())
	config := filepath.Join(n.dir, "sshd_config")
	must(t, os.WriteFile(config, []byte(n.config(t, o)), 0o600))
	log, err := os.Create(n.log)
	must(t, err)
	defer log.Close()

	// The shell ends with its standard input, that is, also when this process
	// dies; sshd ends with the shell.
	var cmd *exec.Cmd
	if Root() {
		cmd = exec.Command(program(t, "unshare"), "--mount", "--propagation", "private",
			"--pid", "--fork", "--mount-proc", "/bin/sh", "-c", n.mounts(o)+"\"$0\" -D -e -f \"$1\" &\ncat\n", sshd, config)
	} else {
		cmd = exec.Command("/bin/sh", "-c", "\"$0\" -D -e -f \"$1\" & pid=$!\ncat\nkill $pid; wait\n", sshd, config)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	stdin, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	end := func() {
		_ = stdin.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
			t.Error("sshd did not end by itself")
		}
		if err := testnode.EndMarked(n.mark, 5*time.Second); err != nil {
			t.Error(err)
		}
	}
	listening := fmt.Appendf(nil, "Server listening on 127.0.0.1 port %d", n.Port)
	up := false
	err = await(func() bool {
		text, _ := os.ReadFile(n.log)
		if up = bytes.Contains(text, listening); up {
			return true
		}
		return bytes.Contains(text, []byte("Cannot bind any address")) || bytes.Contains(text, []byte("fatal: ")) || isClosed(ended)
	})
	if err != nil || !up {
		end()
		return false
	}
	if Root() {
		n.pid = firstChild(cmd.Process.Pid)
	}
	t.Cleanup(end)
	return true
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// firstChild gives the process that unshare started: number 1 in there.
func firstChild(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	child, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return child
}

// config is sshd_config. The test's own lines stand first: sshd takes the first
// value that it reads.
func (n *Node) config(t testing.TB, o Options) string {
	lines := append([]string{}, o.Config...)
	lines = append(lines,
		"ListenAddress 127.0.0.1",
		"Port "+strconv.Itoa(n.Port),
		"PidFile none",
		"UsePAM no",
		"UseDNS no",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PermitRootLogin prohibit-password",
		"AuthorizedKeysFile "+filepath.Join(n.Home, ".ssh", "authorized_keys"),
		"LogLevel VERBOSE",
		"PrintMotd no",
		"SetEnv "+n.mark,
	)
	kinds := o.HostKeys
	if len(kinds) == 0 {
		kinds = []string{"ed25519"}
	}
	for _, kind := range kinds {
		lines = append(lines, "HostKey "+n.hostKeyFile(kind))
	}
	subsystem := "internal-sftp"
	if o.ExternalSFTP {
		subsystem = sftpServer(t)
	}
	lines = append(lines, "Subsystem sftp "+subsystem)
	if !Root() {
		// Folders up to the root are looked at when the file is not in the
		// account's real home, and /tmp is everyone's.
		lines = append(lines, "StrictModes no", "ForceCommand /bin/sh "+n.wrapper(t, o))
	}
	return strings.Join(lines, "\n") + "\n"
}

// wrapper writes the program that stands between sshd and a plain user's
// commands: it gives them the home, and the shell, that the node is to have.
func (n *Node) wrapper(t testing.TB, o Options) string {
	path := filepath.Join(n.dir, "session")
	script := fmt.Sprintf(`HOME=%[1]q SHELL=%[2]q
export HOME SHELL
unset SHLVL XDG_STATE_HOME XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME XDG_RUNTIME_DIR
cd "$HOME" || exit 1
case $SSH_ORIGINAL_COMMAND in
"") exec "$SHELL" -l ;;
internal-sftp) exec %[3]q ;;
esac
exec "$SHELL" -c "$SSH_ORIGINAL_COMMAND"
`, n.Home, o.Shell, sftpServer(t))
	must(t, os.WriteFile(path, []byte(script), 0o600))
	return path
}

// sftpServer finds the program of that name, which is in nobody's PATH.
func sftpServer(t testing.TB) string {
	t.Helper()
	return program(t, "sftp-server", "/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server",
		"/usr/lib/ssh/sftp-server", "/usr/libexec/sftp-server")
}
