package sshconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"al.essio.dev/pkg/shellescape"
	"github.com/google/renameio/v2"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// HostKey is a key that a server showed.
type HostKey struct {
	Type        string // "ssh-ed25519"
	Fingerprint string // "SHA256:…"
	Line        string // for known_hosts
	State       State
	Record      string // "file:line" of the key on record that it differs from; "" when there is none
}

// State is how a key compares with what is on record.
type State int

// The states of a HostKey.
const (
	New State = iota
	Known
	Changed
)

func (s State) String() string {
	return [...]string{"new", "known", "CHANGED"}[s]
}

// Scan fetches the target's host keys, one per type it offers, without
// logging in. The hops before it are logged in to, strictly.
//
// A key of a type that is not on record is New only when the server also shows
// one that is, or when nothing is on record of the host: else it has Changed.
// With a pin, the key that it means is Known, and the others are New.
func Scan(ctx context.Context, t Target, o Options) ([]HostKey, error) {
	d := newDialer(t, o)
	defer d.close()
	ctx, b := newBudget(ctx, d.o.Connect)
	defer b.stop()
	records, err := d.records(t)
	if err != nil {
		return nil, err
	}
	c, err := d.hops(ctx, b)
	defer c.close()
	if err != nil {
		return nil, d.viaJump(err)
	}
	var shown []ssh.PublicKey
	var offers []string // what the server has, once it said so
	for _, group := range keyTypes {
		if offers != nil && !slices.ContainsFunc(group, func(a string) bool { return slices.Contains(offers, a) }) {
			continue
		}
		look := &onlooker{group: group}
		_, err := d.attemptAgain(ctx, c.via(), t, look, nil)
		var algo *ssh.AlgorithmNegotiationError
		switch {
		case look.key != nil:
			shown = append(shown, look.key)
		case errors.As(err, &algo):
			offers = algo.RequestedAlgorithms
		case err != nil:
			return nil, err
		}
	}
	if len(shown) == 0 {
		return nil, errorf(Unreachable, "", "%s: the server has no host key of a type that conc knows", t.label())
	}
	return compare(t, records, shown), nil
}

// onlooker takes a key down, and goes no further.
type onlooker struct {
	group []string
	key   ssh.PublicKey
}

var errSeen = errors.New("seen")

func (k *onlooker) algorithms() []string           { return k.group }
func (k *onlooker) settle(err error) (bool, error) { return false, err }
func (k *onlooker) verify(key ssh.PublicKey) error { k.key = key; return errSeen }

// compare says how keys stand to the record, or to the pin.
func compare(t Target, records *hostKeys, shown []ssh.PublicKey) []HostKey {
	keys := make([]HostKey, len(shown))
	known := false
	for i, key := range shown {
		k := HostKey{
			Type:        key.Type(),
			Fingerprint: ssh.FingerprintSHA256(key),
			Line:        xknownhosts.Line([]string{t.record()}, key),
		}
		if t.HostKey != "" {
			if k.Fingerprint == t.HostKey {
				k.State = Known
			}
		} else {
			var want []xknownhosts.KnownKey
			k.State, want, _ = records.state(t, key)
			if len(want) > 0 {
				// Of another type, it is judged below, by the company it keeps.
				k.State, k.Record = New, records.place(want[0])
				for _, w := range want {
					if w.Key.Type() == key.Type() {
						k.State, k.Record = Changed, records.place(w)
					}
				}
			}
		}
		known = known || k.State == Known
		keys[i] = k
	}
	for i := range keys {
		if k := &keys[i]; k.State == New && k.Record != "" {
			if known {
				k.Record = ""
			} else {
				k.State = Changed
			}
		}
	}
	return keys
}

// Record adds keys to the user's known_hosts file (0600, made if missing, its
// folder 0700), whole or not at all, and returns its path. A line that is there
// already is not added again.
func Record(t Target, keys []HostKey, o Options) (string, error) {
	path := t.knownFiles(o.Home)[0]
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the link stays a link
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return path, fmt.Errorf("%s is not a regular file", path)
	}
	text := bytes.Clone(old)
	for _, k := range keys {
		if !hasLine(text, k.Line) {
			if len(text) > 0 && text[len(text)-1] != '\n' {
				text = append(text, '\n')
			}
			text = append(text, k.Line+"\n"...)
		}
	}
	if len(text) == len(old) {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return path, err
	}
	return path, renameio.WriteFile(path, text, 0o600, renameio.IgnoreUmask())
}

// Forget is the line by which a person removes what is on record of the target
// where k's contradiction stands. conc never does.
func (t Target) Forget(k HostKey) string { return forget(t, k.Record) }

func forget(t Target, place string) string {
	args := []string{"ssh-keygen", "-R", xknownhosts.Normalize(t.record())}
	if i := strings.LastIndexByte(place, ':'); i > 0 {
		args = append(args, "-f", place[:i])
	}
	return shellescape.QuoteCommand(args)
}

func hasLine(text []byte, line string) bool {
	for have := range bytes.Lines(text) {
		if string(bytes.TrimSpace(have)) == line {
			return true
		}
	}
	return false
}
