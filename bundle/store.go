package bundle

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
	token      string                 // of this session, in the names of what is on its way
	held       *os.File               // its directory, locked as long as the session lasts
	deliveries []*incoming            // by number
	verified   map[string]fs.FileInfo // objects whose content was looked at, as they were then
	own        map[string]bool        // objects that are still in this session's directory
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
	m       Manifest
	place   []int           // files that are to be put in place, by index
	present map[string]bool // paths that something was at

	mu     sync.Mutex
	packs  map[string]func() error // that were told of: opens each, once
	hashes map[int]*hashing        // of files that are still coming, by index
}

// dir is where the objects are, ways where each session has a directory for what
// is on its way, and in this session's.
func (s *Store) dir() string  { return filepath.Join(s.Home, ".conc", "cache") }
func (s *Store) ways() string { return filepath.Join(s.dir(), "in") }
func (s *Store) in() string   { return filepath.Join(s.ways(), Short(s.Run)+"-"+s.token) }

// object is where an object is.
func (s *Store) object(sum string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own[sum] {
		return filepath.Join(s.in(), sum)
	}
	return filepath.Join(s.dir(), sum)
}

// partial is where this session gathers an object; partials, what there is of it
// by any session.
func (s *Store) partial(sum string) string { return filepath.Join(s.in(), sum+partialEnd) }

func (s *Store) partials(name string) []string {
	found, _ := filepath.Glob(filepath.Join(s.ways(), "*", name)) // the pattern is a good one
	return found
}

const partialEnd = ".part"

// make makes the directories, which nobody else may look into, and takes one of
// them for this session. Of sessions that are over it removes what helps nobody.
func (s *Store) make() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		return nil
	}
	if err := os.MkdirAll(s.ways(), 0o700); err != nil {
		return err
	}
	for _, dir := range []string{s.dir(), s.ways()} {
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	s.token = strings.ToUpper(rand.Text()[:8])
	return s.alone(func() error {
		s.sweep()
		if err := os.Mkdir(s.in(), 0o700); err != nil {
			return err
		}
		var err error
		if s.held, err = os.Open(s.in()); err == nil {
			err = unix.Flock(int(s.held.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		return err
	})
}

// alone calls fn while no other session makes its directory, or looks at those
// of others.
func (s *Store) alone(fn func() error) error {
	d, err := os.Open(s.ways())
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	return fn()
}

// sweep looks for sessions that are over. What they gathered of an object is kept
// for a day, for whoever delivers it after all.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.ways())
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(s.ways(), e.Name())
		fi, err := e.Info()
		if err != nil || !over(dir) {
			continue
		}
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			if !strings.HasSuffix(f.Name(), partialEnd) || time.Since(fi.ModTime()) > staleAfter {
				_ = os.Remove(filepath.Join(dir, f.Name()))
			}
		}
		_ = os.Remove(dir) // where it is empty
	}
}

// over tells whether the session that a directory belonged to is over.
func over(dir string) bool {
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	fi, err := d.Stat()
	return err == nil && fi.IsDir() && unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// Close ends the session. What it gathered of an object that did not become whole
// stays, for whoever delivers it after all.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		return
	}
	files, _ := os.ReadDir(s.in())
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), partialEnd) {
			_ = os.Remove(filepath.Join(s.in(), f.Name()))
		}
	}
	_ = os.Remove(s.in()) // where it is empty
	_ = s.held.Close()
	s.held = nil
}

// has tells whether an object is there with the content that its name says. One
// that has not, or cannot be read, is removed.
func (s *Store) has(ctx context.Context, sum string, size int64) bool {
	path := s.object(sum)
	s.mu.Lock()
	seen, own := s.verified[sum], s.own[sum]
	s.mu.Unlock()
	if own { // nobody else touches it
		return true
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return false
	}
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
	if fi, err := os.Lstat(path); err == nil {
		s.note(sum, fi)
	}
}

func (s *Store) note(sum string, fi fs.FileInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verified == nil {
		s.verified = map[string]fs.FileInfo{}
	}
	s.verified[sum] = fi
}

// mine notes an object of this session's own, whose content was looked at.
func (s *Store) mine(sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		s.own = map[string]bool{}
	}
	s.own[sum] = true
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

// keep makes an object of a file of in, whose content was looked at.
func (s *Store) keep(temp, sum string) error {
	path := filepath.Join(s.in(), sum)
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	s.mine(sum)
	return nil
}

func (s *Store) isOwn(sum string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own[sum]
}

// share gives the objects that a delivery brought to those that come after it,
// and tells whether there were any.
func (s *Store) share(files []File) (any bool) {
	for _, f := range files {
		s.mu.Lock()
		own := s.own[f.SHA256]
		delete(s.own, f.SHA256)
		s.mu.Unlock()
		if !own {
			continue
		}
		from := filepath.Join(s.in(), f.SHA256)
		if s.Limit == 0 || os.Rename(from, filepath.Join(s.dir(), f.SHA256)) != nil {
			_ = os.Remove(from)
		}
		any = true
	}
	return any
}

var sumForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// trim removes the objects that were not used for the longest time, until what
// is left is within the limit.
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
		_ = os.Remove(filepath.Join(s.dir(), fi.Name()))
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
	temp := filepath.Join(s.in(), "names")
	if os.WriteFile(temp, data, 0o600) == nil {
		_ = os.Rename(temp, s.namesPath())
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// nameKey is what is the same in the names of two releases of a file.
func nameKey(path string) string { return digits.ReplaceAllString(filepath.Base(path), "#") }
