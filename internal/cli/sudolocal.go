package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"example.org/conc/internal/agent"
	"example.org/conc/jobs"
)

// elevateHere has the local steps with sudo performed as root, and proves that
// they can be, before the first step. nil: there are none, or this is root.
func (s *sudoers) elevateHere(ctx context.Context, t task, from, to int, env jobs.Env) (*agent.Root, error) {
	if os.Geteuid() == 0 || !needsSudo(t.plan.Steps[from-1:to], jobs.Local) {
		return nil, nil
	}
	s.here.Lock() // another node's run asks for the same password
	defer s.here.Unlock()
	start := agent.LocalRoot{
		Executable: s.p.env.Executable, Node: t.node, Plan: t.plan, Env: env,
		Secrets: t.plan.UsesSecrets(jobs.Local, from, to),
	}
	root, got, err := start.Start(ctx, nil)
	if err != nil || got == agent.Elevated {
		return root, err
	}
	who := s.p.env.User + " on this workstation"
	for try := 1; ; try++ {
		password, typed := s.local, false
		if password == "" {
			typed = true
			if password, err = s.ask(ctx, "Sudo password for "+who+":", "give it by --local-sudo-password-file FILE"); err != nil {
				return nil, err
			}
		}
		root, got, err := start.Start(ctx, []byte(password))
		if err != nil {
			return nil, err
		}
		if got == agent.Elevated {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.local = password
			return root, nil
		}
		if !typed || try == sudoPrompts {
			return nil, jobs.Errorf("sudo refused the password for %s", who).
				WithHint("it was tried %s; try it yourself: sudo -k -v", tries(try))
		}
		s.p.warn(fmt.Sprintf("sudo refused the password for %s", who))
	}
}

// call carries out the program's procedures for a local step, those that say so
// by root, who was started before the first step.
func (s *sudoers) call(env jobs.Env, root *agent.Root) func(context.Context, jobs.Call, any) error {
	return func(ctx context.Context, call jobs.Call, result any) error {
		switch {
		case !call.Sudo || os.Geteuid() == 0:
		case root == nil:
			return jobs.Errorf("this needs root, and sudo was not asked for it before")
		default:
			return root.Call(ctx, call, s.passwords(), result)
		}
		params, err := json.Marshal(call.Params)
		if err != nil {
			return err
		}
		here := env
		here.Out, here.Progress = call.Out, func(int64, int64) {}
		here.Hide(s.passwords()...)
		data, err := s.p.checks().Procedures().Do(ctx, &here, call.Procedure, params)
		if err != nil || result == nil {
			return err
		}
		return json.Unmarshal(data, result)
	}
}

// passwords gives those that are to be masked: all that are known so far.
func (s *sudoers) passwords() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []string{s.given, s.local}
	for _, p := range s.known {
		all = append(all, p)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(p string) bool { return p == "" })
}
