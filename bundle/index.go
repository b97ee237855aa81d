package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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

// indexed is one file. Its Check is of all the rest, so that an entry which was
// damaged is none.
type indexed struct {
	Stat  stamp  `json:"stat"`
	Sum   string `json:"sha256"`
	Check string `json:"check"`

	read sync.Mutex // held while the file is read
	used bool       // in this run
}

// stamp is what a file is known again by. Whatever writes to a file changes its
// inode's time, which nobody can set back.
type stamp struct {
	Dev    uint64 `json:"dev"`
	Ino    uint64 `json:"ino"`
	Size   int64  `json:"size"`
	Time   int64  `json:"mtime"` // nanoseconds since 1970
	Change int64  `json:"ctime"`
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

// OpenIndex reads an index of the file at path, which need not be there. What
// cannot be read of it is forgotten.
func OpenIndex(path string) *Index {
	x := &Index{path: path, files: map[string]*indexed{}}
	f, _, err := OpenRegular(path)
	if err != nil {
		return x
	}
	defer f.Close()
	var file indexFile
	if json.NewDecoder(io.LimitReader(f, 64<<20)).Decode(&file) != nil || file.V != 1 {
		return x
	}
	for name, e := range file.Files {
		if e != nil && e.Check == e.check(name) {
			x.files[name] = e
		}
	}
	return x
}

type indexFile struct {
	V     int                 `json:"v"`
	Files map[string]*indexed `json:"files"`
}

func (e *indexed) check(name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %+v %s", name, e.Stat, e.Sum))
	return hex.EncodeToString(sum[:8])
}

// Save writes the index to its file, whole, where it has changed. Of too many
// files those that were not used are forgotten.
func (x *Index) Save() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.path == "" || !x.changed {
		return nil
	}
	file := indexFile{V: 1, Files: map[string]*indexed{}}
	for name, e := range x.files {
		if e.Check != "" && (e.used || len(x.files) <= maxIndexed) {
			file.Files[name] = e
		}
	}
	data, err := json.Marshal(file)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(x.path), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(x.path, data, 0o600)
	}
	x.changed = x.changed && err != nil
	return err
}

// look gives what a file is like, and its sha256: one that is known is not opened.
func (x *Index) look(ctx context.Context, path string) (fs.FileInfo, string, error) {
	if x != nil {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			if now, ok := stampOf(info); ok {
				e := x.entry(path)
				e.read.Lock()
				sum, known := e.Sum, e.Sum != "" && e.Stat == now
				e.read.Unlock()
				if known {
					return info, sum, nil
				}
			}
		}
	}
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
	e.Stat, e.Sum, e.Check = now, sum, ""
	if now.settled(begun) {
		e.Check = e.check(path) // only such an entry outlives the run
		x.changed = true
	}
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
		e.Sum, e.Check = "", ""
		e.read.Unlock()
		x.mu.Lock()
		x.changed = true
		x.mu.Unlock()
	}
	return found, nil
}
