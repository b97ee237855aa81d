package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/conc/internal/testnode"
)

// What a deploy has read of a source is known to the next one, which does not
// read it again.
func TestSourcesAreReadOnce(t *testing.T) {
	t.Parallel()
	source, err := filepath.Abs("../../go.mod") // it was left alone for long enough
	if err != nil {
		t.Fatal(err)
	}
	o := newOperator(t, inProcess(t, testnode.Options{}), "send = local deliver "+source+" to=~/app\n")
	o.want(0, "deploy", "web1")
	kept, err := os.ReadFile(filepath.Join(o.env.StateDir, "files.index"))
	if err != nil || !strings.Contains(string(kept), source) {
		t.Errorf("of %s nothing is kept: %q, %v", source, kept, err)
	}
}
