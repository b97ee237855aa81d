package sshconn

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

func TestHostKeyRecords(t *testing.T) {
	dir := t.TempDir()
	mine := keyPair(t, filepath.Join(dir, "mine"), "", nil)
	other := keyPair(t, filepath.Join(dir, "other"), "", nil)
	line := func(host string, k ssh.PublicKey) string {
		return host + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
	}
	good := line("web1.example", mine)
	for name, tc := range map[string]struct {
		text  string
		host  string
		port  int
		state State
		warns []string
	}{
		"known":                 {text: good, state: Known},
		"unknown":               {text: line("web2.example", mine)},
		"changed":               {text: line("web1.example", other), state: Changed},
		"several keys":          {text: line("web1.example", other) + "\n" + good, state: Known},
		"upper case":            {text: good, host: "WEB1.example", state: Known},
		"CRLF":                  {text: "# x\r\n\r\n" + good + "\r\n", state: Known},
		"garbage first":         {text: "garbage\n" + good + "\n", state: Known, warns: []string{":1: skipped"}},
		"garbage of all kinds":  {text: "a\n\x00\x01\n" + good + "\nx ssh-ed25519 !!!\n@odd x ssh-rsa AAAA\n|1|x ssh-ed25519 " + strings.Fields(good)[2] + "\n", state: Known, warns: []string{":1:", ":2:", ":4:", ":5:", ":6:"}},
		"a line without end":    {text: strings.Repeat("x", 100_000) + "\n" + good, state: Known, warns: []string{":1:"}},
		"garbage, then changed": {text: "garbage\n" + line("web1.example", other), state: Changed, warns: []string{":1:"}},
		"another port":          {text: good, port: 2222},
		"its port":              {text: line("[web1.example]:2222", mine), port: 2222, state: Known},
		"wildcard":              {text: line("*.example,!web2.example", mine), state: Known},
		"hashed":                {text: line(xknownhosts.HashHostname("web1.example"), mine), state: Known},
		"hashed with a port":    {text: line(xknownhosts.HashHostname("[web1.example]:2222"), mine), port: 2222, state: Known},
		"IPv6":                  {text: line("::1", mine), host: "::1", state: Known},
		"IPv6 with a port":      {text: line("[::1]:2222", mine), host: "::1", port: 2222, state: Known},
		"IPv6 with a zone":      {text: line("fe80::1%eth0", mine), host: "fe80::1%eth0", state: Known},
		"revoked":               {text: good + "\n" + line("@revoked *", mine), state: Changed},
		"an authority alone":    {text: line("@cert-authority *", other), state: New},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			write(t, file, tc.text)
			target := Target{Node: "web1", User: "deploy", Host: "web1.example", Port: 22, Known: []string{file}}
			if tc.host != "" {
				target.Host = tc.host
			}
			if tc.port != 0 {
				target.Port = tc.port
			}
			var warned []string
			keys, err := readHostKeys([]string{filepath.Join(dir, "missing"), file}, func(w string) { warned = append(warned, w) })
			if err != nil {
				t.Fatal(err)
			}
			if got, _, _ := keys.state(target, mine); got != tc.state {
				t.Errorf("got %v, want %v", got, tc.state)
			}
			if all := strings.Join(warned, "\n"); len(warned) != len(tc.warns) {
				t.Errorf("got the warnings %q, want %q", all, tc.warns)
			} else {
				for _, w := range tc.warns {
					if !strings.Contains(all, file+w) {
						t.Errorf("got the warnings %q, want %q in them", all, file+w)
					}
				}
			}
			err = keys.verify(target, mine, dir)
			switch tc.state {
			case Known:
				if err != nil {
					t.Errorf("got %v, want it accepted", err)
				}
			case New:
				wantError(t, err, UnknownKey, ssh.FingerprintSHA256(mine), "conc trust web1", file)
			case Changed:
				wantError(t, err, ChangedKey, ssh.FingerprintSHA256(mine), file+":")
			}
		})
	}
	t.Run("no known_hosts file at all", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, "binary"), []byte(strings.Repeat("x\n", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readHostKeys([]string{filepath.Join(dir, "binary")}, func(string) {}); err == nil || !strings.Contains(err.Error(), "is it a known_hosts file?") {
			t.Errorf("got %v, want a refusal", err)
		}
	})
}

func TestHostCertificates(t *testing.T) {
	dir := t.TempDir()
	host := keyPair(t, filepath.Join(dir, "host"), "", nil)
	data, err := os.ReadFile(filepath.Join(dir, "host")) // signs itself: any key can be an authority
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ssh.ParsePrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: host, CertType: ssh.HostCert, ValidPrincipals: []string{"web1.example"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "known_hosts")
	write(t, file, "@cert-authority *.example "+string(ssh.MarshalAuthorizedKey(ca.PublicKey())))
	keys, err := readHostKeys([]string{file}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	web1 := Target{Node: "web1", Host: "web1.example", Port: 22, Known: []string{file}}
	if got := keys.algorithms(web1); got[0] != ssh.CertAlgoED25519v01 {
		t.Errorf("got %q, want the certificate asked for first", got)
	}
	if err := keys.verify(web1, cert, dir); err != nil {
		t.Errorf("got %v, want it accepted", err)
	}
	web2 := Target{Node: "web2", Host: "web2.example", Port: 22, Known: []string{file}}
	wantError(t, keys.verify(web2, cert, dir), ChangedKey, "certificate is not accepted")
}

func TestRecordMakesTheFile(t *testing.T) {
	home := t.TempDir()
	target := Target{Host: "::1", Port: 2222}
	key := keyPair(t, filepath.Join(home, "k"), "", nil)
	keys := []HostKey{{Line: xknownhosts.Line([]string{target.record()}, key)}}
	path, err := Record(target, keys, Options{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(home, ".ssh", "known_hosts"); path != want {
		t.Errorf("got %q, want %q", path, want)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm() != want {
			t.Errorf("got %v, %v, want mode %o of %s", st.Mode(), err, want, p)
		}
	}
	if got, _ := os.ReadFile(path); !strings.HasPrefix(string(got), "[::1]:2222 ssh-ed25519 ") {
		t.Errorf("got %q", got)
	}
}

func TestRecordKeepsALinkAndItsContent(t *testing.T) {
	home := t.TempDir()
	real := filepath.Join(home, "dotfiles", "known")
	write(t, real, "# by hand\n")
	link := filepath.Join(home, ".ssh", "known_hosts")
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Record(Target{Host: "x", Port: 22}, []HostKey{{Line: "x ssh-ed25519 AAAA"}}, Options{Home: home}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(real); string(got) != "# by hand\nx ssh-ed25519 AAAA\n" {
		t.Errorf("got %q", got)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("got %v, %v, want the link kept", st, err)
	}
}
