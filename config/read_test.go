package config

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	file := func(name string, size int64, mode os.FileMode) string {
		f, err := os.OpenFile(at(name), os.O_CREATE|os.O_WRONLY, mode)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	if err := syscall.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{at("missing.ini"), "no such file or directory; name another file with -c"},
		{dir, "is a directory"},
		{at("fifo"), "is not a regular file"},
		{file("sparse.ini", 2<<30, 0o600), "is larger than 1 MiB"},
		{file("one over.ini", maxFile+1, 0o600), "is larger than 1 MiB"},
		{"/dev/zero", "is larger than 1 MiB"},
		{"/dev/null", "no nodes defined"},
		{at("missing.ini") + "/x", "no such file"},
		{file("file", 0, 0o600) + "/x", "not a directory"},
	}
	if sock := at("s"); len(sock) < 100 { // a longer path is no name for a socket
		l, err := net.Listen("unix", sock)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		tests = append(tests, struct{ path, want string }{sock, "is not a regular file"})
	}
	if os.Getuid() != 0 {
		tests = append(tests, struct{ path, want string }{file("secret.ini", 1, 0), "permission denied"})
	}
	for _, tt := range tests {
		_, err := Load(tt.path, Options{})
		var problems Problems
		if !errors.As(err, &problems) || len(problems) != 1 {
			t.Errorf("%s: got %v, want one problem", tt.path, err)
			continue
		}
		if want := tt.path + ": " + tt.want; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deploy.ini")
	ini := []byte(node + "x = 1\n")
	ini = append(ini, strings.Repeat("#\n", (maxFile-len(ini))/2)...)
	if err := os.WriteFile(path, ini, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Load(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Path != path {
		t.Errorf("got path %s, want %s", f.Path, path)
	}
	if n, err := f.Node("web1"); err != nil || n.Get("x") != "1" {
		t.Errorf("got %v %v, want x = 1", n, err)
	}
}

// TestPipeOfAShell reads what a shell's <(...) gives: a pipe below /dev/fd.
func TestPipeOfAShell(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/fd"); err != nil {
		t.Skip("no /dev/fd here")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString(node); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := Load(filepath.Join("/dev/fd", strconv.FormatUint(uint64(r.Fd()), 10)), Options{}); err != nil {
		t.Error(err)
	}
}

func TestPathIsEscaped(t *testing.T) {
	t.Parallel()
	_, err := Load("\x1b[2J.ini", Options{})
	if got, want := err.Error(), `\x1b[2J.ini: no such file`; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
