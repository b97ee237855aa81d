package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// Index remembers the sha256 of local files, by what stat says of them, so that
// one is read once for all nodes, and not again as long as it is left alone. It
// is advice: what arrives on a node is judged there. It is safe for concurrent
// use; a nil Index remembers nothing.
type Index struct {
	path string // of its file; "": none

	mu      sync.Mutex
	files   map[string]*indexed
	changed bool
}

// indexed is one file.
type indexed struct {
	Stat stamp
	Sum  string
	keep bool // it outlives the run: the file was left alone for long enough

	read sync.Mutex // held while the file is read
	used bool       // in this run
}

// stamp is what a file is known again by. Whatever writes to a file changes its
// inode's time, which nobody can set back.
type stamp struct {
	Dev    uint64
	Ino    uint64
	Size   int64
	Time   int64 // nanoseconds since 1970
	Change int64
}

func stampOf(info fs.FileInfo) (stamp, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{
		Dev: uint64(st.Dev), Ino: st.Ino, Size: info.Size(), //nolint:unconvert // types differ between systems
		Time: info.ModTime().UnixNano(), Change: changeTime(st).UnixNano(),
	}, true
}

// settled is how long a file must have been left alone when it was read: a
// change within one tick of a file system's clock does not show.
const settled = 2 * time.Second

func (s stamp) settled(read time.Time) bool {
	return read.Sub(time.Unix(0, s.Change)) > settled && read.Sub(time.Unix(0, s.Time)) > settled
}

// maxIndexed bounds the files that are remembered.
const maxIndexed = 50_000

// OpenIndex reads an index of the file at path, which need not be there. One
// that was damaged is none.
func OpenIndex(path string) *Index {
	x := &Index{path: path, files: map[string]*indexed{}}
	f, _, err := OpenRegular(path)
	if err != nil {
		return x
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64<<20))
	if err != nil || len(data) < len(indexMagic)+sha256.Size || string(data[:len(indexMagic)]) != indexMagic {
		return x
	}
	check, body := data[len(indexMagic):][:sha256.Size], data[len(indexMagic)+sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], check) {
		return x
	}
	in := unpacker{left: body}
	for len(in.left) > 0 {
		name := string(in.bytes(in.uint()))
		e := &indexed{keep: true}
		e.Stat = stamp{Dev: in.uint(), Ino: in.uint(), Size: int64(in.uint()), Time: int64(in.uint()), Change: int64(in.uint())}
		e.Sum = hex.EncodeToString(in.bytes(sha256.Size))
		if in.bad {
			break
		}
		x.files[name] = e
	}
	return x
}

// indexMagic begins the file. Then come the sha256 of the rest, and the files:
// numbers as uvarints, a name behind its length, a sum as it is.
const indexMagic = "conc index 1\n"

// Save writes the index to its file, whole, where it has changed. Of too many
// files those that were not used are forgotten.
func (x *Index) Save() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.path == "" || !x.changed {
		return nil
	}
	var body []byte
	for name, e := range x.files {
		sum, err := hex.DecodeString(e.Sum)
		if err != nil || len(sum) != sha256.Size || !e.keep || !e.used && len(x.files) > maxIndexed {
			continue
		}
		body = append(binary.AppendUvarint(body, uint64(len(name))), name...)
		for _, v := range []uint64{e.Stat.Dev, e.Stat.Ino, uint64(e.Stat.Size), uint64(e.Stat.Time), uint64(e.Stat.Change)} {
			body = binary.AppendUvarint(body, v)
		}
		body = append(body, sum...)
	}
	check := sha256.Sum256(body)
	data := slices.Concat([]byte(indexMagic), check[:], body)
	err := os.MkdirAll(filepath.Dir(x.path), 0o700)
	if err == nil {
		err = renameio.WriteFile(x.path, data, 0o600)
	}
	x.changed = x.changed && err != nil
	return err
}

// known gives what a regular file is like, nil when it cannot be told, and its
// sha256, "" when it would have to be read.
func (x *Index) known(path string) (info fs.FileInfo, sum string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, ""
	}
	now, ok := stampOf(info)
	if x == nil || !ok {
		return info, ""
	}
	e := x.entry(path)
	if !e.read.TryLock() { // it is being read just now
		return info, ""
	}
	defer e.read.Unlock()
	if e.Sum != "" && e.Stat == now {
		return info, e.Sum
	}
	return info, ""
}

// look gives what a file is like, and its sha256: it reads it if that must be.
func (x *Index) look(ctx context.Context, path string) (fs.FileInfo, string, error) {
	in, info, err := OpenRegular(path)
	if err != nil {
		return nil, "", err
	}
	defer in.Close()
	sum, err := x.sum(ctx, path, in, info)
	return info, sum, err
}

// entry gives a file's entry; it is empty when nothing is remembered.
func (x *Index) entry(path string) *indexed {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.files == nil {
		x.files = map[string]*indexed{}
	}
	e := x.files[path]
	if e == nil {
		e = &indexed{}
		x.files[path] = e
	}
	e.used = true
	return e
}

// sum gives a file's sha256: of the many who ask at the same time, one reads it.
func (x *Index) sum(ctx context.Context, path string, in io.Reader, info fs.FileInfo) (string, error) {
	now, ok := stampOf(info)
	if x == nil || !ok {
		return hash(ctx, in, info.Size())
	}
	e := x.entry(path)
	e.read.Lock()
	defer e.read.Unlock()
	if e.Sum != "" && e.Stat == now {
		return e.Sum, nil
	}
	begun := time.Now()
	sum, err := hash(ctx, in, info.Size())
	if err != nil {
		return "", err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	e.Stat, e.Sum, e.keep = now, sum, now.settled(begun)
	x.changed = x.changed || e.keep
	return sum, nil
}

// wrong reads the sources again, and tells whether one is another than was known.
func (x *Index) wrong(ctx context.Context, sources []Source) (bool, error) {
	found := false
	for _, s := range sources {
		in, info, err := OpenRegular(s.Local)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		sum, err := hash(ctx, in, info.Size())
		_ = in.Close()
		if err != nil {
			return false, err
		}
		e := x.entry(s.Local)
		e.read.Lock()
		if e.Sum != "" && e.Sum != sum {
			found = true
		}
		e.Sum, e.keep = "", false
		e.read.Unlock()
		x.mu.Lock()
		x.changed = true
		x.mu.Unlock()
	}
	return found, nil
}
