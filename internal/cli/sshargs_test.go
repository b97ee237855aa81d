package cli

import (
	"testing"

	"example.org/conc/internal/testnode"
)

// ssh looks in the account's home, whatever $HOME says: it is told of the files
// in the one that conc goes by.
func TestShellWithAnotherHome(t *testing.T) {
	needSSH(t)
	o := newOperator(t, inProcess(t, testnode.Options{}), "a = remote run true\n")
	if r := o.piped("pwd\n", "shell", "web1"); r.code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", r.code, r)
	}
}
