package cli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.org/conc/config"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// failedNodes is the name, as a NODE, of the nodes that were not OK in the last
// run from this workstation. No group can have it.
const failedNodes = "@failed"

// maxLast bounds the record of the last run when it is read.
const maxLast = 16 << 20

// lastLine is a line of the record of the last run of a deploy.ini: the first
// says which, and every other how a node stands.
type lastLine struct {
	V      int         `json:"v,omitempty"` // 1, in the first line
	File   string      `json:"file,omitempty"`
	Run    string      `json:"run,omitempty"`
	Since  *time.Time  `json:"ts,omitempty"`
	Node   string      `json:"node,omitempty"`
	Status jobs.Status `json:"status,omitempty"` // "": not started, or not ended
	Open   bool        `json:"open,omitempty"`   // the run can be gone on with
}

// last is the record of the last run, and of what was done about its nodes
// since: kept so that @failed means something. A run of some of its nodes
// replaces what is said of those; one with any other node begins a new record.
type last struct {
	nodes []lastLine // in the order of the run
	f     *os.File
}

func (p *program) lastPath(file string) string {
	name := sha256.Sum256([]byte(file))
	return filepath.Join(p.env.StateDir, "last", hex.EncodeToString(name[:8])+".jsonl")
}

// readLast gives how the nodes of the last run of a deploy.ini stand: none, when
// there was none. A torn last line is left out.
func (p *program) readLast(file string) (last, error) {
	var l last
	f, err := os.OpenFile(p.lastPath(file), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	in := bufio.NewReader(io.LimitReader(f, maxLast))
	at := map[string]int{}
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		var line lastLine
		if err == nil {
			err = json.Unmarshal(text, &line)
		}
		switch i, known := at[line.Node]; {
		case err != nil:
			return last{}, fmt.Errorf("%s:%d: damaged: %w", p.lastPath(file), n, err)
		case n == 1 && (line.V != 1 || line.File != file):
			return last{}, fmt.Errorf("%s: not a record of %s that this conc reads", p.lastPath(file), file)
		case line.Node == "":
		case known:
			l.nodes[i] = line
		default:
			at[line.Node] = len(l.nodes)
			l.nodes = append(l.nodes, line)
		}
	}
}

// setOut begins to record a run, each of whose nodes has not ended yet.
func (p *program) setOut(file, run string, names []string) (*last, error) {
	before, err := p.readLast(file)
	if err != nil {
		before = last{} // nothing can be made of it: this run is the last one now
	}
	mine := map[string]bool{}
	for _, n := range names {
		mine[n] = true
	}
	known := 0
	for i, n := range before.nodes {
		if mine[n.Node] {
			before.nodes[i] = lastLine{Node: n.Node}
			known++
		}
	}
	l := &last{nodes: before.nodes}
	if known < len(names) {
		l.nodes = nil
		for _, n := range names {
			l.nodes = append(l.nodes, lastLine{Node: n})
		}
	}
	path, now := p.lastPath(file), p.env.Now().UTC()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	for _, line := range append([]lastLine{{V: 1, File: file, Run: run, Since: &now}}, l.nodes...) {
		if err := enc.Encode(line); err != nil {
			return nil, err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(text.Bytes()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	l.f = f
	return l, nil
}

// end records how a node's run ended.
func (l *last) end(o *runner.Outcome) {
	text, err := json.Marshal(lastLine{Node: o.Node, Status: o.Status, Open: o.Open || o.Own || o.Closed && o.Status != jobs.OK})
	if err == nil {
		_, _ = l.f.Write(append(text, '\n')) // without it, the node has not ended: @failed has it
	}
}

func (l *last) close() { _ = l.f.Close() }

// names gives the nodes that patterns mean; @failed is those that were not OK.
func (p *program) names(f *config.File, patterns ...string) ([]string, error) {
	if !slices.Contains(patterns, failedNodes) {
		return f.Select(patterns...)
	}
	failed, _, err := p.failed(f)
	if err != nil {
		return nil, err
	}
	i := slices.Index(patterns, failedNodes)
	others := slices.DeleteFunc(slices.Clone(patterns), func(s string) bool { return s == failedNodes })
	return f.Select(slices.Insert(others, i, failed...)...)
}

// failed gives the nodes that were not OK in the last run, and those of them that
// the run can be gone on with on. None is an error.
func (p *program) failed(f *config.File) (failed, open []string, err error) {
	l, err := p.readLast(absolute(f.Path))
	if err != nil {
		return nil, nil, jobs.Errorf("what %s means cannot be told: %w", failedNodes, err).WithHint("name the nodes")
	}
	there := map[string]bool{}
	for _, name := range f.NodeNames() {
		there[name] = true
	}
	var gone []string
	for _, n := range l.nodes {
		switch {
		case n.Status == jobs.OK:
			continue
		case !there[n.Node]:
			gone = append(gone, n.Node)
			continue
		case n.Open:
			open = append(open, n.Node)
		}
		failed = append(failed, n.Node)
	}
	if len(gone) > 0 {
		p.warn(fmt.Sprintf("no longer in %s, and left out of %s: %s", f.Path, failedNodes, strings.Join(gone, ", ")))
	}
	none := "all of the last run from this workstation are OK"
	if len(l.nodes) == 0 {
		none = "no run of " + f.Path + " from this workstation is on record"
	}
	if len(failed) == 0 {
		err = usageError{err: fmt.Errorf("%s means no node: %s", failedNodes, none), hint: "name the nodes"}
	}
	return failed, open, err
}
