package sshconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	if id.signer == nil && id.locked == nil {
		return fmt.Errorf("%s: only its public half is there, and the ssh agent does not hold it", id.path)
	}
	return usableFile(id.path)
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

// login is one authentication: which key is next, and what was refused.
type login struct {
	*credentials
	ctx    context.Context
	budget *budget
	broken func() error // the connection's end, if it is over

	reached  bool // the server asked for authentication
	prompted bool // a person was asked
	hungUp   bool // the server ended it in the middle

	next    int      // of ids
	offered []string // keys that were offered
	asked   bool     // a password was asked for
	answers map[string]string
	notes   []string // why a key that would do was not used
}

func (c *credentials) login(ctx context.Context, b *budget) *login {
	return &login{credentials: c, ctx: ctx, budget: b, answers: map[string]string{}}
}

// succeeded keeps the answers that opened the door.
func (l *login) succeeded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for q, a := range l.answers {
		l.credentials.answers[q] = a
	}
}

// method gives the next thing to try: each key once, then one password.
func (l *login) method(sc *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.reached = true
	if err := l.broken(); err != nil {
		return nil, err
	}
	allowed := func(m string) bool { return slices.Contains(sc.AllowedMethods, m) }
	for allowed("publickey") && l.next < len(l.ids) && len(l.offered) < maxKeys {
		id := l.ids[l.next]
		l.next++
		signers, err := l.signers(id)
		if err != nil {
			l.notes = append(l.notes, err.Error())
			continue
		}
		l.offered = append(l.offered, id.name)
		return ssh.PublicKeys(signers...), nil
	}
	if !l.asked && l.o.Prompt != nil {
		l.asked = true
		switch {
		case allowed("keyboard-interactive"):
			return ssh.KeyboardInteractive(l.challenge), nil
		case allowed("password"):
			return ssh.PasswordCallback(func() (string, error) {
				return l.answer(fmt.Sprintf("Password for %s:", l.t))
			}), nil
		}
	}
	return nil, l.refused(sc.AllowedMethods)
}

// signers gives the certificate, if there is one, and the key.
func (l *login) signers(id *identity) ([]ssh.Signer, error) {
	unlock := func() error {
		return id.unlock(l.ctx, func(ctx context.Context, q string) (string, error) { return l.ask(ctx, q) })
	}
	if id.pub == nil { // an old format, whose public half is encrypted too
		if err := unlock(); err != nil {
			return nil, err
		}
	}
	signer := ssh.Signer(lazySigner{id: id, mu: &l.mu, unlock: func() error {
		err := unlock()
		if err != nil {
			l.notes = append(l.notes, err.Error())
		}
		return err
	}})
	if id.agent {
		signer = agentSigner{id.signer, l}
	}
	if id.cert == nil {
		return []ssh.Signer{signer}, nil
	}
	cert, err := ssh.NewCertSigner(id.cert, signer)
	if err != nil {
		return nil, fmt.Errorf("%s: its certificate: %w", id.name, err)
	}
	return []ssh.Signer{cert, signer}, nil
}

// agentSigner signs with the ssh agent, which may be asking a person: that
// time is not the connection's.
type agentSigner struct {
	ssh.Signer
	l *login
}

func (s agentSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	defer s.l.budget.pause()()
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	_ = s.l.sock.SetDeadline(time.Now().Add(touchPatience))
	defer func() { _ = s.l.sock.SetDeadline(time.Time{}) }()
	sig, err := s.Signer.(ssh.AlgorithmSigner).SignWithAlgorithm(nil, data, algorithm)
	if err != nil {
		err = fmt.Errorf("the ssh agent did not sign: %w", err)
		s.l.notes = append(s.l.notes, err.Error())
	}
	return sig, err
}

var errNobody = errors.New("there is nobody to ask")

// ask asks a person, on time that is not the connection's.
func (l *login) ask(ctx context.Context, question string) (string, error) {
	if l.o.Prompt == nil {
		return "", errNobody
	}
	l.prompted = true
	defer l.budget.pause()()
	return l.o.Prompt(ctx, question)
}

// answer is ask for what opens the server itself: a second connection gives
// the same answer again, and an empty one is none.
func (l *login) answer(question string) (string, error) {
	l.mu.Lock()
	a, ok := l.credentials.answers[question]
	l.mu.Unlock()
	if !ok {
		var err error
		if a, err = l.ask(l.ctx, question); err == nil && a == "" {
			err = errors.New("none was given")
		}
		if err != nil {
			l.notes = append(l.notes, "a password: "+err.Error())
			return "", err
		}
	}
	l.answers[question] = a
	return a, nil
}

// challenge answers what a server asks, whose text is shown escaped.
func (l *login) challenge(_, instruction string, questions []string, _ []bool) ([]string, error) {
	out := make([]string, len(questions))
	for i, q := range questions {
		text := fmt.Sprintf("%s asks %s:", l.t, said([]byte(strings.TrimSpace(q))))
		if instruction != "" && i == 0 {
			text = fmt.Sprintf("%s says %s\n%s", l.t, said([]byte(instruction)), text)
		}
		var err error
		if out[i], err = l.answer(text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// refused tells what was tried, and what to do.
func (l *login) refused(allowed []string) *Error {
	what := "no key to offer"
	if len(l.offered) > 0 {
		what = "it accepts none of the keys offered: " + strings.Join(l.offered, ", ")
	}
	if len(l.notes) > 0 { // a key that the server would take, and that could not be used, is the reason
		what = strings.Join(l.notes, "; ")
	}
	if n := len(l.ids) - l.next; n > 0 {
		what += fmt.Sprintf("; %d more were not tried, since servers hang up after %d", n, maxKeys)
	}
	if len(l.left) > 0 {
		what += "; not usable: " + strings.Join(l.left, "; ")
	}
	return errorf(NoAuth, l.hint(), "%s: not let in: %s (the server allows %s)", l.t.label(), what, said([]byte(strings.Join(allowed, ", "))))
}

func (l *login) hint() string {
	text := strings.Join(slices.Concat(l.notes, l.left), " ")
	switch {
	case strings.Contains(text, "encrypted"):
		for _, id := range l.ids {
			if id.locked != nil {
				return "load the key, then try again: ssh-add " + id.path
			}
		}
	case strings.Contains(text, "too open"):
		return "chmod 600 the key"
	case len(l.ids) > maxKeys:
		return "name the right key with op_key in deploy.ini"
	case len(l.ids) == 0 && l.t.OpKey == "":
		return "name a key with op_key in deploy.ini, or load one: ssh-add"
	}
	for _, id := range l.ids {
		if id.path != "" {
			return fmt.Sprintf("is the key on the node? ssh-copy-id -i %s.pub -p %d %s@%s", id.path, l.t.Port, l.t.User, l.t.Host)
		}
	}
	return ""
}
