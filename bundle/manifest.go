package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	digest "hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// File is one line of a manifest.
type File struct {
	Path   string // relative to the manifest's root, slashes, clean, never outside it
	Size   int64
	Mode   fs.FileMode // permission bits only
	SHA256 string
}

// Manifest is what a delivery will leave below a directory of the node.
type Manifest struct {
	Root  string // absolute, on the node
	Files []File
}

// Source is a local file to deliver.
type Source struct {
	Local string      // path on this host
	Path  string      // in the manifest
	Mode  fs.FileMode // 0: the source's own permission bits
}

// CheckPath says whether p may stand in a manifest: relative, clean, never
// outside the root, text that survives the way, and no name of conc's own.
func CheckPath(p string) error {
	switch {
	case !utf8.ValidString(p):
		return fmt.Errorf("%q: the name is not UTF-8", p)
	case strings.ContainsFunc(p, unicode.IsControl):
		return fmt.Errorf("%q: the name has a control character", p)
	case !fs.ValidPath(p) || p == "." || len(p) > 4096:
		return fmt.Errorf("%q: not a path below the destination", p)
	}
	for part := range strings.SplitSeq(p, "/") {
		if strings.HasPrefix(part, ".conc-") {
			return fmt.Errorf("%q: names that start with .conc- are conc's own", p)
		}
	}
	return nil
}

// check is for a manifest that came over the line: nothing in it is believed.
func (m Manifest) check() error {
	if !filepath.IsAbs(m.Root) || filepath.Clean(m.Root) != m.Root {
		return fmt.Errorf("manifest: the root %q is not an absolute path", m.Root)
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if err := CheckPath(f.Path); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		sum, err := hex.DecodeString(f.SHA256)
		switch {
		case seen[f.Path]:
			return fmt.Errorf("manifest: %q is named twice", f.Path)
		case f.Size < 0:
			return fmt.Errorf("manifest: %q has the size %d", f.Path, f.Size)
		case f.Mode&^fs.ModePerm != 0:
			return fmt.Errorf("manifest: %q has the mode %v, more than permission bits", f.Path, f.Mode)
		case f.SHA256 == "" && f.Size >= unread: // it is being read
		case err != nil || len(sum) != sha256.Size || strings.ToLower(f.SHA256) != f.SHA256:
			return fmt.Errorf("manifest: %q has no sha256", f.Path)
		}
		seen[f.Path] = true
	}
	return nil
}

// read makes the manifest of local files. It also gives what the files were
// like when they were hashed, so that a change can be told later.
func read(ctx context.Context, root string, sources []Source, known *Index) (Manifest, []fs.FileInfo, error) {
	m := Manifest{Root: root, Files: make([]File, len(sources))}
	infos := make([]fs.FileInfo, len(sources))
	err := each(ctx, runtime.NumCPU(), len(sources), func(ctx context.Context, i int) error {
		s := sources[i]
		info, sum := known.known(s.Local)
		var err error
		if info == nil || sum == "" && info.Size() < unread {
			info, sum, err = known.look(ctx, s.Local)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return changed(s.Local)
		}
		if err != nil {
			return err
		}
		mode := s.Mode.Perm()
		if mode == 0 {
			mode = info.Mode().Perm()
		}
		m.Files[i] = File{Path: s.Path, Size: info.Size(), Mode: mode, SHA256: sum}
		infos[i] = info
		return nil
	})
	if err != nil {
		return Manifest{}, nil, err
	}
	return m, infos, m.check()
}

// OpenRegular opens a regular file for reading. A FIFO, a device or a socket is
// an error, and does not block.
func OpenRegular(name string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s: %s, not a regular file", name, kind(info.Mode()))
	}
	if err != nil {
		return nil, nil, err
	}
	// O_NONBLOCK: it may have become a FIFO since.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err = f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %s, not a regular file", name, kind(info.Mode()))
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Readable tells why a file cannot be delivered, as OpenRegular would and for
// less: nothing is opened. It is advice, since a file may change after it.
func Readable(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: %s, not a regular file", name, kind(info.Mode()))
	}
	if err := unix.Access(name, unix.R_OK); err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symlink"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "a special file"
}

// hash reads exactly size bytes of r; io.ErrUnexpectedEOF when there are fewer.
func hash(ctx context.Context, r io.Reader, size int64) (string, error) {
	h := sha256.New()
	if _, err := feed(ctx, h, r, size); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// feed brings exactly size bytes of r to h, and tells how many it has; it is
// io.ErrUnexpectedEOF when there are fewer.
func feed(ctx context.Context, h digest.Hash, r io.Reader, size int64) (done int64, err error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for done < size {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		n, err := r.Read((*buf)[:min(size-done, int64(len(*buf)))])
		_, _ = h.Write((*buf)[:n]) // never fails
		if done += int64(n); done == size {
			break
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// buffers are what files are read through.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// ctxReader ends with ctx's error once ctx is done.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func changed(local string) error { return fmt.Errorf("%s changed while it was sent", local) }

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// dest is where a manifest's file ends up.
func (m Manifest) dest(f File) string { return path.Join(m.Root, f.Path) }
