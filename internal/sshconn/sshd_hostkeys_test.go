package sshconn

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"example.org/conc/internal/testnode/sshdtest"
)

func TestSSHDHostKeys(t *testing.T) {
	t.Parallel()
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
