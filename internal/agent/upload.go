package agent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/pkg/sftp"
)

// build is a file of this program, for one platform.
type build struct {
	path, hash, platform string
}

// hashes is a table of the files that were hashed by this process: its own file
// is read once, however many nodes there are.
var hashes hashTable

type hashTable struct {
	mu    sync.Mutex
	known map[string]func() (string, error)
}

func (t *hashTable) of(file string) (string, error) {
	t.mu.Lock()
	if t.known == nil {
		t.known = map[string]func() (string, error){}
	}
	if t.known[file] == nil {
		t.known[file] = sync.OnceValues(func() (string, error) { return hashFile(file) })
	}
	f := t.known[file]
	t.mu.Unlock()
	return f()
}

// choose asks the node for its platform, and finds the program for that. first
// is why its own program was not started.
func (l *launch) choose(ctx context.Context, first error) (build, error) {
	// The first word ends what an rc file may have left on the line.
	out, text, status, err := l.output(ctx, "echo; uname -s -m")
	if err != nil {
		return build{}, err
	}
	goos, arch, ok := platform(out)
	if !ok {
		var e *attemptError
		if text == "" && errors.As(first, &e) {
			text = e.text
		}
		s := cannotStart(l.Node.Name(), "uname -s -m", status, text)
		if status == 127 {
			s = &StartError{Err: fmt.Errorf("%s: cannot execute on node: it has no uname: %s", l.Node.Name(), text)}
		}
		s.Hint = "can the account run commands? try: ssh to it, with  uname -s -m"
		return build{}, s
	}
	if goos == runtime.GOOS && arch == runtime.GOARCH {
		hash, err := hashes.of(l.Executable)
		return build{l.Executable, hash, goos + "/" + arch}, err
	}
	name := "conc_" + goos + "_" + arch
	for _, dir := range []string{filepath.Dir(l.Executable), l.AgentDir} {
		file := filepath.Join(dir, name)
		if fi, err := os.Stat(file); dir == "" || err != nil || !fi.Mode().IsRegular() {
			continue
		}
		hash, err := hashes.of(file)
		if err != nil {
			return build{}, &StartError{Err: fmt.Errorf("the agent for %s/%s: %w", goos, arch, err)}
		}
		return build{file, hash, goos + "/" + arch}, nil
	}
	return l.made(ctx, goos, arch, name)
}

// platform reads what uname -s -m printed last: rc files may print before it.
func platform(out string) (goos, arch string, ok bool) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	words := strings.Fields(lines[len(lines)-1])
	if len(words) != 2 {
		return "", "", false
	}
	goos, known := map[string]string{
		"Linux": "linux", "Darwin": "darwin", "FreeBSD": "freebsd", "OpenBSD": "openbsd", "NetBSD": "netbsd",
	}[words[0]]
	if !known {
		return "", "", false
	}
	arch, known = map[string]string{
		"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv6l": "arm", "armv7l": "arm", "armv8l": "arm",
		"i386": "386", "i586": "386", "i686": "386", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x",
		"loongarch64": "loong64",
	}[words[1]]
	return goos, arch, known
}

const uploadPrefix = ".upload-"

// upload copies the program to the node: whole under its name, or not at all.
func (l *launch) upload(ctx context.Context, b build) error {
	fail := func(what string, err error, hint string) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &StartError{Err: fmt.Errorf("%s: copying the agent: %s: %s", l.Node.Name(), what, clean(err.Error(), maxQuoted)), Hint: hint}
	}
	client, err := l.t.SFTP(ctx)
	if err != nil {
		return fail("no SFTP", err, "conc needs the sftp subsystem: in the node's sshd_config  Subsystem sftp internal-sftp")
	}
	defer client.Close()
	// Closing the channel is what ends a transfer that nobody waits for.
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()

	home, err := client.Getwd()
	if err != nil {
		home = "."
	}
	for _, dir := range []string{path.Dir(binDir), binDir} {
		if err := makeDir(client, path.Join(home, dir)); err != nil {
			return fail("making ~/"+dir, err, "is the home directory there, the account's own, and its disk not full? df -h ~; ls -ld ~")
		}
	}
	f, err := os.Open(b.path)
	if err != nil {
		return &StartError{Err: fmt.Errorf("the agent for %s: %w", b.platform, err)}
	}
	defer f.Close()
	random := make([]byte, 8)
	_, _ = rand.Read(random)
	temp := path.Join(home, binDir, uploadPrefix+hex.EncodeToString(random))
	if err := l.send(client, f, temp, b.hash); err != nil {
		// A server calls a full disk just a failure: look before the partial file goes.
		err = orFull(client, path.Join(home, binDir), err)
		_ = client.Remove(temp)
		return fail("writing ~/"+binDir, err, "is there room? df -h ~")
	}
	final := path.Join(home, binDir, "conc-"+b.hash)
	err = client.PosixRename(temp, final)
	if err != nil {
		// A server without the extension: the name is free, or holds a file that
		// does not start.
		_ = client.Remove(final)
		err = client.Rename(temp, final)
	}
	if err != nil {
		_ = client.Remove(temp)
		return fail("renaming", err, "")
	}
	return nil
}

// withdraw takes a damaged program away, so that its name is not believed.
func (l *launch) withdraw(ctx context.Context, b build) {
	client, err := l.t.SFTP(ctx)
	if err != nil {
		l.Log.Warn().Err(err).Msg("the damaged agent stays on the node")
		return
	}
	defer client.Close()
	if err := client.Remove(path.Join(binDir, "conc-"+b.hash)); err != nil {
		l.Log.Warn().Err(err).Msg("the damaged agent stays on the node")
	}
}

// orFull says that the disk is full, when it is, instead of err.
func orFull(client *sftp.Client, dir string, err error) error {
	if fs, e := client.StatVFS(dir); e == nil && fs.FreeSpace() < 256<<10 {
		return errors.New("no space left on device")
	}
	return err
}

func makeDir(client *sftp.Client, dir string) error {
	err := client.Mkdir(dir)
	if err == nil {
		return client.Chmod(dir, 0o700)
	}
	// The server gives one answer for all that can be wrong.
	if fi, e := client.Stat(dir); e == nil {
		if fi.IsDir() {
			return nil
		}
		return errors.New("there is a file of that name")
	} else if !errors.Is(e, fs.ErrNotExist) {
		return e
	}
	return err
}

// send writes a file to the node, to its disk, and makes it executable.
func (l *launch) send(client *sftp.Client, f *os.File, to, hash string) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	w, err := client.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	sum := sha256.New()
	from := &counted{f: io.TeeReader(f, sum), size: fi.Size(), tell: l.Uploading}
	n, err := w.ReadFromWithConcurrency(from, 64)
	if err == nil && (n != fi.Size() || hex.EncodeToString(sum.Sum(nil)) != hash) {
		err = fmt.Errorf("%s has changed since this program was started", f.Name())
	}
	if err == nil {
		err = w.Chmod(0o700)
	}
	if err == nil {
		if _, can := client.HasExtension("fsync@openssh.com"); can {
			err = w.Sync()
		}
	}
	if e := w.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	got, err := client.Stat(to)
	if err == nil && got.Size() != fi.Size() {
		err = fmt.Errorf("%d of %d bytes arrived", got.Size(), fi.Size())
	}
	return err
}

// counted tells how far a file was read.
type counted struct {
	f          io.Reader
	done, size int64
	tell       func(done, total int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.f.Read(p)
	c.done += int64(n)
	if c.tell != nil && n > 0 {
		c.tell(c.done, c.size)
	}
	return n, err
}
