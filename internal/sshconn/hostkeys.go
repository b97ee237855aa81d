package sshconn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// hostKeys is what is on record of host keys.
type hostKeys struct {
	db   *knownhosts.HostKeyDB
	real map[string]string // a cleaned copy's name -> the file's own
}

// noAddr keeps a lookup to the name that was dialled.
var noAddr = &net.TCPAddr{IP: net.IPv4zero}

// maxGarbage bounds the lines that are skipped before a file counts as none of ours.
const maxGarbage = 200

// readHostKeys reads known_hosts files. One that is missing has no keys; a line
// that cannot be read is left out with a warning, since the library would
// refuse the whole file for it.
func readHostKeys(files []string, warn func(string)) (*hostKeys, error) {
	k := &hostKeys{real: map[string]string{}}
	dir, err := os.MkdirTemp("", "conc-known-hosts-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var use []string
	for i, file := range files {
		good, err := cleanRecord(file, filepath.Join(dir, strconv.Itoa(i)), warn)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		k.real[good] = file
		use = append(use, good)
	}
	k.db, err = knownhosts.NewDB(use...)
	return k, err
}

// cleanRecord gives the name of a file that the library can read: the file
// itself, or a copy at spare without the lines that it cannot.
func cleanRecord(file, spare string, warn func(string)) (string, error) {
	use := file
	var lines [][]byte
	for range maxGarbage {
		_, err := xknownhosts.New(use)
		if err == nil {
			return use, nil
		}
		bad := badLines(use, lines, err)
		if len(bad) == 0 && lines != nil {
			return "", err
		}
		if lines == nil {
			data, err2 := os.ReadFile(file)
			if err2 != nil {
				return "", err2
			}
			lines = bytes.Split(data, []byte("\n"))
			if bad = badLines(use, lines, err); len(bad) == 0 {
				return "", err
			}
		}
		for n, why := range bad {
			lines[n] = nil // a line stays, so that the others keep their numbers
			warn(fmt.Sprintf("%s:%d: skipped: %s", file, n+1, why))
		}
		if err := os.WriteFile(spare, bytes.Join(lines, []byte("\n")), 0o600); err != nil {
			return "", err
		}
		use = spare
	}
	return "", fmt.Errorf("%s: over %d lines that are no host keys; is it a known_hosts file?", file, maxGarbage)
}

// badLines tells which lines made the library refuse the file.
func badLines(file string, lines [][]byte, err error) map[int]string {
	bad := map[int]string{}
	if errors.Is(err, bufio.ErrTooLong) {
		for n, line := range lines {
			if len(line) >= bufio.MaxScanTokenSize {
				bad[n] = "longer than any key"
			}
		}
		return bad
	}
	rest, ok := strings.CutPrefix(err.Error(), "knownhosts: "+file+":")
	number, why, _ := strings.Cut(rest, ": ")
	if n, err := strconv.Atoi(number); ok && err == nil && n >= 1 && n <= len(lines) {
		bad[n-1] = strings.TrimPrefix(why, "knownhosts: ")
	}
	return bad
}

// algorithms lists what to ask t for: first the types that are on record, then
// the others, so that a host whose known key is gone is seen to have changed.
func (k *hostKeys) algorithms(t Target) []string {
	supported := ssh.SupportedAlgorithms().HostKeys
	algos := slices.DeleteFunc(k.db.HostKeyAlgorithms(t.record()), func(a string) bool {
		return !slices.Contains(supported, a)
	})
	for _, a := range plainAlgorithms() {
		if !slices.Contains(algos, a) {
			algos = append(algos, a)
		}
	}
	return algos
}

// plainAlgorithms are those without certificates, the best first.
func plainAlgorithms() []string { return slices.Concat(keyTypes...) }

// keyTypes groups the algorithms by the key they show.
var keyTypes = [][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256},
	{ssh.KeyAlgoECDSA384},
	{ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// state compares a key with the record. want are the keys on record for the
// host, those of authorities left out.
func (k *hostKeys) state(t Target, key ssh.PublicKey) (s State, want []xknownhosts.KnownKey, err error) {
	err = k.db.HostKeyCallback()(t.record(), noAddr, key)
	var mismatch *xknownhosts.KeyError
	switch {
	case err == nil:
		return Known, nil, nil
	case errors.As(err, &mismatch):
		authority := map[string]bool{}
		for _, h := range k.db.HostKeys(t.record()) {
			if h.Cert {
				authority[string(h.Marshal())] = true
			}
		}
		want = slices.DeleteFunc(mismatch.Want, func(w xknownhosts.KnownKey) bool {
			return authority[string(w.Key.Marshal())]
		})
		if len(want) > 0 {
			return Changed, want, err
		}
		return New, nil, err
	}
	return Changed, nil, err // revoked, or a certificate that is not good
}

// place gives "file:line" of a record.
func (k *hostKeys) place(w xknownhosts.KnownKey) string {
	file := w.Filename
	if own, ok := k.real[file]; ok {
		file = own
	}
	return fmt.Sprintf("%s:%d", file, w.Line)
}

// verify is the judgement of a host's key: nil, or an *Error.
func (k *hostKeys) verify(t Target, key ssh.PublicKey, home string) error {
	state, want, err := k.state(t, key)
	if state == Known {
		return nil
	}
	shown := show(key)
	var revoked *xknownhosts.RevokedError
	switch {
	case state == New:
		hint := fmt.Sprintf("compare it with the node's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub),\nthen add this line to %s:\n%s",
			t.knownFiles(home)[0], xknownhosts.Line([]string{t.record()}, plainKey(key)))
		if t.Node != "" {
			hint = fmt.Sprintf("compare and record it: conc trust %s\nor %s", t.Node, hint)
		}
		return errorf(UnknownKey, hint, "%s: its host key is not on record: %s", t.label(), shown)
	case errors.As(err, &revoked):
		return errorf(ChangedKey, "do not connect until you know why", "%s: the host key %s is marked as revoked at %s", t.label(), shown, k.place(revoked.Revoked))
	case len(want) == 0:
		return errorf(ChangedKey, "have the host's certificate made anew", "%s: the host's certificate is not accepted: %w", t.label(), err)
	}
	var have []string
	for _, w := range want {
		have = append(have, fmt.Sprintf("%s at %s", show(w.Key), k.place(w)))
	}
	hint := "someone may be reading along. If the node was made anew, and you\ncompared the key there, remove the old one by hand:\n" + forget(t, k.place(want[0]))
	if t.Node != "" {
		hint += "\nthen: conc trust " + t.Node
	}
	return errorf(ChangedKey, hint, "%s: THE HOST KEY HAS CHANGED: it shows %s, on record is %s", t.label(), shown, strings.Join(have, ", "))
}

// name is what conc's commands call the target.
func (t Target) name() string {
	if t.Node != "" {
		return t.Node
	}
	return t.Host
}

// show gives a key's type and fingerprint, as ssh-keygen -l does.
func show(key ssh.PublicKey) string {
	key = plainKey(key)
	return key.Type() + " " + ssh.FingerprintSHA256(key)
}

// plainKey is the key that a certificate is about.
func plainKey(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// judge decides on the key that a server shows.
type judge interface {
	algorithms() []string
	verify(key ssh.PublicKey) error
	// settle takes the error of an attempt: another one may be worth its while,
	// or there is a better error.
	settle(err error) (again bool, final error)
}

// judge gives the pin's judge, or that of known_hosts.
func (d *dialer) judge(t Target) (judge, error) {
	if t.HostKey != "" {
		return &pinned{t: t}, nil
	}
	k, err := d.records(t)
	if err != nil {
		return nil, err
	}
	return recorded{k, t, d.o.Home}, nil
}

// recorded judges by known_hosts.
type recorded struct {
	keys *hostKeys
	t    Target
	home string
}

func (r recorded) algorithms() []string           { return r.keys.algorithms(r.t) }
func (r recorded) verify(key ssh.PublicKey) error { return r.keys.verify(r.t, key, r.home) }
func (r recorded) settle(err error) (bool, error) { return false, err }

// pinned judges by sshd.hostkey alone. The fingerprint does not tell the key's
// type, so types are asked for until the pinned key is shown, or none is left.
type pinned struct {
	t        Target
	shown    []ssh.PublicKey
	mismatch *Error
}

func (p *pinned) algorithms() []string {
	var algos []string
	for _, group := range keyTypes {
		if !slices.ContainsFunc(p.shown, func(k ssh.PublicKey) bool { return groupOf(k, group) }) {
			algos = append(algos, group...)
		}
	}
	return algos
}

// groupOf tells whether the key is of the group's type.
func groupOf(key ssh.PublicKey, group []string) bool {
	return key.Type() == group[0] || key.Type() == ssh.KeyAlgoRSA && group[0] == ssh.KeyAlgoRSASHA512
}

func (p *pinned) verify(key ssh.PublicKey) error {
	if ssh.FingerprintSHA256(key) == p.t.HostKey {
		return nil
	}
	p.shown = append(p.shown, key)
	var shown []string
	for _, k := range p.shown {
		shown = append(shown, show(k))
	}
	p.mismatch = errorf(ChangedKey, "someone may be reading along. If the node was made anew, and you compared the key there, change sshd.hostkey",
		"%s: its host key is not the one of sshd.hostkey: it shows %s, the pin is %s", p.t.label(), strings.Join(shown, ", "), p.t.HostKey)
	return p.mismatch
}

func (p *pinned) settle(err error) (bool, error) {
	var algo *ssh.AlgorithmNegotiationError
	switch {
	case p.mismatch == nil:
		return false, err
	case errors.Is(err, p.mismatch):
		return len(p.algorithms()) > 0, err
	case errors.As(err, &algo): // the server has no further types
		return false, p.mismatch
	}
	return false, err
}
