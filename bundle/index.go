package bundle

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Index remembers the sha256 of local files, by what stat says of them, so that
// one is read once for all nodes. It is advice: what arrives on a node is judged
// there. It is safe for concurrent use; a nil Index remembers nothing.
type Index struct {
	mu    sync.Mutex
	files map[string]*indexed
}

type indexed struct {
	once sync.Mutex // held while the file is read
	info fs.FileInfo
	sum  string
}

// settled is how long a file must have been left alone: a change in the same
// tick of the clock would not show.
const settled = 50 * time.Millisecond

// sum gives a file's sha256.
func (x *Index) sum(ctx context.Context, path string, in io.Reader, info fs.FileInfo) (string, error) {
	if x == nil {
		return hash(ctx, in, info.Size())
	}
	x.mu.Lock()
	if x.files == nil {
		x.files = map[string]*indexed{}
	}
	f := x.files[path]
	if f == nil {
		f = &indexed{}
		x.files[path] = f
	}
	x.mu.Unlock()
	f.once.Lock()
	defer f.once.Unlock()
	if f.info != nil && same(f.info, info) {
		return f.sum, nil
	}
	sum, err := hash(ctx, in, info.Size())
	if err == nil && time.Since(info.ModTime()) > settled {
		f.info, f.sum = info, sum
	}
	return sum, err
}

// wrong reads the sources again, and tells whether one is another than was known.
func (x *Index) wrong(ctx context.Context, sources []Source) (bool, error) {
	found := false
	for _, s := range sources {
		x.mu.Lock()
		f := x.files[s.Local]
		x.mu.Unlock()
		if f == nil {
			continue
		}
		in, info, err := OpenRegular(s.Local)
		if errors.Is(err, os.ErrNotExist) {
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
		f.once.Lock()
		if f.info != nil && same(f.info, info) && f.sum != sum {
			f.info, found = nil, true
		}
		f.once.Unlock()
	}
	return found, nil
}
