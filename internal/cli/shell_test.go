package cli

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// needSSH skips a test where there is no ssh program to be used.
func needSSH(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		if os.Getenv("CONC_REQUIRE_SSHD") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// sshOperator is an operator whose own ssh program knows the node: it looks for
// its files in the real home directory, unless it is told of others.
func sshOperator(t *testing.T, list string) *operator {
	o := newOperator(t, inProcess(t, testnode.Options{}), list)
	config := "UserKnownHostsFile " + filepath.Join(o.home, ".ssh", "known_hosts") + "\n"
	if err := os.WriteFile(filepath.Join(o.home, ".ssh", "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// piped runs a command line whose standard input is the text.
func (o *operator) piped(text string, args ...string) ran {
	var out, errs bytes.Buffer
	p := &program{streams: Streams{In: strings.NewReader(text), Out: &out, Err: &errs}, env: o.env}
	code := p.main(context.Background(), o.args(args))
	return ran{code: code, out: out.String(), err: errs.String()}
}

// The user's own ssh program logs in to the node: into the bundle while one is
// open. Its exit code is ours.
func TestShell(t *testing.T) {
	needSSH(t)
	for name, bundle := range map[string]string{"plain": "shop-bundle", "to be quoted": "it's a $bundle"} {
		t.Run(name, func(t *testing.T) {
			o := sshOperator(t, "")
			list := counted(t.TempDir(), "", "")
			o.write("deploy.ini", o.ini(list, map[string]string{"bundle": bundle}))
			r := o.piped("pwd; exit 3\n", "shell", "web1")
			if r.code != 3 || !strings.Contains(r.out, o.node.Home+"\n") || !strings.Contains(r.err, "no bundle is open") {
				t.Errorf("without a bundle: got exit code %d\n%s", r.code, r)
			}
			o.want(0, "deploy", "web1", "--to", "a")
			r = o.piped("pwd\n", "shell", "web1")
			if r.code != 0 || !strings.Contains(r.out, o.node.Home+"/"+bundle+"\n") {
				t.Errorf("got exit code %d\n%s", r.code, r)
			}
		})
	}
	o := sshOperator(t, "a = remote run true\n")
	o.want(2, "shell")
	o.want(5, "shell", "nobody")
	o.write("deploy.ini", o.ini("a = remote run true\n", map[string]string{"sshd.port": "1"}))
	if r := o.piped("", "shell", "web1"); r.code != 255 {
		t.Errorf("nobody there: got exit code %d, want 255\n%s", r.code, r)
	}
	t.Setenv("PATH", t.TempDir())
	if r := o.piped("", "shell", "web1"); r.code != 6 || !strings.Contains(r.err, "no ssh program") {
		t.Errorf("no ssh: got exit code %d\n%s", r.code, r)
	}
}
