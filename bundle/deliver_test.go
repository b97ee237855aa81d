package bundle

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

const testRun = "01JD0000000000000000ABCDEF"

// far is a node without ssh: a real SFTP server at the other end of a pipe, and
// the agent's functions called directly.
type far struct {
	home, bundle string
	store        *Store
	asked        int
	opened       atomic.Int32
	line         func(net.Conn) net.Conn // spoils the client's end of the line; nil: as it is
	lacked       func([]Want)            // between the answer and the transfer
	answer       func(Query) (Answer, error)
	settling     func(Settlement) error
}

func newFar(t *testing.T) *far {
	home := t.TempDir()
	b := filepath.Join(home, "bundle")
	if err := os.Mkdir(b, 0o755); err != nil {
		t.Fatal(err)
	}
	return &far{home: home, bundle: b, store: &Store{Home: home, Run: testRun, Limit: 1 << 30}}
}

func (f *far) Home() string   { return f.home }
func (f *far) Bundle() string { return f.bundle }

func (f *far) Spare(ctx context.Context) (*sftp.Client, error) { return f.SFTP(ctx) }
func (f *far) SFTP(context.Context) (*sftp.Client, error) {
	f.opened.Add(1)
	here, there := net.Pipe()
	server, err := sftp.NewServer(there)
	if err != nil {
		return nil, err
	}
	go func() { _ = server.Serve() }()
	if f.line != nil {
		here = f.line(here)
	}
	return sftp.NewClientPipe(here, here, sftp.MaxPacketUnchecked(255<<10))
}

func (f *far) Ask(ctx context.Context, q Query) (Answer, error) {
	f.asked++
	do := f.answer
	if do == nil {
		do = func(q Query) (Answer, error) { return f.store.Ask(ctx, q) }
	}
	a, err := do(q)
	if err == nil && f.lacked != nil {
		f.lacked(a.Wants)
	}
	return a, err
}

func (f *far) Settle(ctx context.Context, s Settlement) error {
	if f.settling != nil {
		return f.settling(s)
	}
	return f.store.Settle(ctx, s)
}

// again is another session of the same node.
func (f *far) again() {
	f.store.Close()
	f.store = &Store{Home: f.home, Run: testRun, Limit: f.store.Limit}
}

// deliver is Deliver to the node's bundle.
func (f *far) deliver(t *testing.T, sources ...Source) (Sent, error) {
	t.Helper()
	return Deliver(t.Context(), f, f.bundle, sources, Options{})
}

func write(t *testing.T, name string, data []byte, mode fs.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.Read(p)
	return p
}

// leftovers lists conc's temporary files below dir.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(p), ".conc-") {
			found = append(found, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestDeliverSizesAndModes(t *testing.T) {
	f := newFar(t)
	src := t.TempDir()
	var sources []Source
	want := map[string][]byte{}
	var total int64
	for i, size := range []int{0, 1, 32767, 32768, 32769, 1 << 20, 5<<20 + 3} {
		mode := []fs.FileMode{0o644, 0o755, 0o600}[i%3]
		data := noise(size)
		name := fmt.Sprintf("sub%d/file-%d", i%2, size)
		sources = append(sources, Source{Local: write(t, filepath.Join(src, name), data, mode), Path: name})
		want[name] = data
		total += int64(size)
	}
	sources[1].Mode = 0o640
	var done int64
	sent, err := Deliver(t.Context(), f, f.bundle, sources, Options{Progress: func(d, of int64) {
		if d < done || of != total {
			t.Errorf("progress: got %d of %d after %d, want it to grow, of %d", d, of, done, total)
		}
		done = d
	}})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Sent{Files: 7, Bytes: total, SentFiles: 7, SentBytes: total}); sent != want {
		t.Errorf("got %+v, want %+v", sent, want)
	}
	if done != total {
		t.Errorf("progress ended at %d, want %d", done, total)
	}
	for i, s := range sources {
		got, err := os.ReadFile(filepath.Join(f.bundle, s.Path))
		if err != nil || !bytes.Equal(got, want[s.Path]) {
			t.Errorf("%s: got %d bytes, %v, want %d", s.Path, len(got), err, len(want[s.Path]))
		}
		mode := []fs.FileMode{0o644, 0o640, 0o600}[i%3]
		if i%3 == 1 && i != 1 {
			mode = 0o755
		}
		if info, _ := os.Stat(filepath.Join(f.bundle, s.Path)); info.Mode() != mode {
			t.Errorf("%s: got mode %v, want %v", s.Path, info.Mode(), mode)
		}
	}
	if left := leftovers(t, f.home); left != nil {
		t.Errorf("left over: %v", left)
	}

	// Again: nothing travels but one mode.
	if err := os.Chmod(filepath.Join(f.bundle, sources[0].Path), 0o600); err != nil {
		t.Fatal(err)
	}
	opened := f.opened.Load()
	sent, err = f.deliver(t, sources...)
	if err != nil || sent.SentFiles != 0 || sent.Files != 7 || f.opened.Load() != opened {
		t.Errorf("second delivery: got %+v, %v, %d channels, want nothing sent over none", sent, err, f.opened.Load()-opened)
	}
	if info, _ := os.Stat(filepath.Join(f.bundle, sources[0].Path)); info.Mode() != 0o644 {
		t.Errorf("second delivery: got mode %v, want 0644", info.Mode())
	}
}

func TestDeliverManySmallFiles(t *testing.T) {
	f := newFar(t)
	src := t.TempDir()
	var sources []Source
	for i := range 1500 {
		name := fmt.Sprintf("package/lib/part-%02d/module-%04d.py", i%20, i)
		sources = append(sources, Source{Local: write(t, filepath.Join(src, name), []byte(name), 0o644), Path: name})
	}
	if sent, err := f.deliver(t, sources...); err != nil || sent.SentFiles != 1500 {
		t.Fatalf("got %+v, %v, want 1500 files sent", sent, err)
	}
	for _, s := range sources {
		if got, err := os.ReadFile(filepath.Join(f.bundle, s.Path)); string(got) != s.Path {
			t.Fatalf("%s: got %q, %v", s.Path, got, err)
		}
	}
}

func TestDeliverReplaces(t *testing.T) {
	f := newFar(t)
	dest := filepath.Join(f.bundle, "app.conf")
	source := []Source{{Local: write(t, filepath.Join(t.TempDir(), "new"), []byte("new"), 0o644), Path: "app.conf"}}
	elsewhere := write(t, filepath.Join(f.home, "elsewhere"), []byte("not mine"), 0o644)

	for _, c := range []struct {
		name string
		old  func() error
		why  string
	}{
		{"a file of the same size", func() error { return os.WriteFile(dest, []byte("old"), 0o600) }, ""},
		{"an unreadable file", func() error { return os.WriteFile(dest, []byte("old"), 0) }, ""},
		{"a symlink", func() error { return os.Symlink(elsewhere, dest) }, ""},
		{"a directory", func() error { return os.Mkdir(dest, 0o755) }, "it is a directory on the node"},
		{"a FIFO", func() error { return syscall.Mkfifo(dest, 0o600) }, "it is a FIFO on the node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.RemoveAll(dest); err != nil {
				t.Fatal(err)
			}
			if err := c.old(); err != nil {
				t.Fatal(err)
			}
			_, err := f.deliver(t, source...)
			if c.why != "" {
				var way *InTheWayError
				if !errors.As(err, &way) || way.Path != dest || way.Why != c.why {
					t.Fatalf("got %v, want %s: %s", err, dest, c.why)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(dest)
			if err != nil || !info.Mode().IsRegular() || info.Mode() != 0o644 {
				t.Errorf("got %v, %v, want a regular file 0644", info, err)
			}
			if got, _ := os.ReadFile(dest); string(got) != "new" {
				t.Errorf("got %q, want %q", got, "new")
			}
			if got, _ := os.ReadFile(elsewhere); string(got) != "not mine" {
				t.Errorf("the link's target: got %q", got)
			}
		})
	}
}

func TestDeliverSourceTrouble(t *testing.T) {
	dir := t.TempDir()
	fifo, dirSrc := filepath.Join(dir, "fifo"), filepath.Join(dir, "d")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Mkdir(dirSrc, 0o755)); err != nil {
		t.Fatal(err)
	}
	good := write(t, filepath.Join(dir, "good"), []byte("x"), 0o644)
	for _, c := range []struct{ name, local, path, want string }{
		{"missing", filepath.Join(dir, "gone"), "a", "gone"},
		{"a FIFO", fifo, "a", "a FIFO, not a regular file"},
		{"a directory", dirSrc, "a", "a directory, not a regular file"},
		{"climbs out", good, "../a", "not a path below"},
		{"absolute", good, "/a", "not a path below"},
		{"newline", good, "a\nb", "control character"},
		{"not UTF-8", good, "a\xff", "not UTF-8"},
		{"the owner record", good, OwnerFile, "conc's own"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFar(t)
			_, err := f.deliver(t, Source{Local: c.local, Path: c.path})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if f.asked != 0 {
				t.Errorf("the node was asked %d times, want 0", f.asked)
			}
		})
	}
}

func TestDeliverFileThatChanges(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(name string) error
	}{
		{"grows", func(n string) error { return appendTo(n, "more") }},
		{"shrinks", func(n string) error { return os.Truncate(n, 10) }},
		{"is replaced", func(n string) error {
			return errors.Join(os.WriteFile(n+"2", bytes.Repeat([]byte{'x'}, 100_000), 0o644), os.Rename(n+"2", n))
		}},
		{"is rewritten", func(n string) error { return os.WriteFile(n, noise(100_000), 0o644) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFar(t)
			local := write(t, filepath.Join(t.TempDir(), "a"), noise(100_000), 0o644)
			old := write(t, filepath.Join(f.bundle, "a"), []byte("old"), 0o644)
			time.Sleep(5 * time.Millisecond) // a coarse clock must see that it was touched
			f.lacked = func([]Want) {
				if err := c.do(local); err != nil {
					t.Error(err)
				}
			}
			_, err := f.deliver(t, Source{Local: local, Path: "a"})
			if err == nil || err.Error() != local+" changed while it was sent" {
				t.Errorf("got %v", err)
			}
			if got, _ := os.ReadFile(old); string(got) != "old" {
				t.Errorf("the destination: got %d bytes, want the old ones", len(got))
			}
			if left := leftovers(t, f.home); left != nil {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// cutting is a line that breaks, or falls silent, after some bytes were sent.
type cutting struct {
	net.Conn
	left   atomic.Int64
	silent chan struct{} // not nil: hang until it is closed, instead of breaking
}

func (c *cutting) Write(p []byte) (int, error) {
	if c.left.Add(-int64(len(p))) < 0 {
		if c.silent != nil {
			<-c.silent
		}
		c.Conn.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(p)
}

func TestDeliverOverACutLine(t *testing.T) {
	f := newFar(t)
	local := write(t, filepath.Join(t.TempDir(), "a"), noise(4<<20), 0o644)
	dest := write(t, filepath.Join(f.bundle, "a"), []byte("old"), 0o644)
	f.line = func(c net.Conn) net.Conn {
		cut := &cutting{Conn: c}
		cut.left.Store(600 << 10) // of each of five channels
		return cut
	}
	if _, err := f.deliver(t, Source{Local: local, Path: "a"}); err == nil {
		t.Fatal("got no error over a cut line")
	}
	if got, _ := os.ReadFile(dest); string(got) != "old" {
		t.Fatalf("the destination: got %d bytes, want the old ones", len(got))
	}
	if left := leftovers(t, f.home); left != nil {
		t.Fatalf("beside the destination: %v", left)
	}
	other := write(t, filepath.Join(f.bundle, ".conc-ABCDEFGH-0123456789abcdef.part"), nil, 0o644)

	// What has arrived is not sent again, by this run or another.
	f.line = nil
	f.again()
	sent, err := f.deliver(t, Source{Local: local, Path: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if sent.SentBytes > 4<<20*19/20 {
		t.Errorf("after a part had arrived: %d bytes were sent", sent.SentBytes)
	}
	if left := leftovers(t, f.home); len(left) != 1 || left[0] != other {
		t.Errorf("left over: got %v, want another destination's alone", left)
	}
	if info, _ := os.Stat(dest); info.Size() != 4<<20 {
		t.Errorf("the destination: got %d bytes, want %d", info.Size(), 4<<20)
	}
	f.store.Close()
	if left, _ := os.ReadDir(filepath.Join(f.home, ".conc/cache/in")); len(left) > 0 {
		t.Errorf("left on its way: %v", left)
	}
}

func TestDeliverCancelled(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent=%v", silent), func(t *testing.T) {
			f := newFar(t)
			local := write(t, filepath.Join(t.TempDir(), "a"), noise(4<<20), 0o644)
			dest := write(t, filepath.Join(f.bundle, "a"), []byte("old"), 0o644)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var once sync.Once
			if silent {
				dead := make(chan struct{})
				t.Cleanup(func() { close(dead) })
				f.line = func(c net.Conn) net.Conn {
					cut := &cutting{Conn: c, silent: dead}
					cut.left.Store(100 << 10)
					return cut
				}
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			began := time.Now()
			_, err := Deliver(ctx, f, f.bundle, []Source{{Local: local, Path: "a"}}, Options{Progress: func(int64, int64) {
				if !silent {
					once.Do(cancel)
				}
			}})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
			if took := time.Since(began); took > 30*grace {
				t.Errorf("took %v", took)
			}
			if got, _ := os.ReadFile(dest); string(got) != "old" {
				t.Errorf("the destination: got %d bytes, want the old ones", len(got))
			}
			if left := leftovers(t, f.home); !silent && left != nil {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

func TestDeliverDoesNotBelieveTheNode(t *testing.T) {
	local := write(t, filepath.Join(t.TempDir(), "a"), []byte("x"), 0o644)
	for _, c := range []struct {
		name   string
		answer Answer
	}{
		{"beyond the manifest", Answer{Wants: []Want{{Index: 1}}}},
		{"below it", Answer{Wants: []Want{{Index: -1}}}},
		{"twice", Answer{Wants: []Want{{Index: 0}, {Index: 0}}}},
		{"a piece that is not there", Answer{Wants: []Want{{Index: 0, Ranges: []Range{{1, 1}}}}}},
		{"a piece before the file", Answer{Wants: []Want{{Index: 0, Ranges: []Range{{-1, 1}}}}}},
		{"pieces without end", Answer{Wants: []Want{{Index: 0, Ranges: []Range{{0, 1 << 62}, {1 << 62, 1 << 62}}}}}},
		{"took what is not there", Answer{Took: []int{1}, Done: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFar(t)
			f.answer = func(Query) (Answer, error) { return c.answer, nil }
			if _, err := f.deliver(t, Source{Local: local, Path: "a"}); err == nil {
				t.Error("got no error")
			}
		})
	}
}
