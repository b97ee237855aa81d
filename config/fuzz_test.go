package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// FuzzParse wants any bytes to be either read or refused: soon, in words that
// a terminal can be shown, and never because conc and its ini parser do not
// make the same of them.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		shop, "", "[DEFAULT]\na=%(b)s\nb=%(a)s\n" + node, node + "x=\"\"\"a\n", node + "x=`a\n`\n", node + "\"a\"=b\n", node + "-=b\n",
		node + "sshd.ip=fe80::1%eth0\n", node + "[jobs:a]\n\"x\" = remote run 'a ; b' ; c\n", "\ufeff\ufeff" + node, node + "a = b \\\nc = d\n",
		node + "groups = a,b\n[group:a]\n[group:b]\n", node + "a\u0085= b\u00a0\n", "[node:a]]\n", "[node:a] ; ]\n", node + "sshd.jump=web1\n",
	} {
		f.Add([]byte(s), "a=%(name)s")
	}
	f.Fuzz(func(t *testing.T, data []byte, set string) {
		start := time.Now()
		file, err := Parse("d.ini", data, Options{Set: []string{set}})
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("got %v, want Problems", err)
			}
			if control(strings.ReplaceAll(err.Error(), "\n", "")) != "" || strings.Contains(err.Error(), "not understood") {
				t.Errorf("got %q", err)
			}
			return
		}
		for _, name := range file.NodeNames() {
			n, err := file.Node(name)
			if err != nil && len(data) < maxNode/maxDepth {
				t.Errorf("node %s of a file that was read: %v", name, err)
			}
			if err == nil && (n.Port() == 0 || n.Duration("timeout.job") == 0) {
				t.Errorf("node %s: port %d, timeout.job %v", name, n.Port(), n.Duration("timeout.job"))
			}
		}
		for _, name := range file.ListNames() {
			_, _ = file.List(name)
		}
	})
}

// TestIndexAgrees writes files of all that can stand in one, and wants every
// key back, with its value, at its line: from the index, and so from ini.v1.
func TestIndexAgrees(t *testing.T) {
	t.Parallel()
	values := rapid.StringOfN(rapid.SampledFrom([]rune(`ab=[]%%;#"'\:. `+"\u00a0\t")), 0, 10, -1)
	noise := rapid.SampledFrom([]string{"", "\n", "; [node:x]\n", "# a = b\n", "   \n", "\t; c\r\n", "\r\n"})
	rapid.Check(t, func(t *rapid.T) {
		type want struct {
			key, value string
			line       int
		}
		var wants []want
		var ini strings.Builder
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "line end")
		ini.WriteString(node)
		for i := range rapid.IntRange(0, 8).Draw(t, "keys") {
			ini.WriteString(noise.Draw(t, "noise"))
			w := want{key: fmt.Sprintf("k%d", i), value: values.Draw(t, "value"), line: strings.Count(ini.String(), "\n") + 1}
			// A quote of the other kind around the value keeps it whole.
			q := `"`
			if strings.Contains(w.value, q) {
				q = "'"
			}
			if strings.Contains(w.value, q) {
				continue
			}
			ini.WriteString(w.key + rapid.SampledFrom([]string{"=", " = ", "\t=  "}).Draw(t, "equals") + q + strings.ReplaceAll(w.value, "%", "%%") + q +
				rapid.SampledFrom([]string{"", " ; c", "\t# c = d"}).Draw(t, "comment") + end)
			wants = append(wants, w)
		}
		f, err := Parse("d.ini", []byte(ini.String()), Options{})
		if err != nil {
			t.Fatalf("%q\n%v", ini.String(), err)
		}
		n, err := f.Node("web1")
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range wants {
			if a, _ := n.Lookup(w.key); a.Value != w.value || a.Origin.Line != w.line {
				t.Fatalf("%q\n%s: got %q at %s, want %q at %d", ini.String(), w.key, a.Value, a.Origin, w.value, w.line)
			}
		}
	})
}
