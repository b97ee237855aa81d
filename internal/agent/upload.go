package agent

import (
	"context"
	"errors"
	"fmt"
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

// Read reads this program's own file, so that a Start after it need not. What is
// wrong with it Start will say.
func Read(executable string) { _, _ = hashes.of(executable) }

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
	// The first word ends what an rc file may have left on the line. What mkdir
	// cannot do, SFTP will find out the reason for.
	out, text, status, err := l.output(ctx, "echo; umask 077; mkdir -p "+binDir+"; uname -s -m")
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
		hash, err := l.own()
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
// Whether it is whole, and on the disk, the program finds out itself.
func (l *launch) upload(ctx context.Context, b build) error {
	fail := func(what string, err error, hint string) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &StartError{Err: fmt.Errorf("%s: copying the agent: %s: %s", l.Node.Name(), what, clean(err.Error(), maxQuoted)), Hint: hint}
	}
	u, err := newSending(b.path, l.Uploading)
	if err != nil {
		return &StartError{Err: fmt.Errorf("the agent for %s: %w", b.platform, err)}
	}
	defer u.in.Close()
	client, err := l.t.SFTP(ctx)
	if err != nil {
		return fail("no SFTP", err, "conc needs the sftp subsystem: in the node's sshd_config  Subsystem sftp internal-sftp")
	}
	u.join(client)
	stop := context.AfterFunc(ctx, u.hangUp)
	defer func() {
		if stop() {
			l.release(u.ways)
		}
	}()
	err = u.send(ctx, l, client)
	var dir *dirError
	switch {
	case errors.As(err, &dir):
		return fail("making ~/"+dir.name, dir.err, "is the home directory there, the account's own, and its disk not full? df -h ~; ls -ld ~")
	case err != nil:
		// A server calls a full disk just a failure: look before the partial file goes.
		err = orFull(client, binDir, err)
		_ = client.Remove(u.temp)
		return fail("writing ~/"+binDir, err, "is there room? df -h ~")
	}
	l.t.Ready()
	final := path.Join(binDir, "conc-"+b.hash)
	// A file that is open for writing cannot be started, by us or by whoever else
	// sees its name: all channels let go of it first.
	if err := u.close(); err != nil {
		_ = client.Remove(u.temp)
		return fail("writing ~/"+binDir, err, "is there room? df -h ~")
	}
	err = client.PosixRename(u.temp, final)
	if err != nil {
		// A server without the extension: the name is free, or holds a file that
		// does not start.
		_ = client.Remove(final)
		err = client.Rename(u.temp, final)
	}
	if err != nil {
		_ = client.Remove(u.temp)
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

// dirError is a directory that cannot be made.
type dirError struct {
	name string
	err  error
}

func (e *dirError) Error() string { return "making ~/" + e.name + ": " + e.err.Error() }

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
