package jobs

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/config"
)

type migrate struct {
	To      string        `conc:"VERSION"`
	Files   []string      `conc:"[FILE...]"`
	Mode    fs.FileMode   `conc:"[mode=MODE]"`
	Wait    time.Duration `conc:"[wait=DURATION]"`
	Batch   int           `conc:"[batch=N]"`
	Small   int8          `conc:"[small=N]"`
	Tags    []string      `conc:"[tag=TAG...]"`
	Strict  bool          `conc:"[strict=BOOL]"`
	Force   bool          `conc:"[force]"`
	Secret  string        `conc:"[password=PASSWORD]"`
	Program string        // no argument
}

func (m migrate) Do(context.Context, *Env) error { return nil }

var migrateEntry = Typed("migrate", "bring the schema to a version", migrate{Wait: time.Minute, Tags: []string{"all"}, Program: "x"})

func TestTypedReadsWordsIntoFields(t *testing.T) {
	if migrateEntry.Err != nil {
		t.Fatal(migrateEntry.Err)
	}
	want := "VERSION [FILE...] [mode=MODE] [wait=DURATION] [batch=N] [small=N] [tag=TAG...] [strict=BOOL] [force] [password=PASSWORD]"
	if migrateEntry.Args != want {
		t.Errorf("got usage %q, want %q", migrateEntry.Args, want)
	}
	for _, tt := range []struct {
		line string
		want migrate
	}{
		{"1.1", migrate{To: "1.1", Wait: time.Minute, Tags: []string{"all"}, Program: "x"}},
		{"wait=5s 1.1 a.sql force mode=0640 b=c.sql tag=x tag=y batch=-3 strict=true password=a=b", migrate{
			To: "1.1", Files: []string{"a.sql", "b=c.sql"}, Mode: 0o640, Wait: 5 * time.Second, Batch: -3,
			Tags: []string{"x", "y"}, Strict: true, Force: true, Secret: "a=b", Program: "x",
		}},
	} {
		op, err := migrateEntry.Parse(strings.Fields(tt.line))
		if d := cmp.Diff(tt.want, op); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", tt.line, err, d)
		}
	}
	// One line's fields are not another's, nor the defaults'.
	if op, err := migrateEntry.Parse([]string{"2"}); err != nil || op.(migrate).Tags[0] != "all" || len(op.(migrate).Tags) != 1 {
		t.Errorf("got %+v, %v", op, err)
	}
}

func TestTypedSaysWhatIsWrongWithALine(t *testing.T) {
	for line, want := range map[string]string{
		"":                  "it needs VERSION",
		"force":             "it needs VERSION",
		"1 wiat=5s":         `unknown argument "wiat"; did you mean "wait"?`,
		"1 wait=soon":       "wait soon: not a time limit",
		"1 wait=":           "wait= has no value",
		"1 wait=1s wait=2s": "wait is given twice",
		"1 force force":     "force is given twice",
		"1 batch=many":      "batch many: it is a whole number",
		"1 small=300":       "small 300: it is a whole number of at most 8 bits",
		"1 mode=0999":       "permission bits",
		"1 strict=maybe":    "strict maybe: it is true or false",
	} {
		if _, err := migrateEntry.Parse(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", line, err, want)
		}
	}
	if _, err := migrateEntry.Parse([]string{"1", ""}); err == nil {
		t.Error("an empty argument is taken")
	}
	one := Typed("one", "", &justOne{})
	for line, want := range map[string]string{
		"a b":     `"b" is an argument too many`,
		"a fore":  `unknown argument "fore"; did you mean "force"?`,
		"a nix=1": `"nix" is an argument too many`,
		// What is there in another form is not "too many".
		"a force=yes": "force is the word alone, without a value",
		"a key":       "key needs a value: key=VALUE",
	} {
		if _, err := one.Parse(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", line, err, want)
		}
	}
}

type justOne struct {
	A     string `conc:"A"`
	Force bool   `conc:"[force]"`
	Key   string `conc:"[key=WORD]"`
}

func (*justOne) Do(context.Context, *Env) error { return nil }

func TestTypedTakesAPointer(t *testing.T) {
	given := &justOne{A: "default"}
	e := Typed("single", "", given)
	op, err := e.Parse([]string{"x", "force"})
	if err != nil || *op.(*justOne) != (justOne{A: "x", Force: true}) || given.A != "default" || given.Force {
		t.Errorf("got %+v, %v; the defaults are %+v", op, err, given)
	}
	if op, err = Typed[*justOne]("justOne", "", nil).Parse([]string{"y"}); err != nil || op.(*justOne).A != "y" {
		t.Errorf("got %+v, %v", op, err)
	}
}

// A struct that cannot be read into is an error of the entry's, never a panic.
func TestTypedSaysWhatIsWrongWithAStruct(t *testing.T) {
	for want, err := range map[string]error{
		"is no struct": faultOf(OpFunc(nil)),
		"not exported": faultOf(struct {
			a string `conc:"A"`
		}{}),
		"float64 is no type of an argument; these are: string,": faultOf(struct {
			A float64 `conc:"A"`
		}{}),
		"a tag is NAME": faultOf(struct {
			A string `conc:"[A"`
		}{}),
		"a []string has dots": faultOf(struct {
			A string `conc:"A..."`
		}{}),
		"a bare word is for a bool": faultOf(struct {
			A string `conc:"[a]"`
		}{}),
		"A is there twice": faultOf(struct {
			A string `conc:"A"`
			B string `conc:"[A]"`
		}{}),
		"stands before those": faultOf(struct {
			A string `conc:"[A]"`
			B string `conc:"B"`
		}{}),
		"no word stands behind those": faultOf(struct {
			A []string `conc:"A..."`
			B string   `conc:"[B]"`
		}{}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func faultOf[T any](v T) error {
	_, _, err := Arguments(v)
	return err
}

// A line of deploy.ini is complained about with its place, and a secret in it
// travels as a token until the step runs.
func TestTypedInAPlan(t *testing.T) {
	f, err := config.Parse("deploy.ini", []byte("[DEFAULT]\ndb.password = secret:db\nport = secret:port\n[node:n]\n[jobs:r]\na = remote migrate 1.1 password=%(db.password)s batch=%(port)s\n"+
		"[jobs:slip]\nb = remote migrate 1 wiat=5s\n[jobs:place]\nc = remote migrate %(db.password)s\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := f.Node("n")
	if err != nil {
		t.Fatal(err)
	}
	p := Planner{Catalogue: append(Stock(), migrateEntry)}
	for list, want := range map[string]string{
		"slip":  `deploy.ini:8: job "b": migrate: unknown argument "wiat"; did you mean "wait"?`,
		"place": `deploy.ini:10: job "c": migrate: a secret is given as KEY=VALUE`,
	} {
		if _, err := p.Plan(f, node, list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	plan, err := p.Plan(f, node, "r")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range plan.Steps[0].Words {
		if strings.Contains(w, "s3cret") {
			t.Errorf("got word %q", w)
		}
	}
	op, err := plan.Steps[0].reveal(&Env{Secret: func(name string) (string, error) {
		return map[string]string{"db": "force=s3cret", "port": "7"}[name], nil
	}})
	if m, ok := op.(migrate); err != nil || !ok || m.Secret != "force=s3cret" || m.Batch != 7 || m.Force || plan.Steps[0].Op.(migrate).Batch != 0 {
		t.Errorf("got %+v, %v", op, err)
	}
}
