package rehearsal

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Moment is how both ends of a stage are, between two steps.
type Moment struct {
	Home, Project Tree
	Calls         []Call
	Open          bool // the node's bundle is there
	Own           bool // so is the workstation's half
}

// Moment looks at the stage.
func (s *Stage) Moment(bundle string) (Moment, error) {
	var m Moment
	var err, err1, err2, err3 error
	m.Home, err = Look(s.Node.Home)
	m.Project, err1 = Look(s.Project)
	m.Calls, err2 = s.Stubs.Calls()
	if _, err3 = os.Lstat(filepath.Join(s.Node.Home, bundle)); err3 == nil {
		m.Open = true
	} else if errors.Is(err3, fs.ErrNotExist) {
		err3 = nil
	}
	halves, _ := os.ReadDir(filepath.Join(s.State(), "bundles"))
	m.Own = slices.ContainsFunc(halves, func(d fs.DirEntry) bool { return !strings.HasPrefix(d.Name(), ".") })
	return m, errors.Join(err, err1, err2, err3)
}

// called gives the calls of one step, sorted.
func (m Moment) called(step int) []string {
	var lines []string
	for _, c := range m.Calls {
		if c.Step == step {
			lines = append(lines, c.String())
		}
	}
	slices.Sort(lines)
	return lines
}

// score is what a run without a fault is like, moment by moment: [0] is before the
// first step, [n] after step n.
type score struct {
	moments []Moment
	loose   map[string]bool // paths that are not the same in two such runs
	ignore  []string
}

// compare makes a score of two runs without a fault.
func compare(a, b []Moment, ignore []string) *score {
	s := &score{moments: a, loose: map[string]bool{}, ignore: ignore}
	for i := range a {
		for _, path := range a[i].Home.Differences(b[i].Home) {
			s.loose[path] = true
		}
		for _, path := range a[i].Project.Differences(b[i].Project) {
			s.loose["project: "+path] = true
		}
	}
	return s
}

// differences are the paths at which two moments are not the same: of what is not
// the same each time, whether it is there.
func (s *score) differences(a, b Moment) []string {
	all := s.differ("", a.Home, b.Home)
	return append(all, s.differ("project: ", a.Project, b.Project)...)
}

func (s *score) differ(prefix string, a, b Tree) []string {
	return slices.DeleteFunc(prefixed(prefix, a.Differences(b)), func(path string) bool {
		name := path[len(prefix):]
		_, here := a[name]
		_, there := b[name]
		return s.ignored(name) || s.loose[path] && (here == there || !s.always(prefix, name))
	})
}

func prefixed(prefix string, paths []string) []string {
	for i := range paths {
		paths[i] = prefix + paths[i]
	}
	return paths
}

// always tells whether a path that is not the same each time is there, at least,
// whenever a run is over.
func (s *score) always(prefix, name string) bool {
	last := s.moments[len(s.moments)-1]
	tree := last.Home
	if prefix != "" {
		tree = last.Project
	}
	_, ok := tree[name]
	return ok
}

func (s *score) ignored(name string) bool {
	return slices.ContainsFunc(s.ignore, func(glob string) bool {
		whole, _ := path.Match(glob, name)
		base, _ := path.Match(glob, path.Base(name))
		return whole || base
	})
}

// is tells whether a moment is that after step n, of what step at did.
func (s *score) is(m Moment, n, at int) bool {
	want := s.moments[n]
	return m.Open == want.Open && m.Own == want.Own && slices.Equal(m.called(at), want.called(at)) && len(s.differences(m, want)) == 0
}

// torn are the files that are neither as they were before the run, nor as any step
// leaves them; replaced says of each whether there was one before.
func (s *score) torn(m Moment) (torn []string, replaced bool) {
	for path, n := range m.Home {
		if !n.Kind.IsRegular() || s.loose[path] || s.ignored(path) {
			continue
		}
		known, whole := false, false
		for _, moment := range s.moments {
			was, ok := moment.Home[path]
			known = known || ok
			whole = whole || ok && was.Sum == n.Sum && was.Size == n.Size
		}
		if known && !whole {
			torn = append(torn, path)
			_, before := s.moments[0].Home[path]
			replaced = replaced || before
		}
	}
	slices.Sort(torn)
	return torn, replaced
}

// written gives the sizes of the smallest and the largest file of two bytes or more
// that step n writes into a tree; 0: it writes none.
func (s *score) written(n int, tree func(Moment) Tree) (smallest, largest int64) {
	was, is := tree(s.moments[n-1]), tree(s.moments[n])
	for path, f := range is {
		if before, ok := was[path]; ok && before.Sum == f.Sum || !f.Kind.IsRegular() || f.Size < 2 {
			continue
		}
		largest = max(largest, f.Size)
		if smallest == 0 || f.Size < smallest {
			smallest = f.Size
		}
	}
	return smallest, largest
}

func onNode(m Moment) Tree        { return m.Home }
func onWorkstation(m Moment) Tree { return m.Project }
