package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Store is what a node keeps of delivered content, and the agent's part of a
// delivery. Everything that travels becomes an object of the store first, named
// by its sha256, in ~/.conc/cache, and is put in its place from there. One
// session has one Store; several may use the same directory at the same time.
type Store struct {
	Home  string // absolute
	Run   string // whose deliveries these are
	Limit int64  // bytes of objects that are kept after a delivery

	mu         sync.Mutex
	deliveries []*incoming            // by number
	verified   map[string]fs.FileInfo // objects whose content was looked at, as they were then
}

// Manifest gives what a delivery is of, by the Answer's ID; an empty one when
// there was none.
func (s *Store) Manifest(id int) Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id < 0 || id >= len(s.deliveries) {
		return Manifest{}
	}
	return s.deliveries[id].m
}

// incoming is a delivery that was asked about.
type incoming struct {
	m     Manifest
	place []int // files that are to be put in place, by index
}

// dir is where the objects are; in is where what is on its way is.
func (s *Store) dir() string { return filepath.Join(s.Home, ".conc", "cache") }
func (s *Store) in() string  { return filepath.Join(s.dir(), "in") }

func (s *Store) object(sum string) string { return filepath.Join(s.dir(), sum) }

// partial is where this run gathers an object; partials, what there is of it by
// any run.
func (s *Store) partial(sum string) string {
	return filepath.Join(s.in(), sum+"-"+Short(s.Run)+".part")
}

func (s *Store) partials(sum string) []string {
	found, _ := filepath.Glob(filepath.Join(s.in(), sum+"-*.part")) // the pattern is a good one
	return found
}

// make makes the directories, which nobody else may look into.
func (s *Store) make() error {
	if err := os.MkdirAll(s.in(), 0o700); err != nil {
		return err
	}
	for _, dir := range []string{s.dir(), s.in()} {
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// has tells whether an object is there with the content that its name says. One
// that has not, or cannot be read, is removed.
func (s *Store) has(ctx context.Context, sum string, size int64) bool {
	path := s.object(sum)
	fi, err := os.Lstat(path)
	if err != nil {
		return false
	}
	s.mu.Lock()
	seen := s.verified[sum]
	s.mu.Unlock()
	if seen != nil && same(seen, fi) {
		return true
	}
	if err := s.verify(ctx, path, sum, size); err != nil {
		if ctx.Err() == nil {
			_ = os.Remove(path)
		}
		return false
	}
	s.vouch(sum, path)
	return true
}

// vouch notes that an object's content is right.
func (s *Store) vouch(sum, path string) {
	fi, err := os.Lstat(path)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verified == nil {
		s.verified = map[string]fs.FileInfo{}
	}
	s.verified[sum] = fi
}

// verify reads a file, and compares.
func (s *Store) verify(ctx context.Context, path, sum string, size int64) error {
	in, fi, err := OpenRegular(path)
	if err != nil {
		return err
	}
	defer in.Close()
	if fi.Size() != size {
		return fmt.Errorf("%w: %d bytes of %d", errOther, fi.Size(), size)
	}
	got, err := hash(ctx, in, size)
	if err == nil && got != sum {
		err = errOther
	}
	return err
}

// errOther says that content is not the one that was meant.
var errOther = errors.New("what arrived is not what the manifest says")

// keep makes a file of in an object, under its sha256. The content was looked at.
func (s *Store) keep(temp, sum string) error {
	if err := os.Rename(temp, s.object(sum)); err != nil {
		return err
	}
	s.vouch(sum, s.object(sum))
	return nil
}

var sumForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// trim removes the objects that were not used for the longest time, until what
// is left is within the limit, and what was left on its way long ago. An object
// that is in its place elsewhere, too, costs nothing.
func (s *Store) trim() {
	entries, err := os.ReadDir(s.dir())
	if err != nil {
		return
	}
	var objects []fs.FileInfo
	var total int64
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && sumForm.MatchString(e.Name()) {
			objects = append(objects, fi)
			total += fi.Size()
		}
	}
	slices.SortFunc(objects, func(a, b fs.FileInfo) int { return used(a).Compare(used(b)) })
	for _, fi := range objects {
		if total <= s.Limit {
			break
		}
		total -= fi.Size()
		_ = os.Remove(s.object(fi.Name()))
	}
	entries, err = os.ReadDir(s.in())
	if err != nil {
		return
	}
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > staleAfter {
			_ = os.Remove(filepath.Join(s.in(), e.Name()))
		}
	}
}

// used is when an object was last put in a place: a link to it, or a change of
// its mode, changes the inode.
func used(fi fs.FileInfo) time.Time {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return changeTime(st)
	}
	return fi.ModTime()
}

// earlier remembers what objects were called, so that a later file of that name
// finds what it may have in common with them: a few lines of JSON.
type earlier map[string][]string // a name without its digits: sha256, the newest first

const (
	maxNames  = 2000
	maxBefore = 2 // objects of one name
)

func (s *Store) namesPath() string { return filepath.Join(s.dir(), "names.json") }

func (s *Store) readEarlier() earlier {
	n := earlier{}
	f, err := os.Open(s.namesPath())
	if err != nil {
		return n
	}
	defer f.Close()
	if json.NewDecoder(io.LimitReader(f, 4<<20)).Decode(&n) != nil {
		return earlier{}
	}
	return n
}

// remember adds the large files of a delivery. It is advice: without it more is sent.
func (s *Store) remember(files []File) {
	n := s.readEarlier()
	changed := false
	for _, f := range files {
		if f.Size < chunked {
			continue
		}
		k := nameKey(f.Path)
		if old := n[k]; len(old) == 0 || old[0] != f.SHA256 {
			old = slices.DeleteFunc(slices.Clone(old), func(s string) bool { return s == f.SHA256 })
			n[k] = append([]string{f.SHA256}, old[:min(len(old), maxBefore-1)]...)
			changed = true
		}
	}
	if !changed || len(n) > maxNames {
		return
	}
	data, err := json.Marshal(n)
	if err != nil {
		return
	}
	temp := filepath.Join(s.in(), "names-"+Short(s.Run))
	if os.WriteFile(temp, data, 0o600) == nil {
		_ = os.Rename(temp, s.namesPath())
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// nameKey is what is the same in the names of two releases of a file.
func nameKey(path string) string { return digits.ReplaceAllString(filepath.Base(path), "#") }
