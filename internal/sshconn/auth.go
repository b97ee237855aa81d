package sshconn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// maxKeys is how many keys are offered: sshd's own MaxAuthTries ends the
// conversation after as many refusals.
const maxKeys = 6

// agentPatience bounds what the ssh agent may take for an answer; for a
// signature it may be asking a person.
const (
	agentPatience = 5 * time.Second
	touchPatience = time.Minute
)

// credentials are what one hop can be logged in to with. They outlive the
// login, so that a second connection asks nothing again.
type credentials struct {
	t   Target
	o   Options
	ids []*identity

	mu      sync.Mutex
	sock    net.Conn          // to the ssh agent
	answers map[string]string // to the questions of a login that succeeded
	left    []string          // keys that cannot be used, and why
}

// newCredentials finds the keys for t, in the order of their promise: those of
// the agent, those that are open, those that need a passphrase. With op_key set
// a key that cannot be used is an error at once.
func newCredentials(t Target, o Options) (*credentials, error) {
	c := &credentials{t: t, o: o, answers: map[string]string{}}
	held, agentErr := c.agentKeys()
	files := t.Files
	if t.OpKey != "" && len(files) == 0 {
		c.close()
		dir := filepath.Join(o.Home, ".ssh")
		return nil, errorf(NoAuth,
			fmt.Sprintf("make one: ssh-keygen -t ed25519 -f %s", filepath.Join(dir, "id_ed25519-"+t.OpKey)),
			"%s: op_key is %s, and there is no key file %s", t.label(), t.OpKey, filepath.Join(dir, "id_*-"+t.OpKey))
	}
	named := len(files) > 0
	if !named {
		for _, name := range defaultKeys {
			files = append(files, filepath.Join(o.Home, ".ssh", name))
		}
	}
	var inAgent, open, locked []*identity
	for _, path := range files {
		id, err := readIdentity(path)
		if err == nil {
			err = c.certify(id)
		}
		if err == nil {
			err = id.hold(held)
		}
		if err != nil {
			if !named && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if t.OpKey != "" {
				c.close()
				return nil, errorf(NoAuth, keyHint(path, err), "%s: op_key %s: %w", t.label(), t.OpKey, err)
			}
			c.left = append(c.left, err.Error())
			continue
		}
		switch {
		case id.agent:
			inAgent = append(inAgent, id)
		case id.signer != nil:
			open = append(open, id)
		default:
			locked = append(locked, id)
		}
	}
	if !t.Only {
		for _, id := range held {
			if !slices.ContainsFunc(inAgent, func(have *identity) bool { return same(have.pub, id.pub) }) {
				inAgent = append(inAgent, id)
			}
		}
	}
	if agentErr != nil {
		c.left = append(c.left, "the ssh agent: "+agentErr.Error())
	}
	c.ids = slices.Concat(inAgent, open, locked)
	if len(inAgent) == 0 {
		c.close() // nothing will be asked of it
	}
	return c, nil
}

func same(a, b ssh.PublicKey) bool {
	return a != nil && b != nil && bytes.Equal(a.Marshal(), b.Marshal())
}

// keyHint says what to do about a key file that cannot be used.
func keyHint(path string, err error) string {
	switch {
	case strings.Contains(err.Error(), "too open"):
		return "chmod 600 " + path
	case strings.Contains(err.Error(), "public key"):
		return "put the private key there; the public one belongs into " + path + ".pub"
	case strings.Contains(err.Error(), "agent"):
		return "put the private key beside it, or load it: ssh-add " + path
	}
	return ""
}

// hold decides who signs with the key: the agent, if it holds it, or the file.
func (id *identity) hold(held []*identity) error {
	for _, h := range held {
		if same(h.pub, id.pub) {
			id.signer, id.agent, id.locked = h.signer, true, nil
			return nil
		}
	}
	switch {
	case id.signer != nil || id.locked != nil:
		return usableFile(id.path)
	case id.public:
		return fmt.Errorf("%s is a public key, not the private one", id.path)
	}
	return fmt.Errorf("%s: only its public half is there, and the ssh agent does not hold it", id.path)
}

// certify takes the certificates that belong to the key: the one beside it,
// and those that ~/.ssh/config names.
func (c *credentials) certify(id *identity) error {
	if err := id.readCert(id.path + "-cert.pub"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, path := range c.t.Certs {
		if err := id.readCert(path); err != nil {
			return err
		}
	}
	return nil
}

// agentKeys lists what the ssh agent holds, if there is one.
func (c *credentials) agentKeys() ([]*identity, error) {
	path := c.o.Getenv("SSH_AUTH_SOCK")
	if path == "" {
		return nil, nil
	}
	sock, err := net.DialTimeout("unix", path, agentPatience)
	if err != nil {
		return nil, err
	}
	c.sock = sock
	_ = sock.SetDeadline(time.Now().Add(agentPatience))
	signers, err := agent.NewClient(sock).Signers()
	if err != nil {
		c.close()
		return nil, err
	}
	_ = sock.SetDeadline(time.Time{})
	ids := make([]*identity, 0, len(signers))
	for _, s := range signers {
		name := "agent key"
		if k, ok := s.PublicKey().(*agent.Key); ok {
			name += " " + fmt.Sprintf("%+q", k.Comment)
		}
		pub, err := ssh.ParsePublicKey(s.PublicKey().Marshal())
		if err != nil {
			continue // of a kind that this library does not know
		}
		ids = append(ids, &identity{name: name, pub: pub, signer: s, agent: true})
	}
	return ids, nil
}

func (c *credentials) close() {
	if c.sock != nil {
		_ = c.sock.Close()
		c.sock = nil
	}
}
