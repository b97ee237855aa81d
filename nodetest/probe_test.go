package nodetest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.org/conc/nodetest"
)

// The tests of this file are those that gotest_test.go runs as on a node. A
// plain go test skips each of them.

func TestProbeSub(t *testing.T) {
	nodetest.Node(t)
	t.Run("good", func(t *testing.T) { t.Attr("key", "value") })
	t.Run("bad one", func(t *testing.T) {
		fmt.Print("no newline at its end")
		t.Error("wrong")
	})
	t.Run("skipped", func(t *testing.T) { t.Skip("not\ntoday") })
	for range 100 {
		t.Log("a line")
	}
}

func TestProbeParallel(t *testing.T) {
	nodetest.Node(t)
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			time.Sleep(10 * time.Millisecond)
			t.Error("of " + name)
		})
	}
}

func TestProbePanic(t *testing.T) {
	nodetest.Node(t)
	for range 100 {
		t.Log("before")
	}
	panic("at the disco")
}

func TestProbeSecondPanic(t *testing.T) { nodetest.Node(t) }

func TestProbeExit(t *testing.T) {
	nodetest.Node(t)
	fmt.Println("about to go")
	os.Exit(3)
}

func TestProbeHang(t *testing.T) {
	nodetest.Node(t)
	if err := exec.Command("sleep", "1234").Start(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "closed")
	if err := os.MkdirAll(filepath.Join(dir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Hour)
}

func TestProbeLevelLoad(t *testing.T) {
	nodetest.Level(t, nodetest.Load)
	t.Run("sub", func(t *testing.T) { nodetest.Node(t) })
}

func TestProbeLevelNone(t *testing.T) { nodetest.Node(t) }

func TestProbeLevelUnknown(t *testing.T) { nodetest.Level(t, "lod") }

func TestProbeNode(t *testing.T) {
	n := nodetest.Node(t)
	t.Errorf("%s: port %q password %q", n.Name(), n.Get("port"), n.Get("password"))
	t.Errorf("in %v", os.Environ())
}

func TestProbeSecret(t *testing.T) { t.Error("it is <" + nodetest.Secret(t, "Password") + ">") }

func TestProbeSecretOfAnother(t *testing.T) {
	nodetest.Node(t)
	t.Error("it has found s3cret, with a space")
}

func TestProbeNoSecret(t *testing.T) { t.Error("it is <" + nodetest.Secret(t, "port") + ">") }

func TestProbeSecretOfNone(t *testing.T) { nodetest.Secret(t, "none") }

func TestProbeSudo(t *testing.T) {
	r := nodetest.Sudo(t, "sh", "-c", "pwd; printf '\\377'; echo err >&2; exit 7")
	t.Errorf("%q %q %d", r.Stdout, r.Stderr, r.Exit)
	r = nodetest.Sudo(t, "sh", "-c", "kill -9 $$")
	t.Errorf("killed: %d", r.Exit)
	t.Cleanup(func() { t.Errorf("cleanup: %q", nodetest.Sudo(t, "echo", "yes").Stdout) })
}

func TestProbeSudoMissing(t *testing.T) { nodetest.Sudo(t, "/no/such/program") }

func TestProbeSudoLoud(t *testing.T) { nodetest.Sudo(t, "sh", "-c", "yes | head -c 3000000") }
