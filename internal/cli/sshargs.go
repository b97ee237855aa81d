package cli

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"

	"example.org/conc/internal/sshconn"
)

// sshArgs are the arguments with which conc itself starts the user's own ssh
// program. ssh looks for its files in the home that the account has, whatever
// $HOME says, and conc in $HOME: where these are two, ssh is told conc's.
func (p *program) sshArgs(t sshconn.Target) []string {
	if u, err := user.Current(); err != nil || u.HomeDir != p.env.Home {
		t = p.withFiles(t)
	}
	return t.SSHArgs()
}

// withFiles names the files that conc uses for a target by itself.
func (p *program) withFiles(t sshconn.Target) sshconn.Target {
	ssh := filepath.Join(p.env.Home, ".ssh")
	if len(t.Known) == 0 {
		t.Known = []string{filepath.Join(ssh, "known_hosts")}
	}
	if len(t.Files) == 0 {
		for _, key := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			if _, err := os.Stat(filepath.Join(ssh, key)); err == nil {
				t.Files = append(t.Files, filepath.Join(ssh, key))
			}
		}
	}
	t.Jump = slices.Clone(t.Jump)
	for i, hop := range t.Jump {
		t.Jump[i] = p.withFiles(hop)
	}
	return t
}
