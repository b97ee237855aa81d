package sshconn

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

func startSSHD(t *testing.T, so sshdtest.Options) operator {
	t.Helper()
	n := sshdtest.Start(t, so)
	home := filepath.Dir(n.SSHDir)
	return operator{
		node: &n.Node,
		t: Target{
			Node: "web1", User: n.User, Host: n.Host, Port: n.Port, OpKey: testnode.OpKey, Only: true,
			Files: opKeyFiles(home, testnode.OpKey), Known: []string{n.KnownHosts},
		},
		o: Options{Home: home, Getenv: func(string) string { return "" }},
	}
}

func (op operator) wantOK(t *testing.T) {
	t.Helper()
	c, err := Dial(context.Background(), op.t, op.o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if out, err := run(c, "echo here"); err != nil || !strings.HasSuffix(out, "here\n") {
		t.Errorf("got %q, %v, want here", out, err)
	}
}

func (op operator) wantRefusal(t *testing.T, kind Kind, words ...string) {
	t.Helper()
	c, err := Dial(context.Background(), op.t, op.o)
	if err == nil {
		_ = c.Close()
		t.Fatal("got a connection, want none")
	}
	wantError(t, err, kind, words...)
}

func keyPair(t *testing.T, path, passphrase string, key any) ssh.PublicKey {
	t.Helper()
	if key == nil {
		_, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		key = private
	}
	block, err := ssh.MarshalPrivateKey(key.(ed25519.PrivateKey), "test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(pem.EncodeToMemory(block)))
	write(t, path+".pub", string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	if passphrase != "" {
		lock(t, path, passphrase, key.(ed25519.PrivateKey))
	}
	return signer.PublicKey()
}

func lock(t *testing.T, path, passphrase string, key ed25519.PrivateKey) {
	t.Helper()
	if keygen, err := exec.LookPath("ssh-keygen"); err == nil {
		if out, err := exec.Command(keygen, "-p", "-a", "1", "-P", "", "-N", passphrase, "-f", path).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		return
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "test", []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(pem.EncodeToMemory(block)))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (op operator) operatorKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	data, err := os.ReadFile(op.node.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	return *key.(*ed25519.PrivateKey)
}

func TestSSHDLimits(t *testing.T) {
	t.Parallel()
	t.Run("MaxSessions 1", func(t *testing.T) {
		op := startSSHD(t, sshdtest.Options{Config: []string{"MaxSessions 1"}})
		c := op.dial(t)
		p, err := c.Start(context.Background(), "cat")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				f, err := c.SFTP(context.Background())
				if err != nil {
					t.Errorf("SFTP %d: %v", i, err)
					return
				}
				if _, err := f.Stat(op.node.Home); err != nil {
					t.Error(err)
				}
				_ = f.Close()
			})
		}
		wg.Wait()
		_ = p.Stdin().Close()
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("MaxStartups 1:100:1", func(t *testing.T) {
		op := startSSHD(t, sshdtest.Options{Config: []string{"MaxStartups 1:100:1", "LoginGraceTime 2"}})
		// Someone else holds the only place.
		blocker, err := net.Dial("tcp", op.node.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer blocker.Close()
		op.o.Retry = 1
		op.wantRefusal(t, Unreachable, "MaxStartups")
		op.o.Retry = 0
		op.wantOK(t) // it is given up after 2 s
	})
	t.Run("no forwarding", func(t *testing.T) {
		op := startSSHD(t, sshdtest.Options{Config: []string{"AllowTcpForwarding no"}})
		op.t.Jump = []Target{{User: op.t.User, Host: op.t.Host, Port: op.t.Port, OpKey: op.t.OpKey, Files: op.t.Files, Known: op.t.Known}}
		op.wantRefusal(t, Unreachable, "AllowTcpForwarding")
	})
}

func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
