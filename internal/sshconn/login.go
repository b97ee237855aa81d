package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"
	"golang.org/x/crypto/ssh"
)

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
	tries   int      // what the server counts: a certificate is one more
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
	for allowed("publickey") && l.next < len(l.ids) && l.tries < maxKeys {
		id := l.ids[l.next]
		l.next++
		signers, err := l.signers(id)
		if err != nil {
			l.notes = append(l.notes, err.Error())
			continue
		}
		l.offered = append(l.offered, id.name)
		l.tries += len(signers)
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
		defer l.budget.pause()() // the cipher of a key takes its time on purpose
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
				return "load the key, then try again: ssh-add " + shellescape.Quote(id.path)
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
			return "is the key on the node? " + l.t.copyID(id.path)
		}
	}
	return ""
}
