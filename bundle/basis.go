package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// borrow copies what the node has of a file already into its partial object, and
// says what is missing: by its chunks. Without them it only says whether there
// is anything that they could be looked for in.
func (s *Store) borrow(ctx context.Context, root *os.Root, m Manifest, f File, before earlier, list []byte, w *Want) error {
	bases := s.bases(root, m, f, before)
	if len(bases) == 0 {
		return nil
	}
	if list == nil {
		w.Basis = true
		return nil
	}
	chunks, err := unpackChunks(list, f.Size)
	if err != nil {
		return fmt.Errorf("manifest: %q: %w", f.Path, err)
	}
	w.Ranges, err = fill(ctx, s.partial(f.SHA256), f.Size, chunks, bases)
	if err != nil {
		return fmt.Errorf("%s: %w", path.Join(root.Name(), f.Path), cause(err))
	}
	return nil
}

// bases lists what may have something in common with f: what a transfer that was
// cut left of it, the file in its place, and objects of the same name.
func (s *Store) bases(root *os.Root, m Manifest, f File, before earlier) []string {
	var found []string
	for _, p := range slices.Concat(s.partials(f.SHA256+partialEnd), s.partials(m.unreadName(f)), []string{filepath.Join(root.Name(), f.Path)}, s.objects(before[nameKey(f.Path)])) {
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Size() >= chunkMin {
			found = append(found, p)
		}
	}
	return found
}

// likes tells whether the node may have some of a file whose sum is not known, or
// all of it.
func (s *Store) likes(root *os.Root, m Manifest) bool {
	sizes := map[int64]bool{}
	var before earlier
	for _, f := range m.Files {
		if f.SHA256 != "" {
			continue
		}
		if before == nil {
			before = s.readEarlier()
		}
		if len(s.bases(root, m, f, before)) > 0 {
			return true
		}
		sizes[f.Size] = true
	}
	if len(sizes) == 0 {
		return false
	}
	entries, _ := os.ReadDir(s.dir())
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		fi, err := e.Info()
		return err == nil && sumForm.MatchString(e.Name()) && sizes[fi.Size()]
	})
}

func (s *Store) objects(sums []string) []string {
	var paths []string
	for _, sum := range sums {
		if sumForm.MatchString(sum) {
			paths = append(paths, s.object(sum))
		}
	}
	return paths
}

// fill writes the chunks that the bases have into the partial object, and gives
// the ranges of those that they have not: at least one, be it empty, since no
// ranges mean all.
func fill(ctx context.Context, object string, size int64, chunks []Chunk, bases []string) ([]Range, error) {
	missing := map[uint64]bool{}
	for _, c := range chunks {
		missing[c.Sum] = true
	}
	// The partial object may be a basis itself: the new one takes its place after.
	out, err := os.OpenFile(object+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	err = out.Truncate(size)
	at := map[uint64][]int64{} // where a chunk belongs
	var end int64
	for _, c := range chunks {
		at[c.Sum] = append(at[c.Sum], end)
		end += c.Len
	}
	for _, b := range bases {
		if err != nil || len(missing) == 0 {
			break
		}
		err = search(ctx, b, missing, at, out)
	}
	if err == nil {
		err = os.Rename(object+".new", object)
	}
	if err != nil {
		_ = os.Remove(object + ".new")
		return nil, err
	}
	ranges := []Range{}
	end = 0
	for _, c := range chunks {
		if n := len(ranges); missing[c.Sum] && n > 0 && ranges[n-1].At+ranges[n-1].Len == end {
			ranges[n-1].Len += c.Len
		} else if missing[c.Sum] {
			ranges = append(ranges, Range{end, c.Len})
		}
		end += c.Len
	}
	if len(ranges) == 0 {
		ranges = append(ranges, Range{size, 0})
	}
	return ranges, nil
}

// search copies what a basis has of the missing chunks. A basis that cannot be
// read has nothing.
func search(ctx context.Context, basis string, missing map[uint64]bool, at map[uint64][]int64, out *os.File) error {
	in, fi, err := OpenRegular(basis)
	if err != nil {
		return nil //nolint:nilerr // as said
	}
	defer in.Close()
	var broken error
	err = eachChunk(ctx, io.LimitReader(in, fi.Size()), func(c Chunk, p []byte) error {
		if !missing[c.Sum] {
			return nil
		}
		for _, pos := range at[c.Sum] {
			if _, broken = out.WriteAt(p, pos); broken != nil {
				return broken
			}
		}
		delete(missing, c.Sum)
		return nil
	})
	if err != nil && broken == nil && !errors.Is(err, ctx.Err()) {
		return nil // the rest of it cannot be read
	}
	return err
}
