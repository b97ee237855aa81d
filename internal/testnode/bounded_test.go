package testnode_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/pkg/sftp"

	"example.org/conc/internal/testnode"
)

// A disk that is full refuses what is over its limit, in the words of an sftp-server,
// and takes everything else.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var limit atomic.Int64
	n := start(t, testnode.Options{Full: limit.Load})
	c, err := sftp.NewClient(dial(t, n, n.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	f, err := c.Create("file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(at int64) error {
		_, err := f.WriteAt(make([]byte, 100), at)
		return err
	}
	if err := write(1000); err != nil {
		t.Error(err)
	}
	limit.Store(500)
	if err := write(400); err != nil {
		t.Errorf("up to the limit: %v", err)
	}
	var status *sftp.StatusError
	if err := write(401); !errors.As(err, &status) || status.FxCode() != sftp.ErrSSHFxFailure {
		t.Errorf("over the limit: got %v, want a failure", err)
	}
	if vfs, err := c.StatVFS("."); runtime.GOOS == "linux" && (err != nil || vfs.Bavail != 0) {
		t.Errorf("got %+v, %v, want no room", vfs, err)
	}
	if fi, err := c.Stat("file"); err != nil || fi.Size() != 1100 {
		t.Errorf("got %v, %v", fi, err)
	}
	limit.Store(0)
	if err := write(5000); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if _, err := os.Stat(filepath.Join(n.Home, "file")); err != nil {
		t.Error(err)
	}
}
