package sshconn

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"example.org/conc/internal/testnode/sshdtest"
)

func TestSSHDJump(t *testing.T) {
	t.Parallel()
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
