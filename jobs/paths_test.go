package jobs

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGlobAndOne(t *testing.T) {
	env, _ := testEnv(t, Remote)
	// Names with meta characters above the pattern are just names.
	env.Home = filepath.Join(env.Home, "we[ir]d*")
	env.Dir, env.Bundle = env.Home, filepath.Join(env.Home, "b")
	for _, f := range []string{"b/x-1.tar.gz", "b/y-1.tar", "b/y-2.tar", "b/.hidden.tar", "b/sub/z.whl", "top.txt"} {
		write(t, filepath.Join(env.Home, f), "", 0o644)
	}
	for _, tt := range []struct {
		host    Host
		pattern string
		want    string // names below the home; an error when it starts with a capital
	}{
		{Remote, "x-*.tar.gz", "b/x-1.tar.gz"},
		{Remote, "x-1.tar.gz", "b/x-1.tar.gz"},
		{Remote, "*.tar", "b/y-1.tar b/y-2.tar"},
		{Remote, ".*.tar", "b/.hidden.tar"},
		{Remote, "**/*.whl", "b/sub/z.whl"},
		{Remote, "{x,y}-1*", "b/x-1.tar.gz b/y-1.tar"},
		{Remote, "../*.txt", "top.txt"},
		{Remote, "~/top.txt", "top.txt"},
		{Remote, "nothing-*", ""},
		{Remote, "no/such/dir/*", ""},
		{Local, "*.txt", "top.txt"},
		{Local, "bundle:x*", "b/x-1.tar.gz"},
		{Local, "b/sub", "b/sub"},
	} {
		t.Run(string(tt.host)+" "+tt.pattern, func(t *testing.T) {
			e := *env
			e.Host = tt.host
			found, err := e.Glob(tt.pattern)
			var got []string
			for _, f := range found {
				got = append(got, strings.TrimPrefix(f, env.Home+"/"))
			}
			if err != nil || !cmp.Equal(got, strings.Fields(tt.want)) && len(got)+len(tt.want) > 0 {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
			one, err := e.One(tt.pattern)
			switch len(got) {
			case 1:
				if err != nil || one != found[0] {
					t.Errorf("One: got %q, %v; want %q", one, err, found[0])
				}
			default:
				if StatusOf(err) != Blocked {
					t.Errorf("One: got %v, want BLOCKED", err)
				}
				for _, f := range found {
					if !strings.Contains(err.Error(), filepath.Base(f)) {
						t.Errorf("One: got %v, want %s named", err, f)
					}
				}
			}
		})
	}
	if _, err := env.Glob("a[b"); StatusOf(err) != Errored {
		t.Errorf("a bad pattern: got %v, want ERROR", err)
	}
}
