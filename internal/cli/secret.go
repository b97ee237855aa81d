package cli

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/zalando/go-keyring"

	"example.org/conc/internal/agent"
	"example.org/conc/jobs"
)

// secrets looks secrets up, each once a command: in the environment, in the
// operating system's keyring, and then from the operator.
type secrets struct {
	p     *program
	mu    sync.Mutex
	known map[string]string
}

func (p *program) secrets() *secrets { return &secrets{p: p, known: map[string]string{}} }

// keyringService is the name that conc's secrets have in a keyring.
const keyringService = "conc"

// lookup gives the secret called name.
func (s *secrets) lookup(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.known[name]; ok {
		return v, nil
	}
	v, err := s.find(ctx, name)
	if err != nil {
		return "", err
	}
	s.known[name] = v
	return v, nil
}

func (s *secrets) find(ctx context.Context, name string) (string, error) {
	agent.NoCore()
	variable := secretVariable(name)
	if v := s.p.env.Getenv(variable); v != "" {
		return v, nil
	}
	if s.p.hasKeyring() {
		if v, err := keyring.Get(keyringService, name); err == nil {
			return v, nil
		}
	}
	if s.p.terminal() == nil {
		return "", jobs.Errorf("secret %s is not known", name).
			WithHint("set %s in the environment, keep it with %s secret set %s, or run %[2]s on a terminal to be asked for it", variable, s.p.name(), name)
	}
	v, err := s.p.prompt(ctx, fmt.Sprintf("Secret %s:", name))
	if err == nil && v == "" {
		err = jobs.Errorf("secret %s: the answer was empty", name)
	}
	return v, err
}

// hasKeyring tells whether there may be a keyring. Without a session bus its
// library would try to start one.
func (p *program) hasKeyring() bool {
	return runtime.GOOS != "linux" || p.env.Getenv("DBUS_SESSION_BUS_ADDRESS") != ""
}

// secretVariable is the environment variable that gives a secret: what cannot
// be in a variable's name becomes an underscore.
func secretVariable(name string) string {
	return "CONC_SECRET_" + strings.Map(func(r rune) rune {
		if r == '.' || r == '-' {
			return '_'
		}
		return r
	}, strings.ToUpper(name))
}

// need looks up all that the steps from..to stand on, before anything is done.
func (s *secrets) need(ctx context.Context, plan *jobs.Plan, from, to int) error {
	for _, h := range []jobs.Host{jobs.Local, jobs.Remote} {
		for _, name := range plan.UsesSecrets(h, from, to) {
			if _, err := s.lookup(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}
