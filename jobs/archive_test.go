package jobs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

type member struct {
	name, body, link string
	kind             byte // 0: a file, or a directory when the name ends in a slash
	mode             int64
}

var someTime = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Linkname: m.link, Typeflag: m.kind, Mode: m.mode, Size: int64(len(m.body)), ModTime: someTime}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if strings.HasSuffix(m.name, "/") {
				h.Typeflag = tar.TypeDir
			}
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			h = &tar.Header{Typeflag: m.kind, PAXRecords: map[string]string{"comment": m.body}}
			m.body = ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tar writes an archive below the home.
func (p *place) tar(name string, members ...member) {
	p.t.Helper()
	p.write(name, string(tarOf(p.t, members...)))
}

func packed(t testing.TB, make func(io.Writer) (io.WriteCloser, error), data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := make(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gz(w io.Writer) (io.WriteCloser, error)      { return gzip.NewWriter(w), nil }
func xzip(w io.Writer) (io.WriteCloser, error)    { return xz.NewWriter(w) }
func zstdzip(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }

// A tar archive with the one file "a" that holds "bzip2\n", packed by bzip2:
// there is no packer for it in Go.
const bzipped = "" +
	"\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\x8f\x8f\xf0\x2d\x00\x00\x73\x7b\x84\xc9\x10\x00\x44\x40\x00\x77\x80\x00\x00\xf0" +
	"\x20\xde\x10\x00\x00\x80\x08\x20\x00\x75\x0d\x0a\x68\xda\x8d\x34\x33\x51\x93\x4f\x50\x49\x13\x51\xa0\x00\x1a\x05\x3e\xda" +
	"\xe9\x49\x08\x27\x50\x09\x18\x93\x2b\xcd\xa0\xc1\x92\x40\xeb\x27\x25\x47\x78\x44\x30\x05\x60\x4a\x79\x54\xd2\xe8\x20\x35" +
	"\x36\x64\xa4\x56\x28\x1a\x8e\xfd\x0c\x0c\x59\x6e\xf9\x87\xf9\xf4\x22\x20\x7e\x2e\xe4\x8a\x70\xa1\x21\x1f\x1f\xe0\x5a"

func release() []member {
	long := strings.Repeat("deep/", 30) + "file"
	return []member{
		{kind: tar.TypeXGlobalHeader, body: "a git commit"},
		{name: "./"},
		{name: "app-1/", mode: 0o755},
		{name: "app-1/bin/run", body: "#!/bin/sh\n", mode: 0o755},
		{name: "app-1/conf", body: "secret", mode: 0o640},
		{name: "app-1/" + long, body: "long"},
		{name: "app-1/empty"},
		{name: "app-1/current", link: "bin/run", kind: tar.TypeSymlink},
		{name: "app-1/bin/up", link: "../conf", kind: tar.TypeSymlink},
		{name: "app-1/dangling", link: "not/there", kind: tar.TypeSymlink},
		{name: "app-1/hard", link: "app-1/conf", kind: tar.TypeLink},
		{name: "app-1/ro/", mode: 0o555},
		{name: "app-1/ro/x", body: "x", mode: 0o444},
		{name: "app-1/twice", body: "first"},
		{name: "app-1/twice", body: "second"},
	}
}

func checkRelease(t *testing.T, p *place, dir string) {
	t.Helper()
	for name, want := range map[string]string{
		"bin/run": "#!/bin/sh\n", "conf": "secret", strings.Repeat("deep/", 30) + "file": "long", "empty": "",
		"current": "-> bin/run", "bin/up": "-> ../conf", "dangling": "-> not/there", "hard": "secret", "ro/x": "x", "twice": "second",
	} {
		if got := p.read(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]fs.FileMode{"bin/run": 0o755, "conf": 0o640, "ro/x": 0o444, "ro": fs.ModeDir | 0o755, "bin": fs.ModeDir | 0o755} {
		info, err := os.Stat(p.abs(filepath.Join(dir, name)))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want mode %v", name, info.Mode(), err, want)
		}
	}
	for _, name := range []string{"bin/run", "ro", "."} {
		if info, err := os.Stat(p.abs(filepath.Join(dir, name))); err != nil || !info.ModTime().Equal(someTime) {
			t.Errorf("%s: got time %v, want %v", name, info.ModTime(), someTime)
		}
	}
	p.noLeftovers()
}

func TestUntarPackings(t *testing.T) {
	plain := tarOf(t, release()...)
	for name, data := range map[string][]byte{
		"tar": plain, "gzip": packed(t, gz, plain), "xz": packed(t, xzip, plain), "zstd": packed(t, zstdzip, plain),
		"gzip in two parts": append(packed(t, gz, plain[:1000]), packed(t, gz, plain[1000:])...),
		"tar, blocked":      append(slices.Clone(plain), make([]byte, 8192)...),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, Remote)
			p.write("shop-bundle/app-1.dat", string(data)) // the name says nothing
			p.want(OK, "", "untar", "app-*.dat")
			checkRelease(t, p, "shop-bundle/app-1")
			if p.said != "8 files, 32 B" {
				t.Errorf("note: got %q", p.said)
			}
		})
	}
}

func TestUntarBzip2(t *testing.T) {
	p := newPlace(t, Remote)
	p.write("shop-bundle/x", bzipped)
	p.want(OK, "", "untar", "x")
	if got := p.read("shop-bundle/a"); got != "bzip2\n" {
		t.Errorf("got %q", got)
	}
}

func TestUntarPlaces(t *testing.T) {
	setup := func(t *testing.T) *place {
		p := newPlace(t, Remote)
		p.tar("shop-bundle/app.tar", release()...)
		return p
	}
	t.Run("a new directory, stripped", func(t *testing.T) {
		p := setup(t)
		p.want(OK, "", "untar", "app.tar", "to=shop/releases/1", "strip=1")
		checkReleaseStripped(t, p, "shop/releases/1")
	})
	t.Run("one that is there", func(t *testing.T) {
		p := setup(t)
		p.write("shop/other", "stays")
		p.want(OK, "", "untar", "app.tar", "to=shop")
		checkRelease(t, p, "shop/app-1")
		if p.read("shop/other") != "stays" {
			t.Error("what was there is gone")
		}
	})
	t.Run("the workstation", func(t *testing.T) {
		p := newPlace(t, Local)
		p.tar(filepath.Join(p.Dir, "dist/app.tar"), release()...)
		p.want(OK, "", "untar", "dist/app.tar", "to=build")
		checkRelease(t, p, filepath.Join(p.Dir, "build/app-1"))
	})
	t.Run("a name is taken", func(t *testing.T) {
		p := setup(t)
		p.write("shop-bundle/app-1/mine", "x")
		before := p.tree(".")
		p.want(Blocked, "has app-1 already", "untar", "app.tar")
		if got := p.tree("."); !slices.Equal(got, before) {
			t.Errorf("got %q, want %q", got, before)
		}
		p.want(OK, "", "untar", "app.tar", "replace")
		checkRelease(t, p, "shop-bundle/app-1")
		if p.read("shop-bundle/app-1/mine") != "" {
			t.Error("replace has kept an old file")
		}
	})
	t.Run("a stage of a killed one", func(t *testing.T) {
		p := setup(t)
		s, err := newStage(p.Bundle)
		if err != nil {
			t.Fatal(err)
		}
		s.root.Close()
		p.want(OK, "", "untar", "app.tar")
		p.noLeftovers()
	})
	t.Run("no bundle", func(t *testing.T) {
		p := newPlace(t, Remote)
		p.tar("app.tar", release()...)
		_ = os.RemoveAll(p.Bundle)
		p.want(Blocked, "no bundle", "untar", "~/app.tar")
	})
	t.Run("a file in the way", func(t *testing.T) {
		p := setup(t)
		p.write("shop", "file")
		p.want(Failed, "not a directory", "untar", "app.tar", "to=shop")
		p.want(Failed, "not a directory", "untar", "app.tar", "to=shop/x")
	})
	t.Run("strip drops everything", func(t *testing.T) {
		setup(t).want(Failed, "nothing in it to unpack", "untar", "app.tar", "to=x", "strip=50")
	})
	t.Run("no archive, several", func(t *testing.T) {
		p := setup(t)
		p.want(Blocked, "nothing matches", "untar", "shop-*.tar")
		p.tar("shop-bundle/app2.tar", release()...)
		p.want(Blocked, "app.tar, app2.tar", "untar", "app*.tar")
	})
}

func checkReleaseStripped(t *testing.T, p *place, dir string) {
	t.Helper()
	// The destination itself keeps its own time.
	if err := os.Chtimes(p.abs(dir), someTime, someTime); err != nil {
		t.Fatal(err)
	}
	checkRelease(t, p, dir)
}

func TestUntarHostile(t *testing.T) {
	file := member{name: "good", body: "x"}
	for _, c := range []struct {
		name, want string
		members    []member
	}{
		{"climbs out", `"../x"`, []member{file, {name: "../x", body: "x"}}},
		{"climbs out in the middle", `"a/../../x"`, []member{file, {name: "a/../../x", body: "x"}}},
		{"absolute", `"/abs"`, []member{file, {name: "/abs", body: "x"}}},
		{"a link to elsewhere", `to "/etc"`, []member{file, {name: "l", link: "/etc", kind: tar.TypeSymlink}}},
		{"a relative link to elsewhere", `to "../../x"`, []member{{name: "a/l", link: "../../x", kind: tar.TypeSymlink}}},
		{"through a link", `as a file or a link`, []member{
			{name: "sub/"}, {name: "l", link: "sub", kind: tar.TypeSymlink}, {name: "l/passwd", body: "x"},
		}},
		{"through a link to elsewhere", `to "/etc"`, []member{
			{name: "l", link: "/etc", kind: tar.TypeSymlink}, {name: "l/passwd", body: "x"},
		}},
		{"a link through a link", `"t"`, []member{
			{name: "b/c/"}, {name: "b/c/s", link: "../..", kind: tar.TypeSymlink}, {name: "t", link: "b/c/s/../..", kind: tar.TypeSymlink},
		}},
		{"a link to itself", `"l"`, []member{{name: "l", link: "l", kind: tar.TypeSymlink}}},
		{"a hard link to elsewhere", `"../x"`, []member{{name: "h", link: "../x", kind: tar.TypeLink}}},
		{"a hard link to an absolute name", `"/etc/passwd"`, []member{{name: "h", link: "/etc/passwd", kind: tar.TypeLink}}},
		{"a hard link through a link", "no file of the archive", []member{
			{name: "l", link: "good", kind: tar.TypeSymlink}, file, {name: "h", link: "l", kind: tar.TypeLink},
		}},
		{"a hard link to what is not there", "no file of the archive", []member{{name: "h", link: "nothing", kind: tar.TypeLink}}},
		{"setuid", "setuid", []member{{name: "su", body: "x", mode: 0o4755}}},
		{"setgid", "setuid or setgid", []member{{name: "sg", body: "x", mode: 0o2755}}},
		{"a character device", "a device", []member{{name: "null", kind: tar.TypeChar}}},
		{"a block device", "a device", []member{{name: "sda", kind: tar.TypeBlock}}},
		{"a FIFO", "a FIFO", []member{{name: "pipe", kind: tar.TypeFifo}}},
		{"escape sequences", `"\x1b[2J"`, []member{{name: "\x1b[2J", kind: tar.TypeFifo}}},
		{"a file where a directory is", "a directory in the archive already", []member{{name: "d/x"}, {name: "d", body: "x"}}},
		{"a directory where a file is", "as a file or a link", []member{{name: "d", body: "x"}, {name: "d/x"}}},
		{"the owner record", "conc's own", []member{{name: ".conc-owner.json", body: "{}"}}},
		{"over the limit", "more than max=", []member{{name: "a", body: strings.Repeat("x", 600)}, {name: "b", body: strings.Repeat("x", 600)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t, Remote)
			p.tar("shop-bundle/x.tar", c.members...)
			before := p.tree("..")
			p.want(Failed, c.want, "untar", "x.tar", "to=sub/new", "max=1000B")
			p.want(Failed, c.want, "untar", "x.tar", "max=1000B")
			if got := p.tree(".."); !slices.Equal(got, before) {
				t.Errorf("got %q, want nothing new", got)
			}
		})
	}
}

func TestUntarDamaged(t *testing.T) {
	plain := tarOf(t, member{name: "a", body: strings.Repeat("a", 1000)}, member{name: "b", body: strings.Repeat("b", 1000)})
	zipped := packed(t, gz, plain)
	flip := func(data []byte, at int) []byte {
		data = slices.Clone(data)
		data[(at+len(data))%len(data)] ^= 0xff
		return data
	}
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "empty file", nil},
		{"text", "not a tar", []byte(strings.Repeat("This is no archive. ", 100))},
		{"short", "not a tar archive", []byte("short")},
		{"zip", "a zip file", []byte("PK\x03\x04 and so on")},
		{"nothing but zeros", "not a tar archive, or an empty one", make([]byte, 10240)},
		{"packed zeros", "not a tar archive, or an empty one", packed(t, gz, make([]byte, 1<<20))},
		{"packed text", "not a tar", packed(t, gz, []byte(strings.Repeat("This is no archive. ", 100)))},
		{"cut in a member", "unexpected EOF", plain[:700]},
		{"cut between members", "without an end mark", plain[:1536]},
		{"cut in a header", "unexpected EOF", plain[:1800]},
		{"gzip cut", "unexpected EOF", zipped[:len(zipped)/2]},
		{"gzip cut in its checksum", "unexpected EOF", zipped[:len(zipped)-3]},
		{"gzip checksum", "checksum", flip(zipped, -6)},
		{"gzip and garbage", "gzip", append(slices.Clone(zipped), "garbage behind it"...)},
		{"another archive behind it", "more data after", append(slices.Clone(plain), plain...)},
		{"xz cut", "", packed(t, xzip, plain)[:100]},
		{"xz checksum", "", flip(packed(t, xzip, plain), -30)},
		{"xz that wants 4 GiB", "of memory", append(append([]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"), 2, 0, 0x21, 1, 40, 0, 0, 0), make([]byte, 64)...)},
		{"zstd cut", "", packed(t, zstdzip, plain)[:40]},
		{"bzip2 cut", "", []byte("BZh91AY&SY")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t, Remote)
			p.write("shop-bundle/x", string(c.data))
			before := p.tree("..")
			p.want(Failed, c.want, "untar", "x", "to=sub/new")
			p.want(Failed, "", "untar", "x")
			if got := p.tree(".."); !slices.Equal(got, before) {
				t.Errorf("got %q, want nothing new", got)
			}
		})
	}
}

func TestUntarZerosAreCounted(t *testing.T) {
	// 64 MiB of zeros that pack to 64 KiB, in a member that does not say so: a
	// sparse file of the old GNU form would.
	p := newPlace(t, Remote)
	p.write("shop-bundle/x", string(packed(t, gz, tarOf(t, member{name: "zeros", body: strings.Repeat("\x00", 64<<20)}))))
	p.want(Failed, "more than max=", "untar", "x", "max=1MB")
	end := append(tarOf(t, member{name: "a"}), make([]byte, 80<<20)...)
	p.write("shop-bundle/x", string(packed(t, gz, end)))
	p.want(Failed, "more than max=", "untar", "x", "max=1MB")
	p.noLeftovers()
}

func TestUntarCancelled(t *testing.T) {
	p := newPlace(t, Remote)
	p.tar("shop-bundle/x", member{name: "a", body: strings.Repeat("x", 4<<20)})
	ctx, cancel := context.WithCancel(t.Context())
	p.Progress = func(done, total int64) { cancel() }
	before := p.tree("..")
	err := Untar{Archive: "x", To: "new/dir"}.Do(ctx, p.Env)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if got := p.tree(".."); !slices.Equal(got, before) {
		t.Error("something is left")
	}
}

func FuzzUntar(f *testing.F) {
	plain := tarOf(f, member{name: "d/", mode: 0o755}, member{name: "d/a", body: "x"},
		member{name: "d/l", link: "a", kind: tar.TypeSymlink}, member{name: "d/h", link: "d/a", kind: tar.TypeLink})
	for _, data := range [][]byte{
		plain, packed(f, gz, plain), packed(f, xzip, plain), packed(f, zstdzip, plain), []byte(bzipped),
		tarOf(f, member{name: "l", link: "../x", kind: tar.TypeSymlink}, member{name: "l/x", body: "x"}),
		tarOf(f, member{name: "../x", body: "x"}),
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		dest := filepath.Join(base, "dest")
		s, err := newStage(dest)
		if err != nil {
			t.Fatal(err)
		}
		u := unpacking{
			ctx: t.Context(), root: s.root, left: 1 << 20,
			in: &intake{ctx: t.Context(), r: bytes.NewReader(data)},
		}
		if err := u.all(); err == nil {
			_, err = s.enter(t.Context(), &Env{}, false)
			if err != nil {
				t.Fatal(err)
			}
		}
		s.close()
		entries, err := os.ReadDir(base)
		if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "dest" {
			t.Fatalf("got %v, %v, want dest alone", entries, err)
		}
		err = filepath.WalkDir(base, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.Type()&^(fs.ModeDir|fs.ModeSymlink) != 0 {
				return fmt.Errorf("%s: %v, %w", p, d, err)
			}
			if d.Type()&fs.ModeSymlink != 0 {
				if real, err := filepath.EvalSymlinks(p); err == nil && !strings.HasPrefix(real+"/", mustReal(t, dest)+"/") {
					return fmt.Errorf("%s leads to %s", p, real)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func mustReal(t *testing.T, p string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		t.Fatal(err)
	}
	return real
}
