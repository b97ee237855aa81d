package sshdtest_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"example.org/conc/internal/testnode/sshdtest"
)

func dial(t *testing.T, n *sshdtest.Node) *ssh.Client {
	t.Helper()
	c, err := tryDial(t, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func tryDial(t *testing.T, n *sshdtest.Node, algorithms ...string) (*ssh.Client, error) {
	t.Helper()
	text, err := os.ReadFile(n.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(n.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	if algorithms == nil {
		algorithms = []string{ssh.KeyAlgoED25519}
	}
	return ssh.Dial("tcp", n.Addr, &ssh.ClientConfig{
		User: n.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: check,
		HostKeyAlgorithms: algorithms, Timeout: 5 * time.Second,
	})
}

func run(t *testing.T, c *ssh.Client, command string) (string, error) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.CombinedOutput(command)
	return string(out), err
}

// needRoot skips what only a node with an account of its own shows.
func needRoot(t *testing.T) {
	t.Helper()
	if !sshdtest.Root() {
		t.Skip("needs root, for an account of its own")
	}
}

func TestAccount(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{})
	c := dial(t, n)
	for _, tt := range []struct{ command, want string }{
		{"echo $HOME; pwd", n.Home + "\n" + n.Home + "\n"},
		{"id -u", fmt.Sprintln(n.UID)},
		{"echo x >file; cat file", "x\n"},
		{"echo $0", "sh\n"},
	} {
		out, err := run(t, c, tt.command)
		if tt.command == "echo $0" {
			out = filepath.Base(out) // a plain user's is a path
		}
		if out != tt.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", tt.command, out, err, tt.want)
		}
	}
	var exit *ssh.ExitError
	if _, err := run(t, c, "exit 3"); !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Errorf("exit 3: got %v", err)
	}
	if got := n.Files(t, n.Home); !slices.Contains(got, "file") || !slices.Contains(got, ".ssh/") {
		t.Errorf("got %q", got)
	}
	if sshdtest.Root() {
		if out, _ := run(t, c, "touch /etc/passwd /root/x 2>&1; id -un"); !strings.HasSuffix(out, "conctest\n") || strings.Count(out, "ermission denied") != 2 {
			t.Errorf("the account's rights: got %q", out)
		}
		if text, err := os.ReadFile("/etc/passwd"); err != nil || bytes.Contains(text, []byte("conctest")) {
			t.Errorf("the machine's own passwd was written to (%v)", err)
		}
	}
}

func TestFiles(t *testing.T) {
	for _, external := range []bool{false, true} {
		t.Run(fmt.Sprintf("external=%v", external), func(t *testing.T) {
			n := sshdtest.Start(t, sshdtest.Options{ExternalSFTP: external})
			f, err := sftp.NewClient(dial(t, n))
			if err != nil {
				t.Fatal(err)
			}
			if wd, err := f.Getwd(); err != nil || wd != n.Home {
				t.Errorf("working directory: got %q, %v, want %q", wd, err, n.Home)
			}
			w, err := f.Create("uploaded")
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(w, "hello")
			if err := errors.Join(err, w.Sync(), w.Close()); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(n.Home, "uploaded")); string(got) != "hello" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestShells(t *testing.T) {
	for _, tt := range []struct {
		name    string
		o       sshdtest.Options
		command string
		want    string
		fails   bool
		root    bool
	}{
		{name: "noisy bash", o: sshdtest.Options{Shell: "/bin/bash", RC: "echo welcome"}, command: "echo done", want: "welcome\ndone\n"},
		{name: "nologin", root: true, o: sshdtest.Options{Shell: "/usr/sbin/nologin"}, command: "true", want: "This account is currently not available.\n", fails: true},
		{name: "rbash", root: true, o: sshdtest.Options{Shell: "/bin/rbash"}, command: "/bin/true", want: "restricted", fails: true},
		{name: "root", root: true, o: sshdtest.Options{Account: "root"}, command: "id -u; echo ~root", want: "0\n"},
		{name: "noexec", root: true, o: sshdtest.Options{NoExecHome: true}, command: "cp /bin/true x && ./x", want: "ermission denied", fails: true},
		{name: "full home", root: true, o: sshdtest.Options{HomeFS: 8}, command: "head -c 12000000 /dev/zero >x", want: "No space left", fails: true},
		{name: "full", root: true, o: sshdtest.Options{TinyFS: true}, command: "head -c 8000000 /dev/zero >tiny/x", want: "No space left", fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root {
				needRoot(t)
			}
			if _, err := os.Stat(cmp.Or(tt.o.Shell, "/bin/sh")); err != nil {
				t.Skip(err)
			}
			n := sshdtest.Start(t, tt.o)
			out, err := run(t, dial(t, n), tt.command)
			if !strings.Contains(out, tt.want) || (err != nil) != tt.fails {
				t.Errorf("got %q, %v, want %q", out, err, tt.want)
			}
			if tt.o.HomeFS > 0 {
				if st, err := os.Stat(filepath.Join(n.Home, "x")); err != nil || st.Size() == 0 || st.Size() > 8<<20 {
					t.Errorf("seen from here: %v, %v", st, err)
				}
			}
			if tt.o.TinyFS {
				if st, err := os.Stat(n.Inside(filepath.Join(n.Home, "tiny", "x"))); err != nil || st.Size() == 0 || st.Size() > 4<<20 {
					t.Errorf("seen from here: %v, %v", st, err)
				}
			}
		})
	}
}

// An external sftp-server is started by the login shell, whose rc file may
// print before it; internal-sftp is not.
func TestNoiseBeforeFiles(t *testing.T) {
	if _, err := os.Stat("/bin/bash"); err != nil {
		t.Skip(err)
	}
	for _, external := range []bool{false, true} {
		n := sshdtest.Start(t, sshdtest.Options{Shell: "/bin/bash", RC: "echo welcome", ExternalSFTP: external})
		s, err := dial(t, n).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		in, _ := s.StdinPipe()
		out, _ := s.StdoutPipe()
		if err := s.RequestSubsystem("sftp"); err != nil {
			t.Fatal(err)
		}
		// SSH_FXP_INIT, version 3
		if _, err := in.Write([]byte{0, 0, 0, 5, 1, 0, 0, 0, 3}); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 8)
		_, err = io.ReadFull(out, head)
		if noisy := string(head) == "welcome\n"; noisy != external || err != nil {
			t.Errorf("external=%v: got %q, %v", external, head, err)
		}
		_ = s.Close()
	}
}

func TestConfig(t *testing.T) {
	n := sshdtest.Start(t, sshdtest.Options{
		Config: []string{"MaxSessions 1", "AcceptEnv CONC_*"}, HostKeys: []string{"ed25519", "ecdsa"},
	})
	c := dial(t, n)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.NewSession(); err == nil {
		t.Error("MaxSessions 1: got a second session")
	}
	if err := s.Setenv("CONC_X", "y"); err != nil {
		t.Errorf("AcceptEnv: %v", err)
	}
	_ = s.Close()
	for _, algorithm := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256} {
		c, err := tryDial(t, n, algorithm)
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		_ = c.Close()
	}
	if _, err := tryDial(t, n, ssh.KeyAlgoRSASHA512); err == nil {
		t.Error("an rsa host key that was not asked for")
	}
}

// What the node started ends with the test, in whatever session it hides.
func TestNothingIsLeft(t *testing.T) {
	var pids []int
	t.Run("node", func(t *testing.T) {
		n := sshdtest.Start(t, sshdtest.Options{})
		c := dial(t, n)
		if _, err := run(t, c, `(setsid sleep 4242 >/dev/null 2>&1 </dev/null &)`); err != nil {
			t.Fatal(err)
		}
		for i := 0; len(pids) == 0 && i < 500; i++ {
			time.Sleep(5 * time.Millisecond)
			pids = n.Processes("sleep 4242")
		}
		if len(pids) != 1 {
			t.Fatalf("got %v, want the daemon's process", pids)
		}
	})
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !bytes.Contains(stat, []byte(") Z ")) {
			t.Errorf("process %d outlived its node", pid)
		}
	}
}
