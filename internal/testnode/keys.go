package testnode

import (
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// makeKeys makes the operator's .ssh with a key pair in it.
func (n *Node) makeKeys(sshDir string) (ssh.PublicKey, error) {
	n.SSHDir = sshDir
	n.KeyFile = filepath.Join(sshDir, "id_ed25519-"+n.OpKey)
	n.KnownHosts = filepath.Join(sshDir, "known_hosts")
	if err := os.MkdirAll(sshDir, 0o700); err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "conc test node")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.KeyFile, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(n.KeyFile+".pub", ssh.MarshalAuthorizedKey(key), 0o644)
}

// MakeKeys makes the operator's .ssh in sshDir, sets SSHDir, KeyFile and
// KnownHosts, and gives the line for authorized_keys. It is for a fixture that
// brings a server of its own.
func (n *Node) MakeKeys(sshDir string) (authorized []byte, err error) {
	if n.OpKey == "" {
		n.OpKey = OpKey
	}
	key, err := n.makeKeys(sshDir)
	if err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(key), nil
}

// Trust sets the node's host key, and records it in KnownHosts for addr.
func (n *Node) Trust(addr string, key ssh.PublicKey) error {
	n.HostKey = ssh.FingerprintSHA256(key)
	n.hostLine = string(ssh.MarshalAuthorizedKey(key))
	return n.record(addr)
}

// record appends the host key to KnownHosts, for addr.
func (n *Node) record(addr string) error {
	f, err := os.OpenFile(n.KnownHosts, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "%s %s", knownhosts.Normalize(addr), n.hostLine); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// newHostKey makes the key that a node shows.
func newHostKey() (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}
