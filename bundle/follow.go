package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	digest "hash"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// hashing is a large file that is hashed while it comes.
type hashing struct {
	mu   sync.Mutex
	in   *os.File
	sum  digest.Hash
	upto int64 // hashed
}

// follow hashes what has been written of files that are still coming, and has it
// go to the disk. It is work that need not be done at the end any more: the file
// is judged then.
func (s *Store) follow(ctx context.Context, d *incoming, written map[int]int64) error {
	for i, n := range written {
		if i < 0 || i >= len(d.m.Files) || n < 0 || n > d.m.Files[i].Size {
			return fmt.Errorf("%d bytes were written of file %d", n, i)
		}
		d.mu.Lock()
		h := d.hashes[i]
		if h == nil {
			in, _, err := OpenRegular(filepath.Join(s.in(), d.m.partial(d.m.Files[i])))
			if err != nil {
				d.mu.Unlock()
				continue
			}
			if d.hashes == nil {
				d.hashes = map[int]*hashing{}
			}
			h = &hashing{in: in, sum: sha256.New()}
			d.hashes[i] = h
		}
		d.mu.Unlock()
		if err := h.read(ctx, n); err != nil && !errors.Is(err, os.ErrClosed) { // closed: it has been judged
			return err
		}
	}
	return nil
}

// read hashes on, to n bytes in all.
func (h *hashing) read(ctx context.Context, n int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n <= h.upto {
		return nil
	}
	from := h.upto
	done, err := feed(ctx, h.sum, io.NewSectionReader(h.in, from, n-from), n-from)
	h.upto += done
	if err == nil {
		beginSync(h.in, from, n-from)
	}
	return err
}

// check is verify for a file of a delivery, of which some may have been hashed
// while it came.
func (s *Store) check(ctx context.Context, d *incoming, i int, path string) error {
	f := d.m.Files[i]
	d.mu.Lock()
	h := d.hashes[i]
	d.mu.Unlock()
	if h == nil {
		return s.verify(ctx, path, f.SHA256, f.Size)
	}
	is, err := os.Lstat(path)
	if err != nil {
		return err
	}
	was, err := h.in.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(is, was) { // a file of the same content has taken its name: what is there now is read
		return s.verify(ctx, path, f.SHA256, f.Size)
	}
	if is.Size() != f.Size {
		return fmt.Errorf("%w: %d bytes of %d", errOther, is.Size(), f.Size)
	}
	if err := h.read(ctx, f.Size); err != nil {
		return err
	}
	if hex.EncodeToString(h.sum.Sum(nil)) != f.SHA256 {
		return errOther
	}
	return nil
}

// forget ends what follow began.
func (d *incoming) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.hashes {
		h.mu.Lock()
		_ = h.in.Close()
		h.mu.Unlock()
	}
	d.hashes = nil
}
