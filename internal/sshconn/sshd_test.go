package sshconn

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
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
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/testnode/sshdtest"
)

// startSSHD gives a real sshd and an operator with a home of their own, whose
// op_key test is let in.
func startSSHD(t *testing.T, so sshdtest.Options) operator {
	t.Helper()
	n := sshdtest.Start(t, so)
	home := filepath.Dir(n.SSHDir)
	return operator{
		node: &n.Node,
		t: Target{Node: "web1", User: n.User, Host: n.Host, Port: n.Port, OpKey: testnode.OpKey, Only: true,
			Files: opKeyFiles(home, testnode.OpKey), Known: []string{n.KnownHosts}},
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

// keyPair writes a private key and its .pub, and gives the public key.
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

// lock encrypts a private key file. ssh-keygen can do it in few rounds, which
// the library cannot: it takes seconds under the race detector.
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

// operatorKey is the private key that the node lets in.
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

func TestSSHDLogins(t *testing.T) {
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

// startAgent serves an ssh agent with keys, and gives the environment of its client.
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

func TestSSHDHostKeys(t *testing.T) {
	op := startSSHD(t, sshdtest.Options{HostKeys: []string{"rsa", "ecdsa", "ed25519"}, Config: []string{"MaxStartups 100"}})
	record, err := os.ReadFile(op.node.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(record)), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %q, want three lines", record)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	op.t.Known = []string{file}
	for _, line := range lines {
		kind := strings.Fields(line)[1]
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(strings.SplitN(line, " ", 2)[1]))
		if err != nil {
			t.Fatal(err)
		}
		t.Run("known by its "+kind, func(t *testing.T) {
			write(t, file, line+"\n")
			op.wantOK(t)
			keys, err := Scan(context.Background(), op.t, op.o)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range keys {
				want := New
				if k.Type == kind {
					want = Known
				}
				if k.State != want {
					t.Errorf("got %s %v, want %v", k.Type, k.State, want)
				}
			}
		})
		t.Run("pinned by its "+kind, func(t *testing.T) {
			op := op
			op.t.Known = []string{filepath.Join(t.TempDir(), "none")}
			op.t.HostKey = ssh.FingerprintSHA256(key)
			op.wantOK(t)
		})
		t.Run("changed "+kind, func(t *testing.T) {
			other := keyPair(t, filepath.Join(t.TempDir(), "k"), "", nil)
			write(t, file, "# mine\n"+xknownhosts.Line([]string{op.t.record()}, other)+"\n")
			op.wantRefusal(t, ChangedKey, "CHANGED", ssh.FingerprintSHA256(other), file+":2", "ssh-keygen -R '["+op.t.Host+"]:", "conc trust web1")
		})
	}
	t.Run("unknown", func(t *testing.T) {
		write(t, file, "")
		op.wantRefusal(t, UnknownKey, "not on record", op.node.HostKey[:7], "conc trust web1", "add this line to "+file, xknownhosts.Normalize(op.t.record())+" ssh-ed25519 AAAA")
	})
	t.Run("wrong pin", func(t *testing.T) {
		op := op
		op.t.HostKey = "SHA256:" + strings.Repeat("A", 43)
		op.wantRefusal(t, ChangedKey, "sshd.hostkey", "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", op.t.HostKey)
	})
	t.Run("scan and record", func(t *testing.T) {
		write(t, file, "other.example ssh-ed25519 AAAA no newline at the end")
		keys, err := Scan(context.Background(), op.t, op.o)
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) != 3 {
			t.Fatalf("got %+v, want three keys", keys)
		}
		for _, k := range keys {
			if k.State != New {
				t.Errorf("got %v, want new", k)
			}
		}
		got, err := Record(op.t, keys, op.o)
		if err != nil || got != file {
			t.Fatalf("got %q, %v, want %q", got, err, file)
		}
		op.wantOK(t)
		text, _ := os.ReadFile(file)
		if _, err := Record(op.t, keys, op.o); err != nil {
			t.Error(err)
		}
		again, _ := os.ReadFile(file)
		if string(again) != string(text) || !strings.HasPrefix(string(text), "other.example ssh-ed25519 AAAA no newline at the end\n[") {
			t.Errorf("got %q, then %q, want the old line and the new ones once", text, again)
		}
		if keygen, err := exec.LookPath("ssh-keygen"); err == nil {
			if out, err := exec.Command(keygen, "-F", xknownhosts.Normalize(op.t.record()), "-f", file).CombinedOutput(); err != nil || strings.Count(string(out), "found") != 3 {
				t.Errorf("got %v\n%s, want what ssh-keygen finds", err, out)
			}
		}
		changed, err := Scan(context.Background(), op.t, op.o)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range changed {
			if k.State != Known {
				t.Errorf("got %v, want known", k)
			}
		}
		other := keyPair(t, filepath.Join(t.TempDir(), "k"), "", nil)
		write(t, file, xknownhosts.Line([]string{op.t.record()}, other)+"\n")
		if changed, err = Scan(context.Background(), op.t, op.o); err != nil {
			t.Fatal(err)
		}
		for _, k := range changed {
			if k.State != Changed || k.Record != file+":1" {
				t.Errorf("got %v, want a changed key", k)
			}
		}
	})
}

func TestSSHDLimits(t *testing.T) {
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

func TestSSHDJump(t *testing.T) {
	inner := startSSHD(t, sshdtest.Options{})
	outer := startSSHD(t, sshdtest.Options{})
	op := inner
	hop := outer.t
	hop.Node = "bastion"
	op.t.Jump = []Target{hop}
	t.Run("both let us in", op.wantOK)
	t.Run("hop unknown", func(t *testing.T) {
		op := op
		hop := hop
		hop.Known = []string{filepath.Join(t.TempDir(), "none")}
		op.t.Jump = []Target{hop}
		op.wantRefusal(t, UnknownKey, "web1: its jump host bastion", "conc trust bastion")
	})
	t.Run("target unknown, scanned through the hop", func(t *testing.T) {
		op := op
		op.t.Known = []string{filepath.Join(t.TempDir(), "none")}
		op.wantRefusal(t, UnknownKey, "conc trust web1")
		keys, err := Scan(context.Background(), op.t, op.o)
		if err != nil {
			t.Fatal(err)
		}
		if len(keys) != 1 || keys[0].Fingerprint != inner.node.HostKey || keys[0].State != New {
			t.Errorf("got %+v, want %s", keys, inner.node.HostKey)
		}
	})
	t.Run("target closed", func(t *testing.T) {
		op := op
		op.t.Port = closedPort(t)
		op.wantRefusal(t, Unreachable, "the jump host cannot reach it", "refused")
	})
	t.Run("the user's own ssh goes the same way", func(t *testing.T) {
		program, err := exec.LookPath("ssh")
		if err != nil {
			t.Skip("no ssh")
		}
		for name, target := range map[string]Target{"direct": inner.t, "through a hop": op.t, "two hops": func() Target {
			t := op.t
			t.Jump = []Target{hop, inner.t}
			return t
		}()} {
			cmd := exec.Command(program, append([]string{"-F", "none", "-o", "BatchMode=yes"}, append(target.SSHArgs(), "echo here")...)...)
			// The inner ssh of a hop must not read this user's file either.
			cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK=")
			if out, err := cmd.Output(); err != nil || string(out) != "here\n" {
				stderr := ""
				if e, ok := err.(*exec.ExitError); ok {
					stderr = string(e.Stderr)
				}
				t.Errorf("%s: got %q, %v, want here\n%s\n%q", name, out, err, stderr, target.SSHArgs())
			}
		}
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

func TestSSHDPassword(t *testing.T) {
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
