package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const node = "[node:web1]\n"

// TestRefused holds what a file must not have; each complaint must say all of want.
func TestRefused(t *testing.T) {
	t.Parallel()
	ten := func(key string) string { return strings.Repeat("%("+key+")s", 10) }
	tests := []struct {
		name, ini string
		want      []string
	}{
		{"empty", "", []string{"d.ini: no nodes defined"}},
		{"only comments", "; a\n# b\n\n", []string{"d.ini: no nodes defined"}},
		{"key before any section", "; a\nadmin = x\n" + node, []string{"d.ini:2: a key before any section"}},
		{"section twice", node + "\n[node:web1]\n", []string{"d.ini:3: [node:web1] repeats the section opened at line 1"}},
		{"section twice, other case", node + "[node:WEB1]\n", []string{"d.ini:2: [node:WEB1] repeats the section opened at line 1"}},
		{"key twice, other case", node + "admin = a\nADMIN = b\n", []string{"d.ini:3:", "line 2", `"ADMIN"`}},
		{"key twice, the same", node + "x = \nx = \n", []string{"d.ini:3:", "line 2"}},
		{"step twice", node + "[jobs:a]\nOpen = remote open_bundle\nopen = local open_bundle\n", []string{"d.ini:4:", "line 3", "[jobs:a]"}},
		{"UTF-16LE with a mark", "\xff\xfe[\x00", []string{"d.ini:1: not UTF-8"}},
		{"UTF-16LE without", "[\x00n\x00", []string{"d.ini:1: not UTF-8"}},
		{"Latin-1", node + "x = caf\xe9\n", []string{"d.ini:2: not UTF-8", `\xe9`}},
		{"NUL", node + "x = a\x00b\n", []string{`d.ini:2: control character \x00`}},
		{"C1 control", node + "x = a\u009bb\n", []string{"d.ini:2: control character"}},
		{"lone CR", node + "x = a\rb\n", []string{"d.ini:2: carriage return"}},
		{"CR at the end of the file", node + "x = a\r\r\n", []string{"d.ini:2: carriage return"}},
		{"ESC in a node's name", "[node:a\x1b[2J]\n", []string{`d.ini:1: control character \x1b`}},
		{"blank in a node's name", "[node:a b]\n", []string{`d.ini:1: "a b" is no name`}},
		{"slash in a node's name", "[node:../x]\n", []string{"d.ini:1:"}},
		{"node without a name", "[node:]\n", []string{"d.ini:1:"}},
		{"node called none", "[node:none]\n", []string{"d.ini:1:", "none"}},
		{"name that is no host", "[node:büro]\n", []string{`d.ini:1: sshd.ip: "büro" is neither`}},
		{"group called all", node + "[group:all]\n", []string{"d.ini:2:", "@all"}},
		{"unknown section", node + "[nodes:x]\n", []string{"d.ini:2: unknown section [nodes:x]", "did you mean [node:x]?"}},
		{"default", node + "[default]\n", []string{"d.ini:2:", "did you mean [DEFAULT]?"}},
		{"open title", "[node:web1\n", []string{"d.ini:1:", "no ]"}},
		{"text behind a title", "[node:web1] x\n", []string{"d.ini:1:", `"x"`}},
		{"no value", node + "admin\n", []string{`d.ini:2: "admin" is neither`}},
		{"no key", node + "= x\n", []string{"d.ini:2: no key"}},
		{"odd key", node + "a b = x\n", []string{`d.ini:2: "a b" is no name for a key`}},
		{"indented", node + "x = a\n  b\n", []string{"d.ini:3: the line is indented"}},
		{"indented key", node + "\tx = a\n", []string{"d.ini:2: the line is indented"}},
		{"backquote", node + "x = `a\n", []string{"d.ini:2: x: a value cannot start with `"}},
		{"three quotes", node + "x = \"\"\"a\ny = 1\n", []string{"d.ini:2: x:"}},
		{"comment or colour", node + "x = #fff\n", []string{"d.ini:2: x:", "looks like a comment"}},
		{"comment inside quotes", node + "x = 'a' or 'b ; c'\n", []string{"d.ini:2: x:", "inside quotes"}},
		{"cycle", "[DEFAULT]\na=%(b)s\nb=%(a)s\n" + node, []string{"d.ini:2: interpolation cycle a -> b -> a (d.ini:2, d.ini:3)"}},
		{"cycle of one", "[DEFAULT]\na=%(a)s\n" + node, []string{"d.ini:2: interpolation cycle a -> a (d.ini:2)"}},
		{
			"cycle through nodes", node + "a = %(node:db1:b)s\n[node:db1]\nb = %(node:web1:a)s\n",
			[]string{"interpolation cycle a -> node:db1:b -> a (d.ini:2, d.ini:4)"},
		},
		{"unknown name", node + "x = %(verion)s\nversion = 1\n", []string{`d.ini:2: x: "%(verion)s": node "web1" has no such key`, `did you mean "version"?`}},
		{
			"unknown name behind others", node + "a = %(b)s\nb = %(c)s\nc = %(nope)s\n",
			[]string{`d.ini:4: c: "%(nope)s"`, "a -> b -> c (d.ini:2, d.ini:3, d.ini:4)"},
		},
		{"unknown node", node + "x = %(node:wbe1:name)s\n", []string{"d.ini:2:", `there is no node "wbe1"`, `did you mean "web1"?`}},
		{"lone per cent sign", node + "x = 50%\n", []string{"d.ini:2: x:", "write %%"}},
		{"open reference", node + "x = %(a\n", []string{"d.ini:2: x:", ")s"}},
		{"reference without s", node + "x = %(a) b\n", []string{"d.ini:2: x:", ")s"}},
		{"empty reference", node + "x = %()s\n", []string{"d.ini:2: x:", "names no key"}},
		{"per cent sign in a line", node + "[jobs:a]\nx = remote run date +%Y\n", []string{"d.ini:3: x:", "write %%"}},
		{
			"expansion bomb", "[DEFAULT]\na0 = 0123456789\na1 = " + ten("a0") + "\na2 = " + ten("a1") + "\na3 = " + ten("a2") + "\na4 = " + ten("a3") +
				"\na5 = " + ten("a4") + "\na6 = " + ten("a5") + "\na7 = " + ten("a6") + "\na8 = " + ten("a7") + "\n" + node,
			[]string{"d.ini:6: a4: becomes longer than 64 KiB"},
		},
		{"unknown group", node + "groups = wbe\n[group:web]\n", []string{`d.ini:2: groups: there is no group "wbe"`, `did you mean "web"?`}},
		{"group twice", node + "groups = web, web\n[group:web]\n", []string{"d.ini:2: groups:", "twice"}},
		{"groups in a group", node + "[group:web]\ngroups = a\n", []string{"d.ini:3: groups cannot be set here"}},
		{"too many groups", node + "groups = " + strings.Repeat("web ", 101) + "\n", []string{"d.ini:2: groups: more than 100"}},
		{"groups substituted", node + "groups = %(name)s\n", []string{"d.ini:2: groups:"}},
		{"name", node + "name = a\n", []string{"d.ini:2: name cannot be set"}},
		{"typo", node + "adimn = a\n", []string{`d.ini:2: unknown key "adimn" in [node:web1]; did you mean "admin"?`}},
		{"typo in a namespace", node + "sshd.iq = ::1\n", []string{`d.ini:2:`, `"sshd.ip"`}},
		{"typo of a namespace", node + "ssh.port = 1\n", []string{`d.ini:2:`, `"sshd.port"`}},
		{"open quote", node + "[jobs:a]\nx = remote run \"a\n", []string{"d.ini:3: x:", "not closed"}},
		{"backslash at the end", node + "[jobs:a]\nx = remote run a \\\ny = remote run b\n", []string{"d.ini:3: x:", "backslash"}},
		{"line without words", node + "[jobs:a]\nx = ; nothing\n", []string{"d.ini:3: x: nothing"}},
		{"number for a name", node + "[jobs:a]\n3 = remote run a\n", []string{`d.ini:3: "3" is no name for a line`}},
		{"dash for a name", node + "[jobs:a]\n- = remote run a\n", []string{`d.ini:3: "-" is no name for a line`}},
		{"password with a per cent sign", node + "db.password = %(hunter2\n", []string{"d.ini:2: db.password:"}},
		{"secret's name", node + "x = secret:a b\n", []string{"d.ini:2: x:", `"a b"`}},
		{"secret where none can be", node + "admin = secret:a\n", []string{"d.ini:2: admin cannot be a secret"}},
		{"sudo.secret as it is", node + "sudo.secret = hunter2\n", []string{"d.ini:2: sudo.secret:", "secret:NAME"}},
		{
			"jump through itself", "[DEFAULT]\nsshd.jump = gw\n" + node + "[node:gw]\n",
			[]string{"d.ini:2: sshd.jump:", "gw -> gw", "write sshd.jump = none in [node:gw]"},
		},
		{"jumps in a circle", node + "sshd.jump = b\n[node:b]\nsshd.jump = web1\n", []string{"d.ini:2: sshd.jump:", "web1 -> b -> web1"}},
		{"too many lines", node + manyKeys(maxSectionLines+10), []string{"d.ini:1002: more than 1000 lines"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("d.ini", []byte(tt.ini), Options{})
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got %v, want Problems", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %s\nwant %s", err, want)
				}
			}
			if strings.ContainsAny(err.Error(), "\x00\x1b\r") {
				t.Errorf("not escaped: %q", err)
			}
			for _, p := range problems {
				if strings.Contains(p.Error(), "hunter2") {
					t.Errorf("a password is shown: %s", p)
				}
			}
		})
	}
}

// TestValues holds each key that conc reads to what may be its value, as it
// stands in a file and as it comes out of a substitution.
func TestValues(t *testing.T) {
	t.Parallel()
	pin := "SHA256:" + strings.Repeat("abcd", 10) + "abc"
	tests := []struct {
		key       string
		good, bad []string
	}{
		{"sshd.port", []string{"1", "22", "65535"}, []string{"0", "65536", "22x", "-1", "", "+1", "2 2", "99999999999999999999"}},
		{
			"sshd.ip",
			[]string{"192.0.2.1", "::1", "2001:db8::1", "web1", "web-1.example.org", "a_b.c.", "xn--bcher-kva.example"},
			[]string{"256.1.1.1", "1.2.3", "::g", "", "a b", "-oProxyCommand=x", "[::1]", "web1:22", "a..b", "user@host", "$(id)", "fe80::1%%e/0"},
		},
		{
			"bundle",
			[]string{"shop-bundle", "a/b", ".shop", "a b"},
			[]string{"../x", "/etc", ".", "", "a/../../b", "~root", "~", "a/", "a//b", "./a", "..", ".conc", ".conc/bin", ".ssh", strings.Repeat("x", 201)},
		},
		{"venv", []string{"venvs/a", "/srv/app/venv", "~/venv", "..a"}, []string{"", ".", "..", "../a", "/", "~root/venv", "a/../b", "/a/../..", "a//b"}},
		{"admin", []string{"deploy", "a b", "-oProxyCommand=x", "$(id)"}, []string{""}},
		{"op_key", []string{"shop", "", "shop 2"}, []string{"../shop", "a/b", `a\b`}},
		{"sshd.hostkey", []string{pin, "SHA256:" + strings.Repeat("A", 43)}, []string{"", pin[:49], pin + "=", pin + "a", strings.ToLower(pin[:7]) + pin[7:], "MD5:00"}},
		{
			"sshd.jump",
			[]string{"none", "gw", "gw.example.org", "ops@gw", "ops@gw:2222", "gw:22", "[::1]:22", "ops@[::1]:22", "ops@[::1]", "192.0.2.1", "192.0.2.1:22", "ops@::1"},
			[]string{"", "@gw", "ops@", "ops@gw:0", "gw:x", "[gw]:22", "a b", "ops@[::1", "ssh://gw", "ops@[::1]x:22", "a,b"},
		},
		{"timeout.job", []string{"90s", "5m", "1h30m", "30", "1000h", "500ms"}, []string{"-5", "0", "1e99", "5 parsecs", "", "1001h", "0s", "-1s", "3600001", "99999999999"}},
		{"timeout.connect", []string{"5s"}, []string{"soon"}},
		{"timeout.reconnect", []string{"5s"}, []string{"soon"}},
		{"cache.size", []string{"0", "500MiB", "1GiB", "1 GB", "1073741824"}, []string{"", "big", "-1", "1e9", "NaN", "9999PB", "1QB"}},
		{"on_disconnect", []string{"finish", "kill"}, []string{"", "Finish", "die"}},
		{"jobs", []string{"release"}, []string{"", "a b"}},
		{"nodetest", []string{"web"}, []string{"", "a/b"}},
		{"agent.dir", []string{"dist"}, []string{""}},
		{"sudo.secret", []string{"secret:SUDO"}, []string{"", "SUDO", "secret:", "secret:a/b"}},
	}
	for _, tt := range tests {
		t.Run(tt.key, func(t *testing.T) {
			t.Parallel()
			for _, form := range []string{"[node:web1]\n%s = \"%s\"\n", "[node:web1]\n%s = %%(own)s\n[DEFAULT]\nown = \"%s\"\n"} {
				if strings.Contains(form, "own") && tt.key == "sudo.secret" {
					continue // a secret that is substituted comes as a token: TestSecrets
				}
				for _, v := range tt.good {
					ini := insert(form, tt.key, v)
					if _, err := Parse("d.ini", []byte(ini), Options{}); err != nil {
						t.Errorf("%s\ngot %v, want no error", ini, err)
					}
				}
				for _, v := range tt.bad {
					ini := insert(form, tt.key, v)
					_, err := Parse("d.ini", []byte(ini), Options{})
					if err == nil || !strings.HasPrefix(err.Error(), "d.ini:2: "+tt.key+": ") || strings.Contains(err.Error(), "\n") {
						t.Errorf("%s\ngot %v, want one complaint about %s in line 2", ini, err, tt.key)
					}
				}
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x%d = 1\n", i)
	}
	return b.String()
}

// insert puts a key and a value where form has "%s".
func insert(form, key, value string) string {
	form = strings.ReplaceAll(form, "%%", "%")
	before, rest, _ := strings.Cut(form, "%s")
	i := strings.LastIndex(rest, "%s")
	return before + key + rest[:i] + value + rest[i+2:]
}

// TestAllAtOnce wants every complaint of a file in one go, in the order of the lines.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	ini := `[DEFAULT]
sshd.port = 0
venv = %(nope)s
[node:web1]
adimn = x
[node:web2]
[jobs:a]
x = remote run 'a
`
	_, err := Parse("d.ini", []byte(ini), Options{Set: []string{"name=x", "a", "groups=b", "ver sion=1", "x=\x1b", "y=50%"}})
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v, want Problems", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Origin.String())
	}
	want := "d.ini:2 d.ini:3 d.ini:5 d.ini:8 --set --set --set --set --set --set"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s\n%s", strings.Join(got, " "), want, err)
	}
}

// TestNotWithoutEnd wants a file of nothing but rubbish to be refused in a text
// that can be read.
func TestNotWithoutEnd(t *testing.T) {
	t.Parallel()
	_, err := Parse("d.ini", []byte(strings.Repeat("rubbish\n", 50_000)), Options{})
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != maxProblems+1 {
		t.Fatalf("got %d problems, want %d", len(problems), maxProblems+1)
	}
	if got, want := problems[maxProblems].Error(), "d.ini: and more problems than these"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOwnKeysAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"date", "mode", "node", "env", "api_key", "app_key", "game", "http.port", "app", "version", "db.host", "timeout.log", "log.dir", "user"} {
		if got := typo(key); len(got) > 0 {
			t.Errorf("%s: got %v, want none", key, got)
		}
	}
}

// TestSameInAnyDress wants one meaning for a file with Unix and DOS line ends,
// with and without a byte order mark, with and without comments.
func TestSameInAnyDress(t *testing.T) {
	t.Parallel()
	ini := "[DEFAULT]\nadmin = deploy\nurl=http://h/#f\npath = C:\\x\\\n[node:web1]\nx = a;b#c\nempty =\n"
	dresses := map[string]string{
		"as it is":        ini,
		"BOM":             "\ufeff" + ini,
		"CRLF":            strings.ReplaceAll(ini, "\n", "\r\n"),
		"no last newline": strings.TrimSuffix(ini, "\n"),
		"comments":        strings.ReplaceAll(strings.ReplaceAll(ini, "\n", " ; c # d\n# e\n"), "= ;", "= ; "),
		"tabs":            strings.ReplaceAll(ini, "\n", "\t# c\n"),
	}
	for name, dressed := range dresses {
		f, err := Parse("d.ini", []byte(dressed), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		n, err := f.Node("web1")
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"admin": "deploy", "url": "http://h/#f", "path": `C:\x\`, "x": "a;b#c", "empty": ""} {
			if a, ok := n.Lookup(key); !ok || a.Value != want {
				t.Errorf("%s: %s: got %q, want %q", name, key, a.Value, want)
			}
		}
	}
}

func TestZoneNeedsNoEscape(t *testing.T) {
	t.Parallel()
	for _, written := range []string{"fe80::1%eth0", "fe80::1%%eth0", "fe80::1%%%(dev)s"} {
		f, err := Parse("d.ini", []byte(node+"dev = eth0\nsshd.ip = "+written+"\n"), Options{})
		if err != nil {
			t.Errorf("%s: %v", written, err)
			continue
		}
		if n, _ := f.Node("web1"); n.Get("sshd.ip") != "fe80::1%eth0" {
			t.Errorf("%s: got %q, want fe80::1%%eth0", written, n.Get("sshd.ip"))
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	tests := []struct{ ini, want string }{
		{"db.password = hunter2", "d.ini:2: db.password: this looks like a password"},
		{"API_KEY = hunter2", "d.ini:2: api_key:"},
		{"token = hunter2", "d.ini:2: token:"},
		{"db.password = secret:DB", ""},
		{"db.password = %(other)s\nother = secret:DB", ""},
		{"db.password =", ""},
		{"op_key = shop", ""},
		{"tokens = 5", ""},
		{"[jobs:later]", "d.ini:2: [jobs:later] has no lines"},
		{"sshd.jump = wbe2\n[node:web2]", `d.ini:2: sshd.jump: "wbe2" is no node`},
	}
	for _, tt := range tests {
		f, err := Parse("d.ini", []byte(node+tt.ini+"\n"), Options{})
		if err != nil {
			t.Errorf("%s: %v", tt.ini, err)
			continue
		}
		got := f.Warnings().Error()
		if !strings.HasPrefix(got, tt.want) || (got != "") != (tt.want != "") || strings.Contains(got, "hunter2") {
			t.Errorf("%s: got %q, want %q", tt.ini, got, tt.want)
		}
	}
}
