package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustParse(t testing.TB, ini string, set ...string) *File {
	t.Helper()
	f, err := Parse("d.ini", []byte(ini), Options{Set: set})
	if err != nil {
		t.Fatalf("%s\n%v", ini, err)
	}
	return f
}

func mustNode(t testing.TB, f *File, name string) *Node {
	t.Helper()
	n, err := f.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const shop = `[DEFAULT]
app = shop
version = 1.0
venv = venvs/%(app)s-%(version)s
greeting = hello from %(name)s, 100%%
db.password = secret:DB_%(name)s
[group:web]
version = 1.1
http.port = 8000
[group:canary]
version = 2.0
[node:web1]
groups = web
[node:web2]
groups = web canary
http.port = 8080
backend = %(node:db1:sshd.ip)s:%(node:db1:port)s
[node:db1]
sshd.ip = 192.0.2.9
port = 54%(digits)s
digits = 32
`

func TestNode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		node, key, want, from string
		set                   []string
	}{
		{"web1", "venv", "venvs/shop-1.1", "d.ini:4", nil},
		{"web2", "venv", "venvs/shop-2.0", "d.ini:4", nil},
		{"db1", "venv", "venvs/shop-1.0", "d.ini:4", nil},
		{"web2", "http.port", "8080", "d.ini:16", nil},
		{"web1", "HTTP.Port", "8000", "d.ini:9", nil},
		{"web2", "backend", "192.0.2.9:5432", "d.ini:17", nil},
		{"web1", "greeting", "hello from web1, 100%", "d.ini:5", nil},
		{"web1", "db.password", SecretToken("DB_web1"), "d.ini:6", nil},
		{"web1", "name", "web1", "built in", nil},
		{"web1", "sshd.ip", "web1", "built in", nil},
		{"web1", "sshd.port", "22", "built in", nil},
		{"web1", "bundle", "conc-bundle", "built in", nil},
		{"web1", "on_disconnect", "finish", "built in", nil},
		{"web2", "venv", "venvs/shop-3", "d.ini:4", []string{"version=3"}},
		{"web2", "version", "4", "--set", []string{"version=3", "VERSION=4"}},
		{"web2", "new", "a ; #b web2 ", "--set", []string{"new=a ; #b %(name)s "}},
		{"web2", "backend", "192.0.2.9:1", "d.ini:17", []string{"port=1"}},
	}
	for _, tt := range tests {
		n := mustNode(t, mustParse(t, shop, tt.set...), tt.node)
		a, ok := n.Lookup(tt.key)
		if !ok || a.Value != tt.want || a.Origin.String() != tt.from {
			t.Errorf("%s %s %v: got %q from %s, want %q from %s", tt.node, tt.key, tt.set, a.Value, a.Origin, tt.want, tt.from)
		}
		if n.Get(tt.key) != tt.want || a.Origin.BuiltIn() != (tt.from == "built in") {
			t.Errorf("%s %s: got %q, built in %v", tt.node, tt.key, n.Get(tt.key), a.Origin.BuiltIn())
		}
	}
}

func TestNodeAsAWhole(t *testing.T) {
	t.Parallel()
	n := mustNode(t, mustParse(t, shop), "web2")
	if got, want := n.Name(), "web2"; got != want {
		t.Errorf("got name %s, want %s", got, want)
	}
	keys := make([]string, 0, 20)
	for _, a := range n.Attrs() {
		keys = append(keys, a.Key)
	}
	if !slices.IsSorted(keys) {
		t.Errorf("not sorted: %v", keys)
	}
	values := n.Values()
	if got := slices.Sorted(maps.Keys(values)); !slices.Equal(got, keys) {
		t.Errorf("Values has %v, Attrs %v", got, keys)
	}
	values["app"] = "changed"
	if got := n.Get("app"); got != "shop" {
		t.Errorf("a change of Values changed the node: %s", got)
	}
	if a, _ := n.Lookup("venv"); a.Raw != "venvs/%(app)s-%(version)s" {
		t.Errorf("got raw %q", a.Raw)
	}
	if a, ok := n.Lookup("nope"); ok || n.Get("nope") != "" {
		t.Errorf("got %v for a key that is not there", a)
	}
	if got := n.Port(); got != 22 {
		t.Errorf("got port %d, want 22", got)
	}
	if got := n.Duration("timeout.connect").Seconds(); got != 20 {
		t.Errorf("got timeout.connect %v s, want 20", got)
	}
	if got := n.Duration("app"); got != 0 {
		t.Errorf("got %v for a key that is no time limit, want 0", got)
	}
}

func TestUnknownNode(t *testing.T) {
	t.Parallel()
	_, err := mustParse(t, shop).Node("wbe1")
	if want := `d.ini: there is no node "wbe1"; did you mean "web1"?`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	file := mustNode(t, mustParse(t, shop), "web2")
	agent := NewNode("web2", file.Values())
	at := Origin{File: "d.ini", Line: 99}
	tests := []struct{ in, file, agent string }{
		{"%(venv)s/bin", "venvs/shop-2.0/bin", "venvs/shop-2.0/bin"},
		{"%(APP)s 5%%", "shop 5%", "shop 5%"},
		{"%(greeting)s", "hello from web2, 100%", "hello from web2, 100%"}, // what is substituted is not looked at again
		{"-p%(db.password)s", "-p" + SecretToken("DB_web2"), "-p" + SecretToken("DB_web2")},
		{"%(node:db1:venv)s", "venvs/shop-1.0", `!d.ini:99: "%(node:db1:venv)s"`},
		{"%(node:db1:DB.password)s", SecretToken("DB_db1"), "!d.ini:99:"},
		{"%(node:db2:app)s", `!d.ini:99: "%(node:db2:app)s": there is no node "db2"; did you mean "db1"`, "!d.ini:99:"},
		{"%(node:db1:prot)s", `!d.ini:99: "%(node:db1:prot)s": node "db1" has no such key; did you mean "port"?`, "!d.ini:99:"},
		{"%(venvs)s", `!d.ini:99: "%(venvs)s": node "web2" has no such key; did you mean "venv"?`, `!d.ini:99: "%(venvs)s": node "web2"`},
		{"50%", "!d.ini:99: a \"%\"", "!d.ini:99:"},
	}
	for _, tt := range tests {
		for n, want := range map[*Node]string{file: tt.file, agent: tt.agent} {
			got, err := n.Expand(tt.in, at)
			if reason, bad := strings.CutPrefix(want, "!"); bad {
				if err == nil || !strings.HasPrefix(err.Error(), reason) {
					t.Errorf("%s: got %q, %v\nwant error %s", tt.in, got, err, reason)
				}
			} else if err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %q", tt.in, got, err, want)
			}
		}
	}
}

// TestDepth wants ten substitutions behind one another to do and eleven not to,
// in whatever order the keys come.
func TestDepth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		links int
		bad   bool
	}{{1, false}, {10, false}, {11, true}, {12, true}, {500, true}} {
		for _, down := range []bool{false, true} {
			var b strings.Builder
			b.WriteString(node)
			for i := range tt.links + 1 {
				k, next := i, i+1
				if down {
					k, next = 1000-i, 999-i
				}
				if i == tt.links {
					fmt.Fprintf(&b, "k%03d = end\n", k)
				} else {
					fmt.Fprintf(&b, "k%03d = %%(k%03d)s\n", k, next)
				}
			}
			_, err := Parse("d.ini", []byte(b.String()), Options{})
			if (err != nil) != tt.bad {
				t.Errorf("%d links: got %v", tt.links, err)
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "d.ini:2: substitutions deeper than 10: k") || !strings.Contains(err.Error(), "d.ini:12")) {
				t.Errorf("%d links: got %v", tt.links, err)
			}
		}
	}
}

// TestPrecedence compares with the simplest model there is: all sources in
// order, each overwriting those before, and then names replaced until none is left.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	keys := []string{"ka", "kb", "kc", "kd", "ke"}
	rapid.Check(t, func(t *rapid.T) {
		var ini strings.Builder
		// A value names later keys only, so that there are no cycles.
		source := func(title string) map[string]string {
			m := map[string]string{}
			fmt.Fprintf(&ini, "[%s]\n", title)
			for i, k := range keys {
				if title != "DEFAULT" && !rapid.Bool().Draw(t, "has") {
					continue
				}
				v := rapid.StringMatching(`[x-z]{0,3}`).Draw(t, "text")
				if i+1 < len(keys) && rapid.Bool().Draw(t, "refers") {
					v += "%(" + rapid.SampledFrom(keys[i+1:]).Draw(t, "to") + ")s%%"
				}
				m[k] = v
				fmt.Fprintf(&ini, "%s = %s\n", k, v)
			}
			return m
		}
		names := rapid.Permutation([]string{"g1", "g2", "g3"}).Draw(t, "order")
		names = names[:rapid.IntRange(0, 3).Draw(t, "groups")]
		groups := map[string]map[string]string{}
		defaults := source("DEFAULT")
		for _, g := range []string{"g1", "g2", "g3"} {
			groups[g] = source("group:" + g)
		}
		own := source("node:n1")
		fmt.Fprintf(&ini, "groups = %s\n", strings.Join(names, " "))
		model := maps.Clone(defaults)
		for _, g := range names {
			maps.Copy(model, groups[g])
		}
		maps.Copy(model, own)
		var set []string
		if rapid.Bool().Draw(t, "set") {
			k := rapid.SampledFrom(keys).Draw(t, "key")
			set, model[k] = []string{k + "=set"}, "set"
		}

		f, err := Parse("d.ini", []byte(ini.String()), Options{Set: set})
		if err != nil {
			t.Fatalf("%s\n%v", ini.String(), err)
		}
		n, err := f.Node("n1")
		if err != nil {
			t.Fatal(err)
		}
		for i := len(keys) - 1; i >= 0; i-- {
			want := strings.ReplaceAll(model[keys[i]], "%%", "%")
			for _, later := range keys[i+1:] {
				want = strings.ReplaceAll(want, "%("+later+")s", n.Get(later))
			}
			if got := n.Get(keys[i]); got != want {
				t.Fatalf("%s%v\n%s: got %q, want %q", ini.String(), set, keys[i], got, want)
			}
		}
	})
}

// TestOneComplaintForAll wants a line that a fleet inherits to be refused once.
func TestOneComplaintForAll(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		line, want string
		set        []string
	}{
		{"venv = %(nope)s", `d.ini:2: venv: "%(nope)s": node "n0" has no such key`, nil},
		{"sshd.port = 9%(name)s", `d.ini:2: sshd.port: "9n0" is no port`, nil},
		{"x = 1", `--set: sshd.port: "9n0" is no port`, []string{"sshd.port=9%(name)s"}},
	} {
		_, err := Parse("d.ini", []byte("[DEFAULT]\n"+tt.line+"\n"+fleet(1000)), Options{Set: tt.set})
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got  %v\nwant %s, once", err, tt.want)
		}
	}
}

func TestNodeTooLarge(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", maxNode/2)
	f := mustParse(t, node+"a = "+big+"\nb = "+big+"\n")
	if _, err := f.Node("web1"); err == nil || !strings.HasPrefix(err.Error(), "d.ini:1: the values of node web1 come to more than 128 KiB") {
		t.Errorf("got %v", err)
	}
}

// fleet is the sections of n nodes.
func fleet(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[node:n%d]\nsshd.ip = 10.0.%d.%d\ngroups = web\nrole = r%d\n", i, i/250, i%250+1, i%7)
	}
	return b.String() + "[group:web]\nhttp.port = 8000\n"
}

// BenchmarkThousandNodes reads a fleet: parse, resolve and check everything.
func BenchmarkThousandNodes(b *testing.B) {
	ini := []byte("[DEFAULT]\napp = shop\nversion = 1\nvenv = venvs/%(app)s-%(version)s\nurl = http://%(sshd.ip)s:%(http.port)s/%(role)s\n" + fleet(1000))
	for b.Loop() {
		f, err := Parse("d.ini", ini, Options{})
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range f.NodeNames() {
			if _, err := f.Node(name); err != nil {
				b.Fatal(err)
			}
		}
	}
}
