package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/bundle"
	"example.org/conc/internal/testnode"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

func nothing(context.Context, *jobs.Env) error { return nil }

// entry is an op of a program's own.
func entry(name string) jobs.Entry {
	return jobs.Entry{Name: name, Parse: func([]string) (jobs.Op, error) { return jobs.OpFunc(nothing), nil }}
}

func TestWhatIsWrongWithAProgramIsToldAtStart(t *testing.T) {
	t.Parallel()
	check := nodetest.Stock()[0]
	for want, app := range map[string]App{
		`the op "run" is in App.Ops, and comes with conc`:        {Ops: jobs.Catalogue{entry("run")}},
		`the op "nodetest" is in App.Ops, and comes with conc`:   {Ops: jobs.Catalogue{entry("nodetest")}},
		`the op "x" is in App.Ops, and once more`:                {Ops: jobs.Catalogue{entry("x"), entry("x")}},
		`the check "file" is in App.Checks, and comes with conc`: {Checks: nodetest.Catalogue{check}},
		`App.Ops has the name "a b"`:                             {Ops: jobs.Catalogue{entry("a b")}},
		`App.Ops has the name "sudo"`:                            {Ops: jobs.Catalogue{entry("sudo")}},
		`the op "x" has no Parse`:                                {Ops: jobs.Catalogue{{Name: "x"}}},
		`the op "x": jobs.OpFunc is no struct`:                   {Ops: jobs.Catalogue{jobs.Typed("x", "", jobs.OpFunc(nothing))}},
		`App.Lists has a list ""`:                                {Lists: map[string]jobs.List{"": nil}},
		`App.Name "my shop" is not one word`:                     {Name: "my shop"},
	} {
		err := app.faults()
		var told *jobs.Error
		if !errors.As(err, &told) || told.Status != jobs.Errored || !strings.Contains(err.Error(), want) || told.Hint == "" {
			t.Errorf("got %v, want ERROR with %q", err, want)
		}
	}
	if err := testApp.faults(); err != nil {
		t.Error(err)
	}
}

func TestAListInTheProgramAndTheFile(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "a = remote run true\n")
	o.app = App{Lists: map[string]jobs.List{"release": {{Name: "a", Host: jobs.Remote, Op: jobs.OpFunc(nothing)}}}}
	for _, args := range [][]string{{"nodes"}, {"deploy", "web1"}, {"plan", "web1", "--jobs", "other"}, {"config", "check"}} {
		if r := o.want(5, args...); !strings.Contains(r.String(), `the job list "release" is in this file and in the program`) ||
			!strings.Contains(r.String(), "deploy.ini:") {
			t.Errorf("%v: got\n%s", args, r)
		}
	}
}

func TestIdentityOfAProgram(t *testing.T) {
	t.Parallel()
	stamped := func(path, module, version, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{Path: path, Main: debug.Module{Path: module, Version: version}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "3f2a9c1d04be77"}, {Key: "vcs.modified", Value: modified},
		}}
	}
	for _, tt := range []struct {
		app   App
		build *debug.BuildInfo
		want  bundle.Program
		text  string
		own   bool
	}{
		{App{}, nil, bundle.Program{Name: "conc"}, "conc", false},
		{
			App{},
			stamped("example.org/conc/cmd/conc", concModule, "v0.1.0", "false"),
			bundle.Program{Name: "conc", Revision: "3f2a9c1d04be77"},
			"conc (3f2a9c1d04be)", false,
		},
		{
			App{},
			stamped("example.org/shop/cmd/ship", "example.org/shop", "v1.4.2+dirty", "true"),
			bundle.Program{Name: "ship", Release: "v1.4.2", Revision: "3f2a9c1d04be77", Modified: true},
			"ship v1.4.2 (3f2a9c1d04be, modified)", true,
		},
		{
			App{},
			stamped("example.org/shop/v2", "example.org/shop/v2", "v2.0.1-0.20260101120000-3f2a9c1d04be", "false"),
			bundle.Program{Name: "shop", Revision: "3f2a9c1d04be77"},
			"shop (3f2a9c1d04be)", true,
		},
		{
			App{Name: "ship", Release: "1.5"},
			stamped("command-line-arguments", "example.org/shop", "(devel)", "false"),
			bundle.Program{Name: "ship", Release: "1.5", Revision: "3f2a9c1d04be77"},
			"ship 1.5 (3f2a9c1d04be)", true,
		},
	} {
		got := (&program{app: tt.app, env: environment{Build: tt.build}}).identity()
		if d := cmp.Diff(tt.want, *got); d != "" || got.String() != tt.text || got.Own() != tt.own {
			t.Errorf("got %q, own %v, want %q\n%s", got, got.Own(), tt.text, d)
		}
	}
}

// Release and commit of the program are in the lock, in both journals, and
// wherever a run is shown.
func TestTheProgramIsOnRecord(t *testing.T) {
	t.Parallel()
	o := newOperator(t, inProcess(t, testnode.Options{}), "open = remote open_bundle\nbad = remote run false\n")
	o.app = App{Name: "ship", Release: "1.5"}
	o.env.Build = &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "3f2a9c1d04be77"}, {Key: "vcs.modified", Value: "true"}}}
	const shown, inJSON = "ship 1.5 (3f2a9c1d04be, modified)", `"program":{"name":"ship","release":"1.5","revision":"3f2a9c1d04be77","modified":true}`

	r := o.want(1, "deploy", "web1", "--json")
	if first := strings.SplitN(r.out, "\n", 2)[0]; !strings.Contains(first, inJSON) {
		t.Errorf("run_start is %s", first)
	}
	run := events(t, r.out)[0]["id"].(string)
	for _, file := range []string{
		filepath.Join(o.node.Home, o.node.Attrs()["bundle"], bundle.OwnerFile),
		filepath.Join(o.node.Home, ".conc/runs", run, "journal"),
		filepath.Join(o.env.StateDir, "runs", run, "web1.journal"),
	} {
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(strings.ReplaceAll(string(data), `": `, `":`), strings.Trim(inJSON, "{}")[:30]) {
			t.Errorf("%s: %v\n%s", file, err, data)
		}
	}
	var owner bundle.Owner
	data, _ := os.ReadFile(filepath.Join(o.node.Home, o.node.Attrs()["bundle"], bundle.OwnerFile))
	if err := json.Unmarshal(data, &owner); err != nil || owner.Program == nil || owner.Program.String() != shown || owner.Release != "1.5" {
		t.Errorf("%v: got owner %s", err, data)
	}
	for _, args := range [][]string{{"status", "web1"}, {"history", run}, {"history", "web1", run}} {
		if r := o.want(0, args...); !strings.Contains(r.out, shown) {
			t.Errorf("%v: got\n%s", args, r)
		}
		if r := o.want(0, append(args, "--json")...); !strings.Contains(r.out, inJSON) {
			t.Errorf("%v: got\n%s", args, r)
		}
	}
	// The screen of a run is headed by it, and so is what goes on with the run.
	if r := o.run("step", "web1", "--from", "bad"); !strings.Contains(r.out, shown+"  run ") {
		t.Errorf("got\n%s", r)
	}
	if r := o.want(0, "version"); !strings.HasPrefix(r.out, shown+", conc "+Version+" go") {
		t.Errorf("got %s", r)
	}
}
