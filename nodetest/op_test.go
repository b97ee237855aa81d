package nodetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

func TestALineOfACheckSurvivesTheWay(t *testing.T) {
	t.Parallel()
	for _, s := range []Spec{
		{Words: []string{"file", "x", "exists"}},
		{Sudo: true, Level: Monitoring, Timeout: 90 * time.Second, Words: []string{"file", "/a b", "contains", `it's "so" \ $HOME #1; é` + "\t\n|"}},
		{Words: []string{"command", "--", "sudo", "timeout=3s", "", "a=b"}},
		{Words: []string{"file", "x", "contains", config.SecretToken("db") + "'"}},
	} {
		s.Name = "a: b (c)"
		if s.Level == "" {
			s.Level, s.Timeout = Functional, checkLimit
		}
		got, err := Stock().parseLine(s.line())
		if err != nil {
			t.Errorf("%q: %v", s.line(), err)
			continue
		}
		if d := cmp.Diff(s, got); d != "" {
			t.Errorf("%q: want -, got +:\n%s", s.line(), d)
		}
	}
	for _, line := range []string{"", "a", "a = ", "a = sudo", "a = nonsense x", "a = file 'x", "a = timeout=x file a"} {
		if _, err := Stock().parseLine(line); err == nil {
			t.Errorf("%q: want an error", line)
		}
	}
}

// planned gives the op of the list's only job, as the node builds it.
func planned(t *testing.T, text string, lists map[string]jobs.List) (*jobs.Plan, *jobs.Plan, error) {
	t.Helper()
	f, err := config.Parse("deploy.ini", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := f.Node("web1")
	if err != nil {
		t.Fatal(err)
	}
	p := jobs.Planner{Catalogue: append(jobs.Stock(), Stock().Op()), Lists: lists}
	here, err := p.Plan(f, node, "release")
	if err != nil {
		return nil, nil, err
	}
	there, err := p.Rebuild(config.NewNode("web1", node.Values()), "release", here.Specs())
	if err != nil {
		t.Fatalf("the node: %v", err)
	}
	return here, there, nil
}

const shop = `[node:web1]
nodetest = web
jobs = release
pw = secret:db
[nodetest:web]
a = file /x exists
b = sudo file /y contains %(pw)s
`

func TestTheSuiteTravelsWithTheList(t *testing.T) {
	t.Parallel()
	here, there, err := planned(t, shop+"[jobs:release]\ncheck = remote retry=2 nodetest\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"nodetest", "web", "a = file /x exists", "b = sudo file /y contains '" + config.SecretToken("db") + "'"}
	if d := cmp.Diff(want, here.Steps[0].Words); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
	if here.Digest != there.Digest {
		t.Error("the two ends disagree about the plan")
	}
	s := there.Steps[0]
	if got := s.Brief(); got != "nodetest web (2 checks)" {
		t.Errorf("in a few words: %q", got)
	}
	if !s.NeedsRoot() || s.AsRoot() || strings.Join(here.UsesSecrets(jobs.Remote, 1, 1), " ") != "db" {
		t.Errorf("root %v, %v; secrets %q", s.NeedsRoot(), s.AsRoot(), here.UsesSecrets(jobs.Remote, 1, 1))
	}
	// A list in Go is the same.
	inGo, _, err := planned(t, shop, map[string]jobs.List{"release": {{Name: "check", Host: jobs.Remote, Retry: 2, Op: SuiteOp{Name: "web"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if inGo.Digest != here.Digest {
		t.Errorf("in Go: %q", inGo.Steps[0].Words)
	}
	changed, _, err := planned(t, strings.Replace(shop, "/x", "/z", 1)+"[jobs:release]\ncheck = remote retry=2 nodetest web\n", nil)
	if err != nil || changed.Digest == here.Digest {
		t.Errorf("another check, the same digest (%v)", err)
	}
}

func TestASuiteInAListThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{shop + "[jobs:release]\ncheck = remote nodetest wbe\n", `deploy.ini:9: job "check": nodetest: no suite is called "wbe"; did you mean "web"?`},
		{shop + "c = fiel /x\n[jobs:release]\ncheck = remote nodetest web\n", `deploy.ini:8: check "c": unknown check "fiel"`},
		{shop + "[jobs:release]\ncheck = remote nodetest web fast\n", `it takes the name of a suite`},
		{strings.Replace(shop, "nodetest = web", "x = y", 1) + "[jobs:release]\ncheck = remote nodetest\n", `no suite of checks`},
	} {
		_, _, err := planned(t, tt.text, nil)
		var problems config.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want %q, got %v", tt.want, err)
		}
	}
	_, _, err := planned(t, shop, map[string]jobs.List{"release": {{Name: "check", Host: jobs.Remote, Op: SuiteOp{Name: "x"}}}})
	if err == nil || !strings.Contains(err.Error(), `no suite is called "x"`) {
		t.Errorf("in Go: %v", err)
	}
}

// fakes are checks that end as their name says.
func fakes() Catalogue {
	end := func(status jobs.Status) Entry {
		return Entry{Name: strings.ToLower(string(status)), Parse: func([]string) (Check, error) { return ending(status), nil }}
	}
	return Catalogue{end(jobs.OK), end(jobs.Failed), end(jobs.Errored), end("SLOW"), end(Skipped)}
}

type ending jobs.Status

func (e ending) Look(ctx context.Context, _ *jobs.Env) ([]Finding, error) {
	switch jobs.Status(e) {
	case jobs.Failed:
		return []Finding{found(false, "mode", "0644", "0600")}, nil
	case jobs.Errored:
		return nil, jobs.Errorf("no way")
	case Skipped:
		return nil, Skipf("nothing here")
	case "SLOW":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, nil
}

func TestHowASuiteEndsAsAStep(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		kinds  string // the kinds of the checks, by which they are called
		want   jobs.Status
		said   string // message, or note
		output string
	}{
		{"all well", "ok skipped", jobs.OK, "2 checks, 1 SKIPPED", "SKIPPED   skipped2\n                nothing here\n"},
		{"failed", "ok failed skipped failed", jobs.Failed, "2 of 4 checks FAILED: failed2, failed4", "FAILED    failed2\n          want  mode 0644\n          got   mode 0600\n"},
		{"error counts for more", "failed error timeout=10ms/slow", jobs.Errored, "1 of 3 checks ERROR: error2; 1 FAILED: failed1; 1 TIMED OUT: slow3", "ERROR     error2\n                no way\n"},
		{"too slow", "timeout=10ms/slow", jobs.TimedOut, "1 of 1 check TIMED OUT: slow1", ""},
		{"the step is too slow", "slow ok", jobs.TimedOut, "over its limit of 200ms: 1 of 2 checks", ""},
		{"many", strings.Repeat("failed ", 7), jobs.Failed, "failed5, and 2 more", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var lines []string
			for i, kind := range strings.Fields(tt.kinds) {
				kind = strings.ReplaceAll(kind, "/", " ")
				lines = append(lines, kind[strings.LastIndex(kind, " ")+1:]+string(rune('1'+i))+" = "+kind)
			}
			op, err := fakes().Op().Parse(append([]string{"web"}, lines...))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			env := &jobs.Env{
				Node: config.NewNode("web1", nil), Host: jobs.Remote, Log: zerolog.Nop(), Out: &out,
				Progress: func(int64, int64) {}, Secret: func(string) (string, error) { return "", nil },
			}
			r := jobs.Perform(context.Background(), jobs.Step{N: 1, Job: jobs.Job{Name: "check", Host: jobs.Remote, Timeout: 200 * time.Millisecond, Op: op}}, env)
			if r.Status != tt.want || !strings.Contains(r.Message+r.Note, tt.said) || !strings.Contains(out.String(), tt.output) {
				t.Errorf("got %s %q %q, want %s %q, and %q in\n%s", r.Status, r.Message, r.Note, tt.want, tt.said, tt.output, out.String())
			}
			if tt.name == "failed" && r.Hint != "look again: conc nodetest web1 --suite web --only failed2 --only failed4" {
				t.Errorf("hint %q", r.Hint)
			}
		})
	}
}
