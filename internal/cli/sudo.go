package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"example.org/conc/config"
	"example.org/conc/internal/agent"
	"example.org/conc/jobs"
)

// sudoOptions are the flags of the commands that may need sudo on a node, or here.
type sudoOptions struct {
	askSudo   bool
	sudoFile  string
	localFile string
}

func (o *sudoOptions) flags(f *pflag.FlagSet) {
	f.BoolVarP(&o.askSudo, "ask-sudo", "K", false, "ask for one sudo password for all nodes, before anything is done")
	f.StringVar(&o.sudoFile, "sudo-password-file", "", "take the nodes' sudo password from the first line of `FILE`")
}

// localFlag is for the commands that have local steps.
func (o *sudoOptions) localFlag(f *pflag.FlagSet) {
	f.StringVar(&o.localFile, "local-sudo-password-file", "", "take that of your own sudo, on this workstation, from `FILE`")
}

// sudoers has the sudo passwords of one run, in memory, as long as it lasts: a
// line that is back needs them again, and they are masked in what steps say. A
// node gets one only when its sudo asks for it.
type sudoers struct {
	p       *program
	secrets *secrets
	given   string // for every node: of the file, or of --ask-sudo; "" is none
	asked   bool   // given was typed, and may be typed again

	mu    sync.Mutex
	known map[string]string // by node: what its sudo took

	here  sync.Mutex // held while the workstation's own sudo is called
	local string     // what that took, or the one of the file; "" is none
}

// wanted tells what sudo the tasks' steps want: on a node, and here.
func (o runOptions) wanted(tasks []task) (there, here bool) {
	for _, t := range tasks {
		from, to := max(t.from, 1), t.to
		if to == 0 {
			to = len(t.plan.Steps)
		}
		there = there || needsSudo(t.plan.Steps[from-1:to], jobs.Remote) || t.suite != nil && t.suite.NeedsSudo()
		here = here || needsSudo(t.plan.Steps[from-1:to], jobs.Local)
	}
	return there, here
}

// sudoers takes the passwords that are given before the run, if it is one in
// which sudo may be called at all: on a node, or here.
func (p *program) sudoers(ctx context.Context, o sudoOptions, there, here bool) (*sudoers, error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	s := &sudoers{p: p, secrets: p.secrets(), known: map[string]string{}}
	var err error
	switch {
	case !there:
	case o.sudoFile != "":
		s.given, err = passwordFile("--sudo-password-file", o.sudoFile)
	case o.askSudo:
		s.asked = true
		s.given, err = s.ask(ctx, "Sudo password:", nodeSources)
	}
	if err == nil && here && o.localFile != "" && os.Geteuid() != 0 {
		s.local, err = passwordFile("--local-sudo-password-file", o.localFile)
	}
	return s, err
}

// needsSudo tells whether there is a step of host's that needs root, for all of
// it or for a part.
func needsSudo(steps []jobs.Step, host jobs.Host) bool {
	for _, s := range steps {
		if s.NeedsRoot() && s.Host == host {
			return true
		}
	}
	return false
}

// passwordFile reads a password, of the file that flag names, that nobody else
// may read.
func passwordFile(flag, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", jobs.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	agent.NoCore()
	fi, err := f.Stat()
	if err == nil && fi.Mode().Perm()&0o077 != 0 {
		return "", jobs.Errorf("%s: %s is open to others (mode %04o)", flag, path, fi.Mode().Perm()).
			WithHint("close it: chmod 600 %s", quote(path))
	}
	if err != nil {
		return "", jobs.Errorf("%s: %w", flag, err)
	}
	line, err := bufio.NewReader(io.LimitReader(f, maxMessage)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", jobs.Errorf("%s: %w", flag, err)
	}
	return usable(strings.TrimRight(line, "\r\n"), "the first line of "+path)
}

// usable refuses what can be no password for sudo, which reads a line.
func usable(password, what string) (string, error) {
	switch {
	case password == "":
		return "", jobs.Errorf("%s is empty", what)
	case strings.ContainsAny(password, "\r\n\x00"):
		return "", jobs.Errorf("%s is not a line of text: sudo cannot be given it", what)
	}
	return password, nil
}

// nodeSources is what else gives the sudo password of a node.
const nodeSources = "give it by --sudo-password-file FILE, or by sudo.secret in deploy.ini"

// ask puts the question; hint says what to do where nobody can be asked.
func (s *sudoers) ask(ctx context.Context, question, hint string) (string, error) {
	agent.NoCore()
	text, err := s.p.prompt(ctx, question)
	switch {
	case errors.Is(err, errNobody):
		return "", jobs.Errorf("sudo wants a password, and there is no terminal to ask for it on").
			WithHint("%s", hint)
	case err != nil && ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", jobs.Errorf("the sudo password: %w", err)
	}
	return usable(text, "the sudo password")
}

// sudoPrompts is how often a password is asked for on a terminal.
const sudoPrompts = 3

// elevate gets what sudo on the node needs, where it is wanted, and proves it,
// before anything else is done there.
func (s *sudoers) elevate(ctx context.Context, c *agent.Client, t task, wanted bool) error {
	if !wanted || c.Hello().UID == 0 {
		return nil
	}
	got, err := c.Elevate(ctx, nil)
	if err != nil || got == agent.Elevated {
		return err
	}
	who := t.target.User + "@" + t.node.Name()
	for try := 1; ; try++ {
		password, typed, err := s.password(ctx, t.node, who, try)
		if err != nil {
			return err
		}
		got, err := c.Elevate(ctx, []byte(password))
		if err != nil {
			return err
		}
		if got == agent.Elevated {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.known[t.node.Name()] = password
			return nil
		}
		if !typed || try == sudoPrompts {
			return jobs.Errorf("sudo refused the password for %s", who).
				WithHint("it was tried %s; try it on the node: sudo -k -v", tries(try))
		}
		s.p.warn(fmt.Sprintf("sudo refused the password for %s", who))
	}
}

func tries(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// password gives what is to be tried; typed says that another may be tried
// after it.
func (s *sudoers) password(ctx context.Context, node *config.Node, who string, try int) (_ string, typed bool, _ error) {
	s.mu.Lock()
	known := s.known[node.Name()]
	s.mu.Unlock()
	switch {
	case known != "":
		return known, false, nil
	case s.given != "" && try == 1:
		return s.given, s.asked, nil
	case node.Get("sudo.secret") != "":
		agent.NoCore()
		v, err := config.Reveal(node.Get("sudo.secret"), func(name string) (string, error) { return s.secrets.lookup(ctx, name) })
		if err != nil {
			return "", false, err
		}
		v, err = usable(v, "sudo.secret")
		return v, false, err
	}
	v, err := s.ask(ctx, "Sudo password for "+who+":", nodeSources)
	return v, true, err
}
