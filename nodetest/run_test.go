package nodetest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// here is what a check is given on this host, in a home of its own.
func here(t *testing.T) *jobs.Env {
	t.Helper()
	home := t.TempDir()
	env := &jobs.Env{
		Node: config.NewNode("web1", nil), Host: jobs.Remote, Home: home, Dir: home, Bundle: filepath.Join(home, "bundle"),
		Log: zerolog.Nop(), Out: io.Discard, Progress: func(int64, int64) {},
		Secret: func(name string) (string, error) {
			if name == "key" {
				return "s3cret, with a space", nil
			}
			return "", errors.New("nobody knows it")
		},
	}
	return env
}

// parsed is a spec of one line, as deploy.ini has it.
func parsed(t *testing.T, c Catalogue, name, line string) Spec {
	t.Helper()
	f, err := config.Parse("deploy.ini", []byte("[node:web1]\n[nodetest:s]\n"+name+" = "+line+"\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := f.Node("web1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Plan(f, node, "s")
	if err != nil {
		t.Fatal(err)
	}
	return s.Checks[0]
}

// look makes one check of a line.
func look(t *testing.T, env *jobs.Env, line string) Result {
	t.Helper()
	return Stock().once(t.Context(), env, parsed(t, Stock(), "it", line))
}

// testKind is a check made of a function.
type testKind func(ctx context.Context, env *jobs.Env) ([]Finding, error)

func (k testKind) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) { return k(ctx, env) }

func kind(name string, alone bool, k testKind) Entry {
	return Entry{Name: name, Alone: alone, Parse: func([]string) (Check, error) { return k, nil }}
}

func TestEveryEndOfACheck(t *testing.T) {
	good := Finding{OK: true, Want: "a", Got: "a"}
	for _, tt := range []struct {
		name string
		kind testKind
		want Result
	}{
		{"ok", func(context.Context, *jobs.Env) ([]Finding, error) { return []Finding{good}, nil }, Result{Status: jobs.OK}},
		{
			"failed", func(context.Context, *jobs.Env) ([]Finding, error) {
				return []Finding{good, {Want: "b", Got: "c"}}, nil
			},
			Result{Status: jobs.Failed, Want: []string{"b"}, Got: []string{"c"}},
		},
		{"skipped", func(context.Context, *jobs.Env) ([]Finding, error) { return nil, Skipf("no %s", "systemd") }, Result{Status: Skipped, Text: "no systemd"}},
		{"error", func(context.Context, *jobs.Env) ([]Finding, error) { return nil, errors.New("oh") }, Result{Status: jobs.Errored, Text: "oh"}},
		{"hint", func(context.Context, *jobs.Env) ([]Finding, error) { return nil, jobs.Errorf("oh").WithHint("ah") }, Result{Status: jobs.Errored, Text: "oh", Hint: "ah"}},
		{"panic", func(context.Context, *jobs.Env) ([]Finding, error) { panic("oh") }, Result{Status: jobs.Errored, Text: "panic: oh"}},
		{
			"slow", func(ctx context.Context, _ *jobs.Env) ([]Finding, error) { <-ctx.Done(); return nil, ctx.Err() },
			Result{Status: jobs.TimedOut, Text: "over its limit of 50ms"},
		},
		{
			"secret", func(_ context.Context, env *jobs.Env) ([]Finding, error) {
				v, err := env.Secret("key")
				return []Finding{{Want: "x", Got: "got " + v}}, err
			}, Result{Status: jobs.Failed, Want: []string{"x"}, Got: []string{"got " + config.Masked}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Catalogue{kind("it", false, tt.kind)}
			ps := jobs.Procedures{"x": func(ctx context.Context, env *jobs.Env, _ json.RawMessage) (any, error) {
				var got Result
				c.Run(ctx, env, []Spec{{N: 1, Name: "n", Timeout: 50 * time.Millisecond, Words: []string{"it"}}}, Options{}, func(r Result) { got = r })
				return got, nil
			}}
			data, err := ps.Do(t.Context(), here(t), "x", nil)
			if err != nil {
				t.Fatal(err)
			}
			var got Result
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			got.Took = 0
			tt.want.N, tt.want.Name, tt.want.Check = 1, "n", "it"
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("want -, got +:\n%s", d)
			}
		})
	}
}

func TestChecksRunAtTheSameTimeAndAreToldInOrder(t *testing.T) {
	meet := make(chan struct{})
	var log []string
	c := Catalogue{
		kind("give", false, func(context.Context, *jobs.Env) ([]Finding, error) { meet <- struct{}{}; return nil, nil }),
		kind("take", false, func(context.Context, *jobs.Env) ([]Finding, error) { <-meet; return nil, nil }),
		kind("alone", true, func(_ context.Context, env *jobs.Env) ([]Finding, error) {
			log = append(log, "begin") // no lock: the race detector sees whether two run at once
			time.Sleep(time.Millisecond)
			log = append(log, "end")
			return nil, nil
		}),
	}
	var specs []Spec
	for i, k := range strings.Fields("give alone take alone give take alone") {
		specs = append(specs, Spec{N: i + 1, Name: k, Words: []string{k}})
	}
	var got []string
	c.Run(t.Context(), here(t), specs, Options{}, func(r Result) { got = append(got, r.Name+" "+string(r.Status)) })
	want := "give OK alone OK take OK alone OK give OK take OK alone OK"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("got %s, want %s", g, want)
	}
	if g, want := strings.Join(log, " "), "begin end begin end begin end"; g != want {
		t.Errorf("got %s, want %s", g, want)
	}
}

func TestACheckIsTriedAgain(t *testing.T) {
	n := 0
	c := Catalogue{kind("third", false, func(context.Context, *jobs.Env) ([]Finding, error) {
		n++
		return []Finding{{OK: n == 2, Want: "2", Got: "1"}}, nil
	})}
	var got Result
	c.Run(t.Context(), here(t), []Spec{{N: 1, Words: []string{"third"}}}, Options{Retry: 5 * time.Second}, func(r Result) { got = r })
	if got.Status != jobs.OK || got.Tries != 2 {
		t.Errorf("got %s after %d tries, want OK after 2", got.Status, got.Tries)
	}
}

func TestFileChecks(t *testing.T) {
	env := here(t)
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(env.Home, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("a", "hello\nworld\n", 0o640)
	write("empty", "", 0o600)
	l, err := net.Listen("unix", filepath.Join(env.Home, "s"))
	if err != nil {
		t.Skip(err) // a path that is too long for a socket
	}
	defer l.Close()
	if err := os.Chmod(filepath.Join(env.Home, "s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(env.Home, "l")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(env.Home, "dead")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line string
		want string // the status, and what was wanted and found
	}{
		{"file a", "OK"},
		{"file a exists mode 0640 size 12 size >=12 size <1K contains world lacks mars matches ^wor.d$", "OK"},
		{"file a mode 0644", "FAILED mode 0644: mode 0640"},
		{"file a size >12", "FAILED size >12: size 12"},
		{"file a contains mars", "FAILED contains \"mars\": hello\nworld"},
		{"file empty contains x", "FAILED contains \"x\": nothing"},
		{"file a sha256 " + strings.Repeat("0", 64), "FAILED sha256 " + strings.Repeat("0", 64) + ": sha256 3713a69c5f9d1e7bc5a0ab1c1ca2f4b7fcf4c4b9b2d4f0e5b1cd8b1e3f0c6a55"},
		{"file empty md5 D41D8CD98F00B204E9800998ECF8427E sha512 cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e", "OK"},
		{"file b", "FAILED a file HOME/b: nothing there"},
		{"file b absent", "OK"},
		{"file a/b absent", "OK"},
		{"file a absent", "FAILED HOME/a absent: a file"},
		{"file .", "FAILED a file HOME: a dir"},
		{"file dead", "FAILED a file HOME/dead: nothing there"},
		{"file l contains hello", "OK"},
		{"dir . entries 5", "OK"},
		{"dir . entries >5", "FAILED entries >5: entries 5"},
		{"dir a", "FAILED a dir HOME/a: a file"},
		{"symlink l to a", "OK"},
		{"symlink l to HOME/a", "OK"},
		{"symlink l to b", "FAILED to b: to a"},
		{"symlink dead to nowhere", "OK"},
		{"symlink a", "FAILED a symlink HOME/a: a file"},
		{"socket s mode 0600", "OK"},
		{"socket a", "FAILED a socket HOME/a: a file"},
		{"file s", "FAILED a file HOME/s: a socket"},
		{"socket b absent", "OK"},
		{"file /dev/null", "FAILED a file /dev/null: a device"},
	} {
		r := look(t, env, strings.ReplaceAll(tt.line, "HOME", env.Home))
		got := string(r.Status)
		for i := range r.Want {
			got += " " + r.Want[i] + ": " + r.Got[i]
		}
		if strings.Contains(tt.line, "sha256") {
			got, tt.want = got[:20], tt.want[:20]
		}
		if want := strings.ReplaceAll(tt.want, "HOME", env.Home); got != want {
			t.Errorf("%s:\n got %s\nwant %s", tt.line, got, want)
		}
	}
}

func TestCommandChecks(t *testing.T) {
	env := here(t)
	for _, tt := range []struct{ line, want string }{
		{"command true", "OK"},
		{"command false", "FAILED exit 0: exit 1"},
		{"command exit 1 -- false", "OK"},
		{"command exit 1 -- true", "FAILED exit 1: exit 0"},
		{"command stdout contains b -- echo abc", "OK"},
		{"command stdout matches '^a.c$' stderr lacks x -- echo abc", "OK"},
		{"command stderr contains no -- sh -c 'echo no >&2; echo yes'", "OK"},
		{"command stdout contains no -- sh -c 'echo no >&2; echo yes'", "FAILED stdout contains \"no\": yes"},
		{"command sh -c 'echo why >&2; exit 7'", "FAILED exit 0: exit 7: why"},
		{"command sh -c 'kill -9 $$'", "FAILED exit 0: exit by signal 9 (killed)"},
		{"command ./not-there", "ERROR"},
		{"command cat", "OK"}, // standard input is empty
	} {
		r := look(t, env, tt.line)
		got := string(r.Status)
		for i := range r.Want {
			got += " " + r.Want[i] + ": " + r.Got[i]
		}
		if got != tt.want {
			t.Errorf("%s:\n got %s (%s)\nwant %s", tt.line, got, r.Text, tt.want)
		}
	}
}

func TestACommandThatHangsIsEnded(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	r := look(t, here(t), "timeout=200ms command sleep 60")
	if r.Status != jobs.TimedOut || time.Since(begun) > 30*time.Second {
		t.Errorf("got %s (%s) after %v, want TIMED OUT at once", r.Status, r.Text, time.Since(begun))
	}
}
