package conctest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.org/conc"
	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/internal/cli"
	"example.org/conc/internal/rehearsal"
	"example.org/conc/jobs"
)

// scene is a State that was found to be possible.
type scene struct {
	state State
	list  string
	ini   string
	node  *config.Node
	plan  *jobs.Plan

	done     int // by Journal
	from, to int // 0: not said
	fault    int // the step that it befalls; 0: none
}

const (
	usualNode = "node1"
	othersRun = "01HZZZZZZZZZZZZZZZZZZZZZZZ"
)

// prepare judges a state.
func prepare(app conc.App, list string, state State) (*scene, error) {
	s := &scene{state: state, list: list}
	if list == "" {
		return nil, errors.New("no list is named")
	}
	if err := s.compose(); err != nil {
		return nil, err
	}
	file, err := config.Parse("deploy.ini", []byte(s.ini), config.Options{})
	if err != nil {
		return nil, err
	}
	name := state.Node
	if name == "" {
		name = file.NodeNames()[0]
	}
	if s.node, err = file.Node(name); err != nil {
		return nil, err
	}
	if s.plan, err = cli.Planner(cli.App(app)).Plan(file, s.node, list); err != nil {
		return nil, err
	}
	if err := errors.Join(s.checkFiles(), s.checkSteps()); err != nil {
		return nil, err // the rest is about those steps
	}
	return s, errors.Join(s.checkLock(file, app), s.checkFault())
}

// compose makes the deploy.ini of INI, or of nothing, with the nodes and the
// attributes that the state adds.
func (s *scene) compose() error {
	name := s.state.Node
	if s.ini = s.state.INI; s.ini == "" {
		if name == "" {
			name = usualNode
		}
		s.ini = fmt.Sprintf("[DEFAULT]\nbundle = bundle\n[node:%s]\nsshd.ip = 127.0.0.1\n", name)
	}
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(s.ini, "\n") + "\n")
	for _, node := range slices.Sorted(maps.Keys(s.state.Nodes)) {
		fmt.Fprintf(&b, "[node:%s]\n", node)
		attrs := s.state.Nodes[node]
		for _, key := range slices.Sorted(maps.Keys(attrs)) {
			if err := oneLine(key, attrs[key]); err != nil {
				return fmt.Errorf("node %s: %w", node, err)
			}
			fmt.Fprintf(&b, "%s = %s\n", key, attrs[key])
		}
	}
	s.ini = b.String()
	if len(s.state.Attributes) == 0 {
		return nil
	}
	for key, value := range s.state.Attributes {
		if err := oneLine(key, value); err != nil {
			return err
		}
	}
	if name == "" {
		file, err := config.Parse("deploy.ini", []byte(s.ini), config.Options{})
		if err != nil {
			return err
		}
		name = file.NodeNames()[0]
	}
	text, err := rehearsal.Rewrite([]byte(s.ini), name, s.state.Attributes)
	s.ini, s.state.Attributes = string(text), nil
	return err
}

func oneLine(key, value string) error {
	if strings.ContainsAny(key+value, "\r\n") {
		return fmt.Errorf("the attribute %q is not one line", key)
	}
	return nil
}

// checkFiles refuses files that are not the node's to have.
func (s *scene) checkFiles() error {
	for _, name := range slices.Sorted(maps.Keys(s.state.Files)) {
		f := s.state.Files[name]
		switch {
		case !fs.ValidPath(name) || name == ".":
			return fmt.Errorf("the file %q is not below the node's home: name it relative to that, with no .. in it", name)
		case name == ".conc" || strings.HasPrefix(name, ".conc/"):
			return fmt.Errorf("the file %q is conc's own: say by Journal and Open what it is to find there", name)
		case f.Link != "" && (f.Content != "" || f.Dir):
			return fmt.Errorf("the file %q is a link, and something else: give it one of Link, Content and Dir", name)
		case f.Dir && f.Content != "":
			return fmt.Errorf("the file %q is a directory, and has content", name)
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if parent, ok := s.state.Files[dir]; ok && !parent.Dir {
				return fmt.Errorf("the file %q is below %q, which is no directory", name, dir)
			}
		}
	}
	return nil
}

// checkSteps finds the steps that are named.
func (s *scene) checkSteps() error {
	st := s.state
	find := func(what, step string, n *int) error {
		if step == "" {
			return nil
		}
		var err error
		if *n, err = s.plan.Find(step); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	if st.Step != "" && (st.From != "" || st.To != "") {
		return errors.New("Step is one step alone: it goes without From and To")
	}
	if err := errors.Join(find("From", st.From, &s.from), find("To", st.To, &s.to)); err != nil {
		return err
	}
	if st.Step != "" {
		if err := find("Step", st.Step, &s.from); err != nil {
			return err
		}
		s.to = s.from
	}
	if s.to > 0 && s.to < s.from {
		return fmt.Errorf("To %s is before From %s", st.To, st.From)
	}
	if j := st.Journal; j != nil {
		return find("Journal.Done", j.Done, &s.done)
	}
	return nil
}

// checkLock refuses bundles and journals that cannot be together.
func (s *scene) checkLock(file *config.File, app conc.App) error {
	st := s.state
	if o := st.Open; o != nil {
		switch {
		case st.Journal != nil:
			return errors.New("Open and Journal: a node has one bundle, and Journal's run holds it already")
		case s.node.Get("bundle") == "":
			return errors.New("Open: the node has no attribute bundle")
		case o.Run != "" && !bundle.ValidRun(o.Run):
			return fmt.Errorf("Open.Run: %q is no run's id", o.Run)
		case o.List != "" && !slices.Contains(file.ListNames(), o.List) && app.Lists[o.List] == nil:
			return fmt.Errorf("Open.List: there is no list %q whose bundle could be open", o.List)
		}
		return nil
	}
	j := st.Journal
	if j == nil {
		return nil
	}
	n := len(s.plan.Steps)
	switch {
	case j.Doubt && j.Status != "":
		return fmt.Errorf("Journal: a step that is in doubt has no status, and %q is one", j.Status)
	case j.Status == jobs.OK:
		return errors.New("Journal.Status is OK: name that step in Done")
	case !slices.Contains([]jobs.Status{"", jobs.Blocked, jobs.Failed, jobs.Stopped, jobs.Errored, jobs.TimedOut}, j.Status):
		return fmt.Errorf("Journal.Status: %q is no status", j.Status)
	case s.done == n:
		return fmt.Errorf("Journal.Done is the last step: such a run was not interrupted")
	case !s.plan.OpenBefore(jobs.Remote, s.done+1):
		return fmt.Errorf("Journal: the list has no bundle open after step %d, so that nobody could go on with the run there", s.done)
	case st.Step != "":
		return errors.New("Journal goes with From: Step is one step of a run of its own")
	}
	return nil
}

// checkFault finds the step that is to be struck, and whether it can be.
func (s *scene) checkFault() error {
	f := s.state.Fault
	if f == (Fault{}) {
		return nil
	}
	var err error
	if s.fault, err = s.plan.Find(f.Step); err != nil {
		return fmt.Errorf("Fault: %w", err)
	}
	step := s.plan.Steps[s.fault-1]
	first, last := max(1, s.from), len(s.plan.Steps)
	if s.to > 0 {
		last = s.to
	}
	kinds := []Kind{Fail, Hang, Cut, Kill, FullDisk, Gone, Stop}
	switch {
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("Fault.Kind: %q is none of %q", f.Kind, kinds)
	case s.fault < first || s.fault > last:
		return fmt.Errorf("Fault: step %d %s is not run", s.fault, step.Name)
	case f.Kind == FullDisk && f.Bytes <= 0:
		return errors.New("Fault: FullDisk needs Bytes, the size that a file may grow to")
	case f.Bytes < 0 || f.Bytes > 0 && f.Kind != FullDisk && f.Kind != Kill:
		return fmt.Errorf("Fault.Bytes says nothing under %s", f.Kind)
	}
	return nil
}

// hangs is the limit of a step that hangs: its own would take too long.
const hangs = time.Second

// script is what happens in the run itself.
func (s *scene) script() rehearsal.Script {
	script := rehearsal.Script{Step: s.fault, Fault: s.state.Fault.Kind, Bytes: s.state.Fault.Bytes}
	if script.Fault == Hang {
		script.Hangs = hangs
	}
	if s.fault > 0 && s.state.Fault.Kind == FullDisk && s.plan.Steps[s.fault-1].Host == jobs.Local {
		script.Far = s.state.Fault.Bytes // which of the two disks it is does not matter
	}
	if s.state.Journal == nil && s.from > 1 {
		script.Done = s.from - 1
	}
	return script
}

// command is what the operator types.
func (s *scene) command() []string {
	args := []string{"deploy", s.node.Name(), "--jobs", s.list}
	if s.state.Journal != nil && s.from > 0 {
		args = []string{"step", s.node.Name(), "--jobs", s.list, "--from", fmt.Sprint(s.from), "--yes"}
	}
	if s.to > 0 {
		args = append(args, "--to", fmt.Sprint(s.to))
	}
	return append(args, s.state.Args...)
}

// owner is who holds the node; nil: nobody, or Journal's run.
func (s *scene) owner() *bundle.Owner {
	o := s.state.Open
	if o == nil {
		return nil
	}
	is := &bundle.Owner{
		V: 1, Run: o.Run, User: o.User, Host: o.Host, Since: time.Now().Add(-time.Minute).UTC(),
		Node: s.node.Name(), List: o.List, Message: o.Message,
	}
	for _, d := range []struct {
		field *string
		usual string
	}{{&is.Run, othersRun}, {&is.User, "bob"}, {&is.Host, "desk8"}, {&is.List, s.list}} {
		if *d.field == "" {
			*d.field = d.usual
		}
	}
	return is
}

// open makes somebody's bundle.
func (w *world) open(o *bundle.Owner) error {
	return bundle.Open(filepath.Join(w.stage.Node.Home, w.s.node.Get("bundle")), *o)
}

// secretVariable is where conc looks for a secret first.
func secretVariable(name string) string {
	return "CONC_SECRET_" + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(name))
}
