package sshconn

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/config"
)

// inventory makes a node finder of attributes by node.
func inventory(nodes map[string]map[string]string) func(string) (*config.Node, error) {
	return func(name string) (*config.Node, error) {
		if attrs, ok := nodes[name]; ok {
			return config.NewNode(name, attrs), nil
		}
		return nil, errors.New("no such node")
	}
}

func TestResolve(t *testing.T) {
	type attrs = map[string]string
	home := t.TempDir()
	in := func(name string) string { return filepath.Join(home, ".ssh", name) }
	for _, name := range []string{"id_ed25519-shop", "id_ed25519-shop.pub", "id_rsa-shop", "id_rsa-shop-cert.pub", "id_ed25519-a-shop", "id_ed25519", "id_ecdsa-sho*.pub"} {
		write(t, in(name), "x")
	}
	for name, tc := range map[string]struct {
		file  string // ~/.ssh/config
		nodes map[string]attrs
		want  Target
		err   string
		warn  string
	}{
		"deploy.ini says everything": {
			file:  "Host *\n User nobody\n Port 2222\n IdentityFile ~/.ssh/other\n HostName elsewhere\nProxyJump away\n",
			nodes: map[string]attrs{"web1": {"admin": "deploy", "sshd.ip": "192.0.2.1", "sshd.port": "22", "op_key": "shop", "sshd.jump": "none"}},
			want:  Target{Node: "web1", User: "deploy", Host: "192.0.2.1", Port: 22, OpKey: "shop", Only: true, Files: []string{in("id_ed25519-shop"), in("id_rsa-shop")}},
		},
		"nothing is said": {
			nodes: map[string]attrs{"web1": {}},
			want:  Target{Node: "web1", User: "ann", Host: "web1", Port: 22},
		},
		"filled in": {
			file:  "Host web\r\n  HostName %h.example\r\n  User ops\r\n  Port 2022\r\n  IdentityFile ~/.ssh/id_%r_%p\r\n  IdentityFile %d/k\r\n  CertificateFile ~/c.pub\r\n  UserKnownHostsFile ~/kh \"/a b\"\r\n  IdentitiesOnly yes\r\nHost other\r\n  User wrong\r\n",
			nodes: map[string]attrs{"web1": {"sshd.ip": "web"}},
			want: Target{
				Node: "web1", User: "ops", Host: "web.example", Port: 2022, Only: true,
				Files: []string{in("id_ops_2022"), filepath.Join(home, "k")}, Certs: []string{filepath.Join(home, "c.pub")},
				Known: []string{filepath.Join(home, "kh"), "/a b", "/etc/ssh/ssh_known_hosts"},
			},
		},
		"Include and Match": {
			file:  "Include conf.d/*\nMatch exec \"true\"\n User wrong\nMatch host web1,web2\n Port 2200\nMatch all\n User late\n",
			nodes: map[string]attrs{"web1": {"sshd.ip": "web1"}},
			want:  Target{Node: "web1", User: "early", Host: "web1", Port: 2200},
			warn:  in("config") + ":2: a Match block",
		},
		"the jump is a node with a jump": {
			nodes: map[string]attrs{
				"web1": {"admin": "a", "sshd.ip": "::1", "sshd.jump": "hop1"},
				"hop1": {"admin": "b", "sshd.ip": "192.0.2.2", "sshd.port": "2022", "sshd.jump": "carl@[fe80::1%eth0]:99", "sshd.hostkey": "SHA256:x"},
			},
			want: Target{Node: "web1", User: "a", Host: "::1", Port: 22, Jump: []Target{
				{User: "carl", Host: "fe80::1%eth0", Port: 99},
				{Node: "hop1", User: "b", Host: "192.0.2.2", Port: 2022, HostKey: "SHA256:x"},
			}},
		},
		"the jump of ~/.ssh/config": {
			file:  "Host web1\n ProxyJump bastion,u@second:23\nHost bastion\n HostName 192.0.2.9\n User b\n ProxyJump first\n",
			nodes: map[string]attrs{"web1": {}},
			want: Target{Node: "web1", User: "ann", Host: "web1", Port: 22, Jump: []Target{
				{User: "ann", Host: "first", Port: 22}, {User: "b", Host: "192.0.2.9", Port: 22}, {User: "u", Host: "second", Port: 23},
			}},
		},
		"a cycle of nodes": {
			nodes: map[string]attrs{"web1": {"sshd.jump": "hop1"}, "hop1": {"sshd.jump": "web1"}},
			err:   "sshd.jump: jump hosts that lead to each other: web1 -> hop1 -> web1",
		},
		"a cycle of hosts": {
			file:  "Host *\n ProxyJump b\n",
			nodes: map[string]attrs{"web1": {}},
			err:   "lead to each other",
		},
		"a jump without a host": {
			nodes: map[string]attrs{"web1": {"sshd.jump": "u@:22"}},
			err:   `sshd.jump: "u@:22": no host`,
		},
		"a jump's port": {
			nodes: map[string]attrs{"web1": {"sshd.jump": "h:66666"}},
			err:   `"66666" is not a port`,
		},
		"a port": {
			nodes: map[string]attrs{"web1": {"sshd.port": "0"}},
			err:   `sshd.port: "0" is not a port`,
		},
		"a secret": {
			nodes: map[string]attrs{"web1": {"admin": config.SecretToken("x")}},
			err:   "admin: a secret cannot stand here",
		},
		"a broken file": {
			file:  "Host *\n User\n",
			nodes: map[string]attrs{"web1": {}},
			err:   in("config") + ":2: \"User\" stands without a value",
		},
		"an unknown token": {
			file:  "IdentityFile ~/%Z\n",
			nodes: map[string]attrs{"web1": {}},
			err:   "IdentityFile of web1: ",
		},
		"a file that includes itself": {
			file:  "Include config\n",
			nodes: map[string]attrs{"web1": {}},
			err:   "nested deeper than 16",
		},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, in("config"), tc.file)
			write(t, in("conf.d/a"), "Host web*\n User early\n")
			write(t, in("conf.d/b"), "Host web*\n User later\n")
			var warned []string
			nodes := inventory(tc.nodes)
			node, err := nodes("web1")
			if err != nil {
				t.Fatal(err)
			}
			got, err := Resolve(node, nodes, Options{Home: home, User: "ann", Warn: func(w string) { warned = append(warned, w) }})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("got %v, want %q in it", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("want -, got +:\n%s", d)
			}
			if all := strings.Join(warned, "\n"); (tc.warn == "") != (all == "") || !strings.Contains(all, tc.warn) {
				t.Errorf("got the warnings %q, want %q", all, tc.warn)
			}
		})
	}
}

func TestBuiltInDoesNotWin(t *testing.T) {
	home := t.TempDir()
	write(t, filepath.Join(home, ".ssh", "config"), "Host 192.0.2.7\n Port 2022\n User ops\n")
	for text, want := range map[string]string{
		"[node:web1]\nsshd.ip = 192.0.2.7\n":                              "ops@192.0.2.7:2022",
		"[node:web1]\nsshd.ip = 192.0.2.7\nsshd.port = 22\nadmin = own\n": "own@192.0.2.7:22",
	} {
		f, err := config.Parse("deploy.ini", []byte(text), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		n, err := f.Node("web1")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Resolve(n, f.Node, Options{Home: home, User: "ann"})
		if err != nil || got.String() != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestUnreadableUserConfig(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh", "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Resolve(config.NewNode("web1", nil), nil, Options{Home: home, User: "ann"})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(home, ".ssh", "config")) {
		t.Errorf("got %v, want the file named", err)
	}
}

func TestTargetString(t *testing.T) {
	for want, target := range map[string]Target{
		"deploy@10.0.0.11:22":     {User: "deploy", Host: "10.0.0.11", Port: 22},
		"deploy@[::1]:22":         {User: "deploy", Host: "::1", Port: 22},
		"a@[fe80::1%eth0]:2222":   {User: "a", Host: "fe80::1%eth0", Port: 2222},
		"deploy@web1.example:443": {User: "deploy", Host: "web1.example", Port: 443},
	} {
		if got := target.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCopyIDIsSafeToPaste(t *testing.T) {
	for user, want := range map[string]string{
		"deploy":           "ssh-copy-id -i '/h/a b.pub' -p 22 deploy@h",
		"$(id)":            "ssh-copy-id -i '/h/a b.pub' -p 22 -o 'User=$(id)' h",
		"-oProxyCommand=x": "ssh-copy-id -i '/h/a b.pub' -p 22 -o User=-oProxyCommand=x h",
	} {
		if got := (Target{User: user, Host: "h", Port: 22}).copyID("/h/a b"); got != want {
			t.Errorf("%s:\n got %s\nwant %s", user, got, want)
		}
	}
}

func TestSSHArgs(t *testing.T) {
	for name, tc := range map[string]struct {
		t    Target
		want []string
	}{
		"plain": {
			Target{User: "deploy", Host: "10.0.0.11", Port: 22},
			[]string{"-p", "22", "-o", "StrictHostKeyChecking=yes", "deploy@10.0.0.11"},
		},
		"key": {
			Target{User: "deploy", Host: "::1", Port: 2222, OpKey: "shop", Files: []string{"/h/.ssh/id_ed25519-shop"}, Known: []string{"/h/a b", "/h/50%"}},
			[]string{"-p", "2222", "-i", "/h/.ssh/id_ed25519-shop", "-o", "IdentitiesOnly=yes", "-o", `UserKnownHostsFile="/h/a b" /h/50%%`, "-o", "StrictHostKeyChecking=yes", "deploy@::1"},
		},
		"an odd user": {
			Target{User: "-oProxyCommand=x", Host: "h", Port: 22},
			[]string{"-p", "22", "-o", "StrictHostKeyChecking=yes", "-l", "-oProxyCommand=x", "--", "h"},
		},
		"plain hops": {
			Target{User: "a", Host: "h", Port: 22, Jump: []Target{{User: "b", Host: "::1", Port: 23}, {User: "c", Host: "i", Port: 22}}},
			[]string{"-p", "22", "-o", "StrictHostKeyChecking=yes", "-J", "b@[::1]:23,c@i:22", "a@h"},
		},
		"a hop with a key": {
			Target{User: "a", Host: "h", Port: 22, Jump: []Target{{User: "b", Host: "j", Port: 23, OpKey: "k", Files: []string{"/x y%"}}}},
			[]string{"-p", "22", "-o", "StrictHostKeyChecking=yes", "-o", "ProxyCommand=ssh -W '[%h]:%p' -p 23 -i '/x y%%' -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes b@j", "a@h"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, tc.t.SSHArgs()); d != "" {
				t.Errorf("want -, got +:\n%s", d)
			}
		})
	}
}
