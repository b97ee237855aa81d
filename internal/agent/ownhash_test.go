package agent

import (
	"path/filepath"
	"testing"
)

// A hash that somebody knows is not computed once more: it costs a fifth of a run on
// a throwaway node.
func TestOwnHash(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "conc")
	l := &launch{Options: Options{Executable: missing, Hash: "ab12"}}
	if got, err := l.own(); got != "ab12" || err != nil {
		t.Errorf("got %q, %v, want that which is known", got, err)
	}
	l.Hash = ""
	if got, err := l.own(); err == nil {
		t.Errorf("got %q of a file that is not there", got)
	}
}
