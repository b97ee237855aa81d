// Package sshdtest starts the system's own sshd as a node for a test: on a
// loopback port, with keys, an account and a home of its own.
//
// As root, sshd runs in mount and PID namespaces of its own, where the machine's
// passwd has one account more: nothing of the machine is changed, and nothing
// that the node starts can outlive it. As a plain user, sshd runs as that user,
// and each command is given a HOME below the test's directory.
//
// Where there is no sshd (or, as root, no namespaces) a test is skipped; with
// CONC_REQUIRE_SSHD=1 it fails.
package sshdtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"example.org/conc/internal/testnode"
)

// Options of a node. The zero value is a plain account with /bin/sh.
type Options struct {
	Config       []string // further lines of sshd_config: "MaxSessions 1"
	HostKeys     []string // "ed25519", "ecdsa", "rsa"; empty is ed25519
	Shell        string   // login shell; "" is /bin/sh
	RC           string   // text of the account's .bashrc
	ExternalSFTP bool     // sftp-server through the login shell; else internal-sftp

	// What follows needs root: a test that asks for it is skipped without.

	Account    string // "" is "conctest"; "root" is the machine's own, with another home
	NoExecHome bool   // nothing in the home can be executed
	TinyFS     bool   // a file system of 4 MiB at tiny/ in the home: see Inside
	HomeFS     int    // MiB: the home is a file system of that size; Home is its path as seen from here
	ShadowHash string // the account's password, as in /etc/shadow; "" is none
	Sudoers    string // text of the node's sudoers, beside root's line
}

// Node is a running sshd. It ends with the test; Sessions and Close of the
// embedded Node are not to be called.
type Node struct {
	testnode.Node
	UID int // of the account

	pid  int // of the namespace's first process, as seen from here; 0 as a plain user
	dir  string
	mark string
	log  string
}

// Root tells whether tests that need root's options can run.
func Root() bool { return os.Geteuid() == 0 }

// Start starts sshd for the rest of the test.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	sshd := program(t, "sshd", "/usr/sbin/sshd", "/usr/local/sbin/sshd")
	if needsRoot := o.Account != "" || o.NoExecHome || o.TinyFS || o.HomeFS > 0 || o.ShadowHash != "" || o.Sudoers != ""; needsRoot && !Root() {
		t.Skip("needs root, for an account of its own")
	}
	if o.Shell == "" {
		o.Shell = "/bin/sh"
	}
	n := &Node{dir: directory(t)}
	n.mark = "CONC_TESTNODE=" + filepath.Base(filepath.Dir(n.dir)) + strconv.Itoa(os.Getpid())
	n.log = filepath.Join(n.dir, "sshd.log")
	n.Home = filepath.Join(n.dir, "home")
	must(t, os.Mkdir(n.Home, 0o755))
	authorized, err := n.MakeKeys(filepath.Join(n.dir, "operator", ".ssh"))
	must(t, err)
	if Root() {
		n.makeAccount(t, o)
	} else {
		u, err := user.Current()
		must(t, err)
		n.User, n.UID = u.Username, os.Getuid()
		if !canLogIn(u.Username) {
			unavailable(t, u.Username+" has no login shell")
		}
	}
	must(t, os.Mkdir(filepath.Join(n.Home, ".ssh"), 0o700))
	n.put(t, ".ssh/authorized_keys", string(authorized))
	if o.RC != "" {
		n.put(t, ".bashrc", o.RC+"\n")
	}
	n.own(t, n.Home, filepath.Join(n.Home, ".ssh"))
	keys := n.hostKeys(t, o)
	t.Cleanup(func() {
		if text, err := os.ReadFile(n.log); err == nil && t.Failed() {
			t.Logf("sshd's log:\n%s", tail(text, 40))
		}
	})
	// The port is free when it is chosen, but another may be faster.
	for try := 1; ; try++ {
		ok := n.serve(t, sshd, o)
		if ok {
			break
		}
		text, _ := os.ReadFile(n.log)
		if try == 5 || !bytes.Contains(text, []byte("in use")) {
			t.Fatalf("sshd does not start:\n%s", text)
		}
	}
	for _, key := range keys {
		must(t, n.Trust(n.Addr, key))
	}
	if o.HomeFS > 0 {
		n.Home = n.Inside(n.Home)
	}
	return n
}

// Processes gives the processes of the node with text in their command line, by
// the numbers that they have outside the node.
func (n *Node) Processes(text string) []int { return testnode.Running(n.mark, text) }

// Inside gives the path by which this process sees a file of the node, also
// below a mount that only the node has.
func (n *Node) Inside(path string) string {
	root := filepath.Join("/proc", strconv.Itoa(n.pid), "root")
	if n.pid == 0 || strings.HasPrefix(path, root+"/") {
		return path
	}
	return filepath.Join(root, path)
}

// Files lists the files below a directory of the node, sorted, directories with
// a slash, links with their target.
func (n *Node) Files(t testing.TB, dir string) []string {
	t.Helper()
	list, err := testnode.Tree(n.Inside(dir))
	must(t, err)
	return list
}

// hostKeys makes sshd's own keys; the first is the node's HostKey in the end.
func (n *Node) hostKeys(t testing.TB, o Options) []ssh.PublicKey {
	if len(o.HostKeys) == 0 {
		o.HostKeys = []string{"ed25519"}
	}
	keygen := program(t, "ssh-keygen")
	var keys []ssh.PublicKey
	for _, kind := range o.HostKeys {
		file := n.hostKeyFile(kind)
		out, err := exec.Command(keygen, "-q", "-t", kind, "-N", "", "-f", file).CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		text, err := os.ReadFile(file + ".pub")
		must(t, err)
		key, _, _, _, err := ssh.ParseAuthorizedKey(text)
		must(t, err)
		keys = append([]ssh.PublicKey{key}, keys...)
	}
	return keys
}

func (n *Node) hostKeyFile(kind string) string { return filepath.Join(n.dir, "host_"+kind) }

// put writes a file of the account's.
func (n *Node) put(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(n.Home, name)
	must(t, os.WriteFile(path, []byte(text), 0o600))
	n.own(t, path)
}

// own makes files the account's.
func (n *Node) own(t testing.TB, paths ...string) {
	t.Helper()
	for _, p := range paths {
		must(t, os.Chown(p, n.UID, -1))
	}
}

// directory makes the test's directory, open to the account all the way down.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	if !Root() {
		return dir
	}
	// t.TempDir is in a folder of the test's own, which only root may enter.
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	for d := dir; d != "/"; d = filepath.Dir(d) {
		st, err := os.Stat(d)
		must(t, err)
		if st.Mode().Perm()&0o001 == 0 {
			unavailable(t, d+" is closed to other accounts: set TMPDIR to a place that is not")
		}
	}
	return dir
}

// canLogIn tells whether the account's login shell, which sshd runs everything
// with, is one.
func canLogIn(account string) bool {
	passwd, _ := os.ReadFile("/etc/passwd")
	for line := range strings.Lines(string(passwd)) {
		if strings.HasPrefix(line, account+":") {
			shell := filepath.Base(strings.TrimSpace(line[strings.LastIndex(line, ":")+1:]))
			return shell != "nologin" && shell != "false"
		}
	}
	return true // in a directory service, say
}

// program finds a program, or ends the test.
func program(t testing.TB, name string, places ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, path := range places {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	unavailable(t, name+" is not installed")
	return ""
}

// unavailable skips the test, unless it was said that nothing may be missing.
func unavailable(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CONC_REQUIRE_SSHD") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tail(text []byte, lines int) string {
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// await asks again and again until ok, for 10 s.
func await(ok func() bool) error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(3 * time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return fmt.Errorf("not within 10 s")
}
