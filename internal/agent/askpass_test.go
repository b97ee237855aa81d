package agent

import (
	"bytes"
	"os"
	"testing"
)

// The helper gets the password once; whoever asks again gets nothing, and is
// counted.
func TestAskpassAnswersOnce(t *testing.T) {
	a, err := offer([]byte("pä ss"))
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(a.dir)
	for path, want := range map[string]os.FileMode{a.dir: 0o700, a.socket(): 0o600} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want mode %o", path, fi.Mode(), err, want)
		}
	}
	var out bytes.Buffer
	if err := Askpass(a.socket(), &out); err != nil || out.String() != "pä ss\n" {
		t.Errorf("got %q, %v, want the password", out.String(), err)
	}
	if a.again() {
		t.Error("it was asked once")
	}
	out.Reset()
	if err := Askpass(a.socket(), &out); err == nil || out.Len() > 0 || !a.again() {
		t.Errorf("the second time: got %q, %v, want an error", out.String(), err)
	}
	a.close()
	if exists(a.dir) || Askpass(a.socket(), &out) == nil {
		t.Error("it is there after its end")
	}
}
