package bundle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// Query asks a node what it lacks of a manifest.
type Query struct {
	Manifest Manifest       `json:"manifest"`
	Chunks   map[int][]byte `json:"chunks,omitempty"` // of files that the node may have in part, by index
	Inline   [][]byte       `json:"inline,omitempty"` // every file's content: then nothing more is to be sent

	// Refine says that it is about a delivery that was asked about before, by its
	// ID: what is needed of the files with Chunks.
	Refine bool `json:"refine,omitempty"`
	ID     int  `json:"id,omitempty"`
}

// Answer is what a node lacks.
type Answer struct {
	ID    int    `json:"id"`              // of the delivery, for Settle
	Wants []Want `json:"wants,omitempty"` // by index, ascending
	Into  string `json:"into,omitempty"`  // absolute: the directory that packs and objects are sent to
	Took  []int  `json:"took,omitempty"`  // files whose content came with the question, and was lacking
	Done  bool   `json:"done,omitempty"`  // everything is in its place

	// Unread says that the node may have some of a file without a sum: it is to
	// be asked again, with the sums.
	Unread bool `json:"unread,omitempty"`
}

// Want is a file the node lacks.
type Want struct {
	Index   int     `json:"index"`             // in Manifest.Files
	Basis   bool    `json:"basis,omitempty"`   // the node has something like it: its chunks would tell what
	Ranges  []Range `json:"ranges,omitempty"`  // what is needed of it; none: all
	Refused string  `json:"refused,omitempty"` // why its destination cannot be written; then nothing is sent
}

// Range is a piece of a file.
type Range struct {
	At  int64 `json:"at"`
	Len int64 `json:"len"`
}

// chunked is from which size on a file may be sent in part, in bytes.
const chunked = 1 << 20

// Ask is the agent's part: it checks the manifest (a path that leaves root is an
// error), removes what earlier deliveries that were cut short left of the same
// destinations, makes the directories, and tells what is lacking. A file that
// has the content but another mode is given the mode.
func (s *Store) Ask(ctx context.Context, q Query) (Answer, error) {
	m := q.Manifest
	if q.Refine {
		return s.refine(ctx, q)
	}
	if err := m.check(); err != nil {
		return Answer{}, err
	}
	m.Files = slices.Clone(m.Files) // what is not known of them yet is told later
	q.Manifest = m
	if !runForm.MatchString(s.Run) {
		return Answer{}, fmt.Errorf("manifest: %q is not a run", s.Run)
	}
	if len(q.Inline) > 0 && len(q.Inline) != len(m.Files) {
		return Answer{}, fmt.Errorf("%d contents for %d files", len(q.Inline), len(m.Files))
	}
	if err := s.make(); err != nil {
		return Answer{}, err
	}
	if err := os.MkdirAll(m.Root, 0o777); err != nil {
		return Answer{}, err
	}
	root, err := os.OpenRoot(m.Root)
	if err != nil {
		return Answer{}, err
	}
	defer root.Close()
	present, err := tidy(root, m)
	if err != nil {
		return Answer{}, err
	}
	if s.likes(root, m) {
		return Answer{Unread: true}, nil
	}
	d, wants, took, err := s.lacking(ctx, root, q, present)
	if err != nil {
		return Answer{}, err
	}
	refused := slices.ContainsFunc(wants, func(w Want) bool { return w.Refused != "" })
	if !refused {
		if err := s.room(m, d, wants); err != nil {
			return Answer{}, err
		}
	}
	s.mu.Lock()
	s.deliveries = append(s.deliveries, d)
	a := Answer{ID: len(s.deliveries) - 1, Wants: wants, Took: took, Into: s.in()}
	s.mu.Unlock()
	if len(wants) > 0 {
		return a, nil
	}
	a.Done = true
	return a, s.finish(ctx, d)
}

// refine tells what is needed of files whose chunks are known now.
func (s *Store) refine(ctx context.Context, q Query) (Answer, error) {
	s.mu.Lock()
	if q.ID < 0 || q.ID >= len(s.deliveries) {
		s.mu.Unlock()
		return Answer{}, fmt.Errorf("no delivery %d was asked about", q.ID)
	}
	d := s.deliveries[q.ID]
	s.mu.Unlock()
	root, err := os.OpenRoot(d.m.Root)
	if err != nil {
		return Answer{}, err
	}
	defer root.Close()
	a := Answer{ID: q.ID, Into: s.in()}
	before := s.readEarlier()
	for _, i := range slices.Sorted(maps.Keys(q.Chunks)) {
		if i < 0 || i >= len(d.m.Files) {
			return a, fmt.Errorf("chunks of file %d: the manifest has %d", i, len(d.m.Files))
		}
		w := Want{Index: i}
		if err := s.borrow(ctx, root, d.m, d.m.Files[i], before, q.Chunks[i], &w); err != nil {
			return a, err
		}
		a.Wants = append(a.Wants, w)
	}
	return a, nil
}

// lacking looks for each file: in its place, among the objects, in the question
// itself, and in what is like it.
func (s *Store) lacking(ctx context.Context, root *os.Root, q Query, present map[string]bool) (_ *incoming, wants []Want, took []int, _ error) {
	m := q.Manifest
	d := &incoming{m: m, present: present}
	first := map[string]int{} // by sha256
	for i, f := range m.Files {
		if _, twice := first[f.SHA256]; !twice || f.SHA256 == "" {
			first[f.SHA256] = i
		}
	}
	before := s.readEarlier()
	var mu sync.Mutex
	one := func(ctx context.Context, dir *os.File, i int) error {
		f := m.Files[i]
		var there bool
		var refused string
		if present[f.Path] {
			var err error
			if there, refused, err = holds(ctx, dir, f); err != nil || there {
				return err
			}
		}
		w := Want{Index: i, Refused: refused}
		needed, taken := refused != "", false
		switch {
		case needed:
		case f.SHA256 == "":
			needed = true
		case first[f.SHA256] != i:
		case s.has(ctx, f.SHA256, f.Size):
		case len(q.Inline) > 0:
			if err := s.take(f, q.Inline[i]); err != nil {
				return fmt.Errorf("%s: %w", m.dest(f), err)
			}
			taken = true
		default:
			needed = true
			if f.Size >= chunked {
				if err := s.borrow(ctx, root, m, f, before, q.Chunks[i], &w); err != nil {
					return err
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if needed {
			wants = append(wants, w)
		}
		if taken {
			took = append(took, i)
		}
		d.place = append(d.place, i)
		return nil
	}
	portions := m.portions()
	err := each(ctx, runtime.NumCPU(), len(portions), func(ctx context.Context, n int) error {
		dir, err := root.Open(path.Dir(m.Files[portions[n][0]].Path))
		if err != nil {
			return err
		}
		defer dir.Close()
		for _, i := range portions[n] {
			if err := one(ctx, dir, i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, err
	}
	// A file whose twin is in its place already has no object: it is asked for.
	for _, i := range d.place {
		f := m.Files[i]
		if f.SHA256 == "" {
			continue
		}
		j := first[f.SHA256]
		if j != i && !slices.Contains(d.place, j) && !s.has(ctx, f.SHA256, f.Size) {
			wants = append(wants, Want{Index: i})
			first[f.SHA256] = i
			d.place = append(d.place, i)
		}
	}
	slices.SortFunc(wants, func(a, b Want) int { return a.Index - b.Index })
	slices.Sort(d.place)
	d.place = slices.Compact(d.place)
	return d, wants, took, nil
}

// portions parts the files into some that are looked at together: of one
// directory, and not too many or too large.
func (m Manifest) portions() [][]int {
	var all [][]int
	open := map[string]int{} // by directory: the portion that is being filled
	for i, f := range m.Files {
		dir := path.Dir(f.Path)
		n, ok := open[dir]
		if !ok || len(all[n]) == 64 || f.Size >= chunked {
			n = len(all)
			all = append(all, nil)
			open[dir] = n
		}
		all[n] = append(all[n], i)
	}
	return all
}

// take makes an object of content that has come whole.
func (s *Store) take(f File, data []byte) error {
	if int64(len(data)) != f.Size || sumHex(data) != f.SHA256 {
		return errOther
	}
	path := filepath.Join(s.in(), f.SHA256)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = descriptor(fd).Write(data)
	if err == nil && f.Mode != 0o600 {
		err = unix.Fchmod(fd, uint32(f.Mode))
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		_ = os.Remove(path)
		return err
	}
	s.mine(f.SHA256)
	return nil
}

// room refuses early what cannot fit. The old files stay until the new ones are
// whole, so there must be room for both; and for the objects, where they are on
// another file system.
func (s *Store) room(m Manifest, d *incoming, wants []Want) error {
	var need, place int64
	for _, w := range wants {
		if len(w.Ranges) == 0 {
			need += m.Files[w.Index].Size
		}
		for _, r := range w.Ranges {
			need += r.Len
		}
	}
	for _, i := range d.place {
		place += m.Files[i].Size
	}
	if apart(s.dir(), m.Root) {
		if err := fits(m.Root, place); err != nil {
			return err
		}
	}
	return fits(s.in(), need)
}

func fits(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return nil // not known here: the transfer will tell
	}
	if free := uint64(st.Bavail) * uint64(st.Bsize); uint64(need) > free { //nolint:unconvert // types differ between systems
		return fmt.Errorf("%s: %w: %s needed, %s free", dir, ErrNoSpace, humanize.Bytes(uint64(need)), humanize.Bytes(free))
	}
	return nil
}

// apart tells whether two directories are on different file systems.
func apart(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Dev != y.Dev
}
