package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// An op does not know how it is reached: run here, in an agent over a pipe, and
// in one that is a process of its own, it has the same result and effect.
func TestSameOnBothHosts(t *testing.T) {
	spec := func(words ...string) jobs.Spec {
		return jobs.Spec{Name: "step", Host: jobs.Remote, Timeout: 300 * time.Millisecond, Words: words}
	}
	for _, tc := range []struct {
		name string
		spec jobs.Spec
	}{
		{"output", spec("say", "hello")},
		{"argv", spec("run", "printf", `%s\n`, "a b", "$(id)", "'")},
		{"a shell line", spec("shell", "echo $((6*7)); echo err >&2; pwd >where")},
		{"exit 3", spec("shell", "echo why >&2; exit 3")},
		{"killed", spec("shell", "kill -9 $$")},
		{"not a program", spec("run", "no-such-program-of-conc")},
		{"not UTF-8", spec("run", "printf", `\377\033[2J\n`)},
		{"many lines", spec("shell", "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); done; exit 1")},
		{"over its limit", spec("run", "sleep", "60")},
		{"failed", spec("fail", "no")},
		{"panic", spec("panic")},
		{"open", spec("open_bundle")},
		{"close what is not open", spec("close_bundle")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			type seen struct {
				Result jobs.Result
				Output string
				Files  []string
			}
			look := func(home string, r jobs.Result, out string) seen {
				r.Took = 0
				s := seen{Result: r, Output: out}
				_ = filepath.WalkDir(home, func(p string, d os.DirEntry, _ error) error {
					rel, _ := filepath.Rel(home, p)
					if rel == ".conc" {
						return filepath.SkipDir
					}
					s.Files = append(s.Files, rel)
					return nil
				})
				return s
			}
			node, plan := planOf(t, nil, tc.spec)
			// One home, emptied between: paths are in messages.
			base := t.TempDir()
			home := filepath.Join(base, "home")
			fresh := func() {
				if err := os.RemoveAll(home); err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(home, 0o700); err != nil {
					t.Fatal(err)
				}
			}

			fresh()
			sink := newHeard()
			env := jobs.Env{
				Node: node, Host: jobs.Remote, Home: home, Dir: home, Bundle: filepath.Join(home, "shop/bundle"),
				Owner: bundle.Owner{V: 1, Run: runA}, Out: &sink.out, Progress: func(int64, int64) {},
				Secret: func(string) (string, error) { return "", nil },
			}
			want := look(home, jobs.Perform(t.Context(), plan.Steps[0], &env), sink.out.String())

			p := newPipes(t)
			p.server.Home = home
			for name, tr := range map[string]Transport{"pipe": p, "process": &shell{home: home}} {
				fresh()
				c := dial(t, tr, options(t, node, plan))
				sink := newHeard()
				if err := c.RunSteps(t.Context(), 1, 1, sink); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, look(home, sink.last(), sink.out.String())); diff != "" {
					t.Errorf("over a %s (-here +there):\n%s", name, diff)
				}
				_ = c.Close()
			}
		})
	}
}
