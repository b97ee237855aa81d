package config

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestShellWords(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want []string // nil: refused
	}{
		{`remote shell "cd /a ; make"`, []string{"remote", "shell", "cd /a ; make"}},
		{`remote shell "a # b" # c`, []string{"remote", "shell", "a # b"}},
		{`remote run a ; b "c`, []string{"remote", "run", "a"}},
		{`remote run a;b c#d`, []string{"remote", "run", "a;b", "c#d"}},
		{`remote run \;`, []string{"remote", "run", ";"}},
		{`remote run a\ #b`, []string{"remote", "run", "a #b"}},
		{`remote run ''`, []string{"remote", "run", ""}},
		{`remote run "%(a b)s"'c'd`, []string{"remote", "run", "%(a b)scd"}},
		{`remote run "\d\$\"\\" '\d' \d`, []string{"remote", "run", `\d$"\`, `\d`, "d"}},
		{"remote\trun\t#c", []string{"remote", "run"}},
		{`remote run é "\é"`, []string{"remote", "run", "é", `\é`}},
		{`# all comment`, []string{}},
		{``, []string{}},
		{`"`, nil},
		{`'`, nil},
		{`a "b ; c`, nil},
		{`a "b\"`, nil},
		{`a \`, nil},
		{`don't`, nil},
	}
	for _, tt := range tests {
		got, problem := shellWords(tt.line)
		if (problem != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) {
			t.Errorf("%s\ngot  %q, %v\nwant %q", tt.line, got, problem, tt.want)
		}
	}
}

// TestWordsAreThoseOfAShell compares with the shell itself.
func TestWordsAreThoseOfAShell(t *testing.T) {
	t.Parallel()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here")
	}
	letters := rapid.StringOfN(rapid.SampledFrom([]rune(` ab'"\#é`)), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		line := letters.Draw(t, "line")
		got, problem := shellWords(line)
		if problem != nil {
			return // a shell would wait for more
		}
		out, err := exec.Command(sh, "-c", `for w in `+line+"\ndo printf '%s\\0' \"$w\"; done").Output()
		if err != nil {
			t.Fatalf("%q: sh: %v", line, err)
		}
		var want []string
		if len(out) > 0 {
			want = strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q\ngot  %q\nwant %q", line, got, want)
		}
	})
}

func TestPlain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		written, want string
		bad           bool
	}{
		{written: `a b`, want: `a b`},
		{written: `a ; b # c`, want: `a`},
		{written: `a # b ; c`, want: `a`},
		{written: "a\t; b", want: `a`},
		{written: `a;b`, want: `a;b`},
		{written: `http://h/#f`, want: `http://h/#f`},
		{written: `; nothing`, want: ``},
		{written: `#`, want: ``},
		{written: `#fff`, bad: true},
		{written: `;x`, bad: true},
		{written: `"#fff"`, want: `#fff`},
		{written: `" a ; b " ; c`, want: ` a ; b `},
		{written: `'a "b"'`, want: `a "b"`},
		{written: `"a" and "b"`, want: `"a" and "b"`},
		{written: `"a" and "b" ; c`, want: `"a" and "b"`},
		{written: `"a" and "b ; c"`, bad: true},
		{written: `don't ; do`, want: `don't`},
		{written: `'tis`, want: `'tis`},
		{written: `"`, want: `"`},
		{written: `""`, want: ``},
	}
	for _, tt := range tests {
		got, problem := plain(tt.written)
		if got != tt.want || (problem != nil) != tt.bad {
			t.Errorf("%s: got %q, %v; want %q, refused %v", tt.written, got, problem, tt.want, tt.bad)
		}
	}
}
