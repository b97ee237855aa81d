package sshconn

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"example.org/conc/internal/testnode/sshdtest"
)

func TestSSHDLogins(t *testing.T) {
	t.Parallel()
	op := startSSHD(t, sshdtest.Options{RC: "echo welcome; echo back >&2", ExternalSFTP: true, Shell: "/bin/bash"})
	own := op.operatorKey(t)
	t.Run("op_key", op.wantOK)
	t.Run("SFTP through a login shell that prints", func(t *testing.T) {
		f, err := op.dial(t).SFTP(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Stat(op.node.Home); err != nil {
			t.Error(err)
		}
		_ = f.Close()
	})
	t.Run("passphrase, asked for once for two connections", func(t *testing.T) {
		op := op
		op.o.Home = t.TempDir()
		path := filepath.Join(op.o.Home, ".ssh", "id_ed25519-test")
		keyPair(t, path, "a b'\"$\\ü", own)
		op.t.Files = []string{path}
		op.wantRefusal(t, NoAuth, path+" is encrypted", "ssh-add "+path)
		var asked []string
		answers := []string{"wrong", "a b'\"$\\ü"}
		op.o.Prompt = func(_ context.Context, q string) (string, error) {
			asked = append(asked, q)
			a := answers[0]
			answers = answers[1:]
			return a, nil
		}
		c := op.dial(t)
		ch, err := c.dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		ch.close()
		if len(asked) != 2 || !strings.Contains(asked[0], path) {
			t.Errorf("got the questions %q, want two", asked)
		}
	})
	t.Run("wrong passphrase three times", func(t *testing.T) {
		op := op
		op.o.Home = t.TempDir()
		path := filepath.Join(op.o.Home, ".ssh", "id_ed25519-test")
		keyPair(t, path, "right", own)
		op.t.Files = []string{path}
		asked := 0
		op.o.Prompt = func(context.Context, string) (string, error) { asked++; return "wrong", nil }
		op.wantRefusal(t, NoAuth, "wrong passphrase, 3 times")
		if asked != 3 {
			t.Errorf("got %d questions, want 3", asked)
		}
	})
	t.Run("ssh agent instead of the passphrase", func(t *testing.T) {
		op := op
		op.o.Home = t.TempDir()
		path := filepath.Join(op.o.Home, ".ssh", "id_ed25519-test")
		keyPair(t, path, "secret", own)
		op.t.Files = []string{path}
		op.o.Getenv = startAgent(t, agent.AddedKey{PrivateKey: own})
		op.wantOK(t)
	})
	t.Run("key that only the ssh agent has", func(t *testing.T) {
		op := op
		op.o.Home = t.TempDir()
		op.t.Files, op.t.OpKey, op.t.Only = nil, "", false
		op.o.Getenv = startAgent(t, agent.AddedKey{PrivateKey: own})
		op.wantOK(t)
		op.o.Getenv = func(string) string { return "" }
		op.wantRefusal(t, NoAuth, "no key to offer", "op_key")
	})
	t.Run("default key beside an encrypted one", func(t *testing.T) {
		op := op
		op.o.Home = t.TempDir()
		keyPair(t, filepath.Join(op.o.Home, ".ssh", "id_rsa"), "", own)
		keyPair(t, filepath.Join(op.o.Home, ".ssh", "id_ed25519"), "secret", nil)
		op.t.Files, op.t.OpKey, op.t.Only = nil, "", false
		op.wantOK(t)
	})
	t.Run("too many keys", func(t *testing.T) {
		op := op
		op.t.Files, op.t.OpKey, op.t.Only = nil, "", false
		op.o.Home = t.TempDir()
		var keys []agent.AddedKey
		for range 10 {
			_, k, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, agent.AddedKey{PrivateKey: k, Comment: "a\x1b[2Jb"})
		}
		op.o.Getenv = startAgent(t, keys...)
		op.wantRefusal(t, NoAuth, "op_key", "6 keys")
	})
	t.Run("a key that is not there", func(t *testing.T) {
		op := op
		op.o.Home = t.TempDir()
		path := filepath.Join(op.o.Home, ".ssh", "id_ed25519-test")
		keyPair(t, path, "", nil)
		op.t.Files = []string{path}
		op.wantRefusal(t, NoAuth, "accepts none of the keys offered: "+path, "ssh-copy-id -i "+path+".pub -p")
	})
	t.Run("users are literal", func(t *testing.T) {
		for _, u := range []string{"a b", "-oProxyCommand=x", "$(id)"} {
			op := op
			op.t.User = u
			op.wantRefusal(t, NoAuth, "not let in")
		}
	})
}

func startAgent(t *testing.T, keys ...agent.AddedKey) func(string) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(k); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "conc-agent-*") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = agent.ServeAgent(ring, c); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait(); _ = os.RemoveAll(dir) })
	return func(key string) string {
		if key == "SSH_AUTH_SOCK" {
			return path
		}
		return ""
	}
}

func TestSSHDCertificates(t *testing.T) {
	t.Parallel()
	_, caKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ssh.NewSignerFromKey(caKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pub")
	write(t, file, string(ssh.MarshalAuthorizedKey(ca.PublicKey())))
	op := startSSHD(t, sshdtest.Options{Config: []string{"TrustedUserCAKeys " + file, "AuthorizedKeysFile none"}})
	op.o.Home = t.TempDir()
	path := filepath.Join(op.o.Home, ".ssh", "id_ed25519-test")
	pub := keyPair(t, path, "", nil)
	op.t.Files = []string{path}
	op.wantRefusal(t, NoAuth, "accepts none")
	cert := &ssh.Certificate{Key: pub, CertType: ssh.UserCert, KeyId: "test", ValidPrincipals: []string{op.t.User}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	write(t, path+"-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
	op.wantOK(t)
}

func TestSSHDPassword(t *testing.T) {
	t.Parallel()
	// The hash of "päss word", by openssl passwd -6.
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl to make a password's hash with")
	}
	hash, err := exec.Command(openssl, "passwd", "-6", "-salt", "conc", "päss word").Output()
	if err != nil {
		t.Skip(err)
	}
	op := startSSHD(t, sshdtest.Options{ShadowHash: strings.TrimSpace(string(hash)), Config: []string{"PasswordAuthentication yes", "UsePAM no"}})
	op.o.Home = t.TempDir()
	op.t.Files, op.t.OpKey, op.t.Only = nil, "", false
	var asked []string
	answer := "päss word"
	op.o.Prompt = func(_ context.Context, q string) (string, error) {
		asked = append(asked, q)
		if answer == "" {
			return "", nil
		}
		return answer, nil
	}
	op.wantOK(t)
	if want := fmt.Sprintf("Password for %s:", op.t); len(asked) != 1 || asked[0] != want {
		t.Errorf("got the questions %q, want %q", asked, want)
	}
	answer = "wrong"
	op.wantRefusal(t, NoAuth, "not let in")
	answer = ""
	op.wantRefusal(t, NoAuth, "none was given")
}

// TestSSHDKeyFormats logs in with what ssh-keygen makes.
func TestSSHDKeyFormats(t *testing.T) {
	t.Parallel()
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("no ssh-keygen")
	}
	op := startSSHD(t, sshdtest.Options{})
	for name, args := range map[string][]string{
		"ed25519":                  {"-t", "ed25519", "-N", ""},
		"ecdsa":                    {"-t", "ecdsa", "-b", "384", "-N", ""},
		"rsa":                      {"-t", "rsa", "-b", "2048", "-N", ""},
		"rsa, encrypted":           {"-t", "rsa", "-b", "2048", "-N", "a phrase", "-a", "1"},
		"rsa, PEM":                 {"-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""},
		"ecdsa, PEM, encrypted":    {"-t", "ecdsa", "-m", "PEM", "-N", "a phrase"},
		"ed25519 without its .pub": {"-t", "ed25519", "-N", "a phrase", "-a", "1"},
		"PEM without its .pub":     {"-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "a phrase"},
	} {
		t.Run(name, func(t *testing.T) {
			op := op
			op.o.Home = t.TempDir()
			path := filepath.Join(op.o.Home, ".ssh", "id_"+args[1]+"-test")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(keygen, append(args, "-q", "-f", path)...).CombinedOutput(); err != nil {
				t.Fatalf("ssh-keygen: %v\n%s", err, out)
			}
			pub, err := os.ReadFile(path + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			authorized, err := os.OpenFile(filepath.Join(op.node.Home, ".ssh", "authorized_keys"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := authorized.Write(pub); err != nil {
				t.Fatal(err)
			}
			if err := authorized.Close(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(name, "without") {
				remove(t, path+".pub")
			}
			op.o.Prompt = func(context.Context, string) (string, error) { return "a phrase", nil }
			op.t.Files = opKeyFiles(op.o.Home, "test")
			op.wantOK(t)
		})
	}
}
