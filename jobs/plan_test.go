package jobs

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/config"
)

const planINI = `[DEFAULT]
app = shop
jobs = release
limit = 5m
db.password = secret:db
word = two words

[node:web1]
sshd.ip = 127.0.0.1
admin = deploy
bundle = shop-bundle

[jobs:release]
`

// planOf makes the plan of a list with these lines.
func planOf(t *testing.T, p Planner, lines ...string) (*Plan, error) {
	t.Helper()
	f, err := config.Parse("deploy.ini", []byte(planINI+strings.Join(lines, "\n")+"\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Node("web1")
	if err != nil {
		t.Fatal(err)
	}
	return p.Plan(f, n, "")
}

func TestPlanReadsLines(t *testing.T) {
	plan, err := planOf(t, Planner{Catalogue: Stock()},
		"open = remote open_bundle",
		"go = remote sudo timeout=%(limit)s run echo '%(word)s' %(db.password)s timeout=3",
		"port = remote retry=3 timeout=90 wait_port 80",
		"ask = local hold 'go on?'")
	if err != nil {
		t.Fatal(err)
	}
	want := []Spec{
		{Name: "open", Host: Remote, Timeout: plan.Node.Duration("timeout.job"), Words: []string{"open_bundle"}},
		{Name: "go", Host: Remote, Sudo: true, Timeout: 5 * time.Minute, Words: []string{"run", "echo", "two words", config.SecretToken("db"), "timeout=3"}},
		{Name: "port", Host: Remote, Timeout: 90 * time.Second, Retry: 3, Words: []string{"wait_port", "80"}},
		{Name: "ask", Host: Local, Timeout: 1000 * time.Hour, Words: []string{"hold", "go on?"}},
	}
	if d := cmp.Diff(want, plan.Specs()); d != "" {
		t.Errorf("specs (-want +got):\n%s", d)
	}
	if got := plan.Steps[1].Origin.String(); got != "deploy.ini:15" {
		t.Errorf("origin: got %s, want deploy.ini:15", got)
	}
	if got := plan.UsesSecrets(Remote, 1, 4); !cmp.Equal(got, []string{"db"}) {
		t.Errorf("secrets: got %q, want db", got)
	}
	if got := plan.UsesSecrets(Remote, 3, 4); got != nil {
		t.Errorf("secrets of 3-4: got %q, want none", got)
	}

	// The agent's side: the same steps, the same digest.
	again, err := Planner{Catalogue: Stock()}.Rebuild(plan.Node, plan.List, plan.Specs())
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest != plan.Digest {
		t.Errorf("digest: got %s, want %s", again.Digest, plan.Digest)
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"a = remot run x", `deploy.ini:14: job "a": unknown host "remot"; did you mean "remote"?`},
		{"a = remote", `no op is named`},
		{"a = remote sudo", `no op is named`},
		{"a = remote rnu x", `unknown op "rnu"; did you mean "run"?`},
		{"a = remote quux x", `unknown op "quux"; conc ops lists them`},
		{"a = remote timeuot=5m run x", `unknown modifier "timeuot=5m"; did you mean "timeout"?`},
		{"a = remote sudo sudo run x", `the modifier sudo is there twice`},
		{"a = remote timeout=-5 wait_port 80", `timeout=-5`},
		{"a = remote timeout=1e99 wait_port 80", `timeout=1e99`},
		{"a = remote 'timeout=5 parsecs' wait_port 80", `timeout=5 parsecs`},
		{"a = remote retry=3 run x", `run cannot be repeated`},
		{"a = remote retry=0 wait_port 80", `retry=0 is not a whole number from 1 to 100`},
		{"a = remote retry=101 wait_port 80", `retry=101 is not`},
		{"a = remote hold x", `hold is an op for the local host only`},
		{"a = remote run", `run: it needs a program`},
		{"a = remote shell echo hi", `put the whole line in quotes`},
		{"a = remote open_bundle now", `it takes no arguments`},
		{"a = remote wait_port 99999", `"99999" is not a port`},
		{"a = remote wait_http ftp://x/", `is not an http:// or https:// URL`},
		{"a = remote create_venv", `it needs a directory, or the node an attribute venv`},
		{"a = remote systemd restrat shop", `did you mean "restart"`},
		{"a = remote %(db.password)s", `unknown op "********"`},
		{"a = remote retry=%(db.password)s wait_port 1", `retry=********`},
		{"a = remote run %(nope)s", `nope`},
	} {
		t.Run(tt.line, func(t *testing.T) {
			_, err := planOf(t, Planner{Catalogue: Stock()}, tt.line)
			ps, ok := err.(config.Problems)
			if !ok || len(ps) != 1 || !strings.Contains(ps.Error(), tt.want) || strings.ContainsAny(ps.Error(), "\x00\n") {
				t.Errorf("got %q, want one problem with %q", err, tt.want)
			}
		})
	}
}

func TestPlanTellsEveryProblem(t *testing.T) {
	_, err := planOf(t, Planner{Catalogue: Stock()}, "a = remote nope", "b = remote open_bundle", "c = local hold")
	ps, _ := err.(config.Problems)
	if len(ps) != 2 || ps[0].Origin.Line != 14 || ps[1].Origin.Line != 16 {
		t.Errorf("got %v, want problems at lines 14 and 16", err)
	}
}

func nothing(context.Context, *Env) error { return nil }

type settable struct{ Level int }

func (s settable) Do(context.Context, *Env) error { return nil }

func TestPlanOfAGoList(t *testing.T) {
	lists := func(level int) map[string]List {
		return map[string]List{"go": {
			{Name: "open", Host: Remote, Op: OpenBundle{}},
			{Name: "set", Host: Remote, Timeout: time.Minute, Op: settable{level}},
			{Name: "own", Host: Local, Op: OpFunc(nothing)},
		}}
	}
	node := config.NewNode("web1", map[string]string{"jobs": "go"})
	f, err := config.Parse("deploy.ini", []byte(planINI+"a = remote open_bundle\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := Planner{Catalogue: Stock(), Lists: lists(1)}
	plan, err := p.Plan(f, node, "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range plan.Steps {
		names = append(names, s.OpName)
	}
	if want := []string{"OpenBundle", "settable", "OpFunc"}; !cmp.Equal(names, want) {
		t.Errorf("op names: got %q, want %q", names, want)
	}
	again, err := p.Rebuild(node, "go", plan.Specs())
	if err != nil || again.Digest != plan.Digest {
		t.Errorf("rebuilt: got %v, %v; want the same digest", again, err)
	}
	other := Planner{Catalogue: Stock(), Lists: lists(2)}
	if changed, err := other.Rebuild(node, "go", plan.Specs()); err != nil || changed.Digest == plan.Digest {
		t.Errorf("another field of an op: got the same digest (%v)", err)
	}
	if _, err := (Planner{Catalogue: Stock()}).Rebuild(node, "go", plan.Specs()); err == nil {
		t.Error("a program without the list: got no error")
	}
}

func TestPlanRefusesGoLists(t *testing.T) {
	f, err := config.Parse("deploy.ini", []byte(planINI+"a = remote open_bundle\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := f.Node("web1")
	if err != nil {
		t.Fatal(err)
	}
	var none *settable
	for _, tt := range []struct {
		name, list string
		jobs       List
		want       string
	}{
		{"both places", "release", List{{Name: "a", Host: Local, Op: OpenBundle{}}}, "is in this file and in the program"},
		{"empty", "go", List{}, "no jobs"},
		{"no name", "go", List{{Host: Local, Op: OpenBundle{}}}, "no name"},
		{"a number", "go", List{{Name: "7", Host: Local, Op: OpenBundle{}}}, "could be taken for a step's number"},
		{"twice", "go", List{{Name: "a", Host: Local, Op: OpenBundle{}}, {Name: "a", Host: Local, Op: OpenBundle{}}}, "taken"},
		{"host", "go", List{{Name: "a", Host: "far", Op: OpenBundle{}}}, "neither local nor remote"},
		{"nil", "go", List{{Name: "a", Host: Local}}, "no op"},
		{"nil pointer", "go", List{{Name: "a", Host: Local, Op: none}}, "no op"},
		{"nil func", "go", List{{Name: "a", Host: Local, Op: OpFunc(nil)}}, "no op"},
		{"validate", "go", List{{Name: "a", Host: Local, Op: Run{}}}, "it needs a program"},
		{"retry", "go", List{{Name: "a", Host: Local, Op: Run{Args: []string{"x"}}, Retry: 1}}, "cannot be repeated"},
		{"place", "go", List{{Name: "a", Host: Remote, Op: Hold{Message: "x"}}}, "local host only"},
		{"timeout", "go", List{{Name: "a", Host: Remote, Op: OpenBundle{}, Timeout: -1}}, "not over zero"},
		{"unknown", "g", nil, `no job list is called "nope"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Planner{Catalogue: Stock(), Lists: map[string]List{tt.list: tt.jobs}}
			list := tt.list
			if tt.jobs == nil {
				list = "nope"
			}
			if _, err := p.Plan(f, node, list); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestPlanWithoutAList(t *testing.T) {
	f, err := config.Parse("deploy.ini", []byte("[node:a]\nsshd.ip = ::1\n[jobs:rollout]\nx = local open_bundle\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := f.Node("a")
	if err != nil {
		t.Fatal(err)
	}
	p := Planner{Catalogue: Stock(), Lists: map[string]List{"rollback": {{Name: "x", Host: Local, Op: OpenBundle{}}}}}
	if _, err := p.Plan(f, node, ""); err == nil || !strings.Contains(err.Error(), "--jobs") {
		t.Errorf("no list: got %v, want one that names --jobs", err)
	}
	for word, near := range map[string]string{"rolout": "rollout", "rolback": "rollback"} {
		if _, err := p.Plan(f, node, word); err == nil || !strings.Contains(err.Error(), `did you mean "`+near+`"`) {
			t.Errorf("%s: got %v, want %s suggested", word, err, near)
		}
	}
}

func TestDigestSeesWhatDecides(t *testing.T) {
	p := Planner{Catalogue: Stock()}
	base, err := planOf(t, p, "a = remote run x y")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"b = remote run x y", "a = local run x y", "a = remote sudo run x y", "a = remote timeout=7s run x y",
		"a = remote run 'x y'", "a = remote run x y ''", "a = remote shell 'x y'",
	} {
		other, err := planOf(t, p, line)
		if err != nil {
			t.Fatal(err)
		}
		if other.Digest == base.Digest {
			t.Errorf("%s: got the digest of another plan", line)
		}
	}
	same, err := planOf(t, p, "; moved", "", "a  =  remote   run x 'y'")
	if err != nil {
		t.Fatal(err)
	}
	if same.Digest != base.Digest {
		t.Error("layout alone changed the digest")
	}
}

func TestFind(t *testing.T) {
	plan, err := planOf(t, Planner{Catalogue: Stock()}, "open = remote open_bundle", "close = remote close_bundle")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]int{"1": 1, "2": 2, "close": 2, "0": 0, "3": 0, "-1": 0, "abc": 0, "": 0, "clsoe": 0} {
		got, err := plan.Find(in)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("Find(%q): got %d, %v; want %d", in, got, err, want)
		}
	}
	if _, err := plan.Find("clsoe"); !strings.Contains(err.Error(), `"close"`) {
		t.Errorf("got %v, want close suggested", err)
	}
}

func TestCatalogueIsDocumented(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range Stock() {
		if e.Name == "" || e.Summary == "" || e.Help == "" || e.Parse == nil || seen[e.Name] {
			t.Errorf("%s: a field is empty, or the name is there twice", e.Name)
		}
		seen[e.Name] = true
		if strings.HasSuffix(e.Summary, ".") || strings.Contains(e.Summary, "\n") {
			t.Errorf("%s: got summary %q, want one line without a full stop", e.Name, e.Summary)
		}
		plan, err := planOf(t, Planner{Catalogue: Stock()}, "x = "+strings.NewReplacer("%(version)s", "1", "%(http.port)s", "80", "%(venv)s", "v").Replace(e.Example))
		if err != nil && !strings.Contains(err.Error(), "attribute venv") {
			t.Errorf("%s: its example is refused: %v", e.Name, err)
			continue
		}
		if err == nil && plan.Steps[0].OpName != e.Name {
			t.Errorf("%s: its example is one of %s", e.Name, plan.Steps[0].OpName)
		}
	}
	if len(seen) != 23 {
		t.Errorf("got %d ops, want 23", len(seen))
	}
}
