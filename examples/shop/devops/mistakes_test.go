package devops_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"example.org/conc/conctest"
	"example.org/conc/config"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// before is the release that a node has when a list is run.
var before = map[string]string{"release": "1.0", "trial": "1.0", "rollback": "1.1"}

// A check looks for one kind of mistake in a project; nil is that there is none.
type check func(t testing.TB, p project) error

// Our project has none of the mistakes that the checks look for.
func TestChecks(t *testing.T) {
	for name, check := range map[string]check{
		"every node has what its lists need": everyNode,
		"every list closes its bundles":      closes,
		"every list holds its lock":          locks,
		"no file is ever half written":       whole,
		"exit status decides":                exitDecides,
		"repeatable steps are":               repeatable,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := check(t, shop(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The checks are worth something: each of these mistakes is found.
func TestMistakesAreFound(t *testing.T) {
	p := shop(t)
	for _, tt := range []struct {
		mistake string
		project project
		check   check
		want    string
	}{
		{
			"a migration that is not repeatable, but marked so",
			p.with(t, " migrate %(data)s", " vouchers %(data)s"), repeatable,
			"step migrate: done twice, it leaves another shop/data/orders.jsonl",
		},
		{
			"a list that leaves the node's bundle open",
			p.with(t, "close     = remote close_bundle\n", ""), closes,
			"list release leaves the remote bundle open",
		},
		{
			"a list that leaves the workstation's bundle open",
			p.with(t, "unstage   = local  close_bundle\n", ""), closes,
			"list release leaves the local bundle open",
		},
		{
			"a list that does not take its lock",
			p.with(t, "open      = remote open_bundle\n", "").with(t, "close     = remote close_bundle\n", ""), locks,
			"list release: step unpack changes the node, which is not held",
		},
		{
			"a list that lets the node go too early",
			p.with(t, "close     = remote close_bundle\n", "").with(t, "migrate   = remote", "close     = remote close_bundle\nmigrate   = remote"), locks,
			"list release: step migrate changes the node, which is not held",
		},
		{
			"data that are written where they are read",
			p.with(t, " migrate %(data)s", " in_place %(data)s"), whole,
			"list release: step migrate, killed: the data are half written",
		},
		{
			"a step that goes by output, not by exit status",
			p.with(t, "run shop/current/bin/shop start shop/current/shop.conf", `shell "shop/current/bin/shop start shop/current/shop.conf | grep runs"`),
			exitDecides, "shop start says no, and list release is OK",
		},
		{
			"a step whose exit status nobody looks at",
			p.with(t, "run %(release)s/bin/shop stop %(release)s/shop.conf", `shell "%(release)s/bin/shop stop %(release)s/shop.conf; true"`),
			exitDecides, "shop stop says no, and list release is OK",
		},
		{
			"an attribute that one node lacks",
			p.with(t, "[group:web]\nhttp.port = 8000\n", "[group:web]\n").with(t, "sshd.ip   = 192.0.2.12\n", "sshd.ip   = 192.0.2.12\nhttp.port = 8000\n"),
			everyNode, `"http.port"`,
		},
		{
			"an attribute that one node lacks, and only a template uses",
			p.with(t, "other.url = http://%(node:web1", "otherurl = http://%(node:web1"),
			everyNode, `node web2: step configure: FAILED: .*"other.url"`,
		},
		{
			"a template with an unknown key",
			project{ini: p.ini, template: strings.Replace(p.template, "{{.data}}", "{{.dada}}", 1)},
			everyNode, `node web1: step configure: FAILED: .*"dada"`,
		},
	} {
		t.Run(tt.mistake, func(t *testing.T) {
			t.Parallel()
			err := tt.check(t, tt.project)
			if err == nil {
				t.Fatal("it is not found")
			}
			for part := range strings.SplitSeq(tt.want, ".*") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %v, want %s", err, tt.want)
				}
			}
		})
	}
}

// plans gives the plan of every list for every node: no run is needed to see
// that an attribute is missing, or that a line is wrong.
func plans(p project) (all []*jobs.Plan, err error) {
	f, err := config.Parse("deploy.ini", []byte(p.ini), config.Options{})
	if err != nil {
		return nil, err
	}
	a := app()
	planner := jobs.Planner{
		Catalogue: slices.Concat(jobs.Stock(), jobs.Catalogue{nodetest.Stock().Op()}, a.Ops),
		Lists:     a.Lists,
	}
	lists := append(f.ListNames(), slices.Sorted(maps.Keys(a.Lists))...)
	for _, name := range f.NodeNames() {
		node, err := f.Node(name)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", name, err)
		}
		for _, list := range lists {
			plan, err := planner.Plan(f, node, list)
			if err != nil {
				return nil, fmt.Errorf("node %s: %w", name, err)
			}
			all = append(all, plan)
		}
	}
	return all, nil
}

// onWeb1 gives every list's plan for one node: it is the same program on the others.
func onWeb1(p project) ([]*jobs.Plan, error) {
	all, err := plans(p)
	return slices.DeleteFunc(all, func(plan *jobs.Plan) bool { return plan.Node.Name() != "web1" }), err
}

// everyNode runs every list against every node, for what only a run can tell:
// what a template asks for, say.
func everyNode(t testing.TB, p project) error {
	all, err := plans(p)
	if err != nil {
		return err
	}
	for _, plan := range all {
		r := conctest.Run(t, app(), plan.List, p.state(t, plan.Node.Name(), before[plan.List]))
		if r.Status == jobs.OK {
			continue
		}
		if len(r.Steps) == 0 {
			return fmt.Errorf("node %s: %s", plan.Node.Name(), r.Err)
		}
		last := r.Steps[len(r.Steps)-1]
		return fmt.Errorf("node %s: step %s: %s: %s", plan.Node.Name(), last.Name, last.Status, last.Message)
	}
	return nil
}

// closes looks whether a list leaves a bundle open: nobody could deploy again.
func closes(_ testing.TB, p project) error {
	all, err := plans(p)
	if err != nil {
		return err
	}
	for _, plan := range all {
		for _, host := range []jobs.Host{jobs.Remote, jobs.Local} {
			if plan.OpenBefore(host, len(plan.Steps)+1) {
				return fmt.Errorf("list %s leaves the %s bundle open", plan.List, host)
			}
		}
	}
	return nil
}

// locks looks whether the node is held, against everybody else, by each step that
// may change it.
func locks(_ testing.TB, p project) error {
	all, err := plans(p)
	if err != nil {
		return err
	}
	for _, plan := range all {
		for _, step := range plan.Steps {
			switch step.Op.(type) {
			case jobs.OpenBundle, jobs.CloseBundle:
				continue
			}
			if step.Host == jobs.Remote && !plan.OpenBefore(jobs.Remote, step.N) {
				return fmt.Errorf("list %s: step %s changes the node, which is not held", plan.List, step.Name)
			}
		}
	}
	return nil
}

// whole has each step killed in the middle of the first file that it writes: the
// data are the old ones or the new ones.
func whole(t testing.TB, p project) error {
	all, err := onWeb1(p)
	if err != nil {
		return err
	}
	for _, plan := range all {
		for _, step := range plan.Steps {
			switch step.Op.(type) {
			case jobs.OpenBundle, jobs.CloseBundle, jobs.WaitHTTP:
				continue // they write nothing of the shop's
			}
			if step.Host != jobs.Remote {
				continue
			}
			state := p.state(t, plan.Node.Name(), before[plan.List])
			state.Fault = conctest.Fault{Step: step.Name, Kind: conctest.Kill, Bytes: 20}
			r := conctest.Run(t, app(), plan.List, state)
			if got := r.File("shop/data/orders.jsonl"); got != orders10 && got != orders11 {
				return fmt.Errorf("list %s: step %s, killed: the data are half written", plan.List, step.Name)
			}
		}
	}
	return nil
}

// exitDecides has each command of the shop fail in turn, while it says that all
// is well: the list must not be OK then.
func exitDecides(t testing.TB, p project) error {
	for _, command := range []string{"stop", "start"} {
		p.saysNo = command
		for _, list := range []string{"release", "rollback"} {
			r := conctest.Run(t, app(), list, p.state(t, "web1", before[list]))
			if r.Status != jobs.Failed {
				return fmt.Errorf("shop %s says no, and list %s is %s", command, list, r.Status)
			}
		}
	}
	return nil
}

// repeatable does each step that says so twice: what it leaves on the node must be
// the same.
func repeatable(t testing.TB, p project) error {
	all, err := onWeb1(p)
	if err != nil {
		return err
	}
	for _, plan := range all {
		state := p.state(t, plan.Node.Name(), before[plan.List])
		state.To = plan.Steps[0].Name
		r := conctest.Run(t, app(), plan.List, state)
		from := "" // the first step that is still to be done
		for _, s := range plan.Steps[1:] {
			if _, last := s.Op.(jobs.CloseBundle); last {
				break // the run is over
			}
			if from == "" {
				from = s.Name
			}
			if _, ok := s.Op.(jobs.Repeatable); !ok {
				continue
			}
			if err := twice(r, from, s.Name); err != nil {
				return fmt.Errorf("list %s: step %s: %w", plan.List, s.Name, err)
			}
			from = ""
		}
	}
	return nil
}

// twice goes on to a step, and does that one again.
func twice(r *conctest.Result, from, step string) error {
	once, err := left(r.Resume(from, "--to", step))
	if err != nil {
		return err
	}
	twice, err := left(r.Resume(step, "--to", step))
	if err != nil {
		return fmt.Errorf("done twice, %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(twice)) {
		if once[name] != twice[name] {
			return fmt.Errorf("done twice, it leaves another %s", name)
		}
	}
	if len(once) > len(twice) {
		return errors.New("done twice, it leaves less")
	}
	return nil
}

// left is what a run has left on the node: the content of each file, the target of
// each link.
func left(r *conctest.Result) (map[string]string, error) {
	if r.Status != jobs.OK {
		return nil, fmt.Errorf("it is %s", r.Status)
	}
	found := map[string]string{}
	err := fs.WalkDir(r.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".conc" || name == "shop-bundle"):
			return fs.SkipDir // conc's own records, and what the list delivers there
		case d.Type()&fs.ModeSymlink != 0:
			found[name], err = fs.ReadLink(r.Files(), name)
		case d.Type().IsRegular():
			var text []byte
			text, err = fs.ReadFile(r.Files(), name)
			found[name] = string(text)
		}
		return err
	})
	return found, err
}
