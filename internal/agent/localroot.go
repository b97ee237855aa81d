package agent

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// LocalRoot says what the steps with sudo of a workstation work with.
type LocalRoot struct {
	Executable string // this program's file, absolute
	Node       *config.Node
	Plan       *jobs.Plan
	Env        jobs.Env // as for the other local steps, with Far
	Secrets    []string // names of those that the steps stand on
}

// Root is this program a second time, as root, on the workstation: it performs
// the local steps with sudo of one node's run.
type Root struct {
	c     *Client
	relay *relay
}

// Start calls sudo once, and has Root started by it. With no password sudo is
// only asked whether it does without. Root is nil unless the answer is Elevated.
// An error is *jobs.Error when sudo is missing or does not allow it.
func (l LocalRoot) Start(ctx context.Context, password []byte) (*Root, Elevation, error) {
	if len(password) > maxPassword {
		return nil, "", jobs.Errorf("the sudo password is over the limit of %d bytes", maxPassword)
	}
	values := map[string]string{}
	for _, name := range l.Secrets {
		v, err := l.Env.Secret(name)
		if err != nil {
			return nil, "", err
		}
		values[name] = v
	}
	lent, err := newRelay()
	if err != nil {
		return nil, "", jobs.Errorf("the connection to the node cannot be lent: %w", err)
	}
	e := escalation{
		exe: l.Executable, dir: l.Env.Dir, place: "this workstation", secrets: values,
		options: Options{Node: l.Node, Plan: l.Plan, patient: true},
		config: configBody{
			Node: l.Node.Name(), Values: l.Node.Values(), Owner: l.Env.Owner,
			List: l.Plan.List, Specs: l.Plan.Specs(), Digest: l.Plan.Digest, Home: l.Env.Home,
			Local: &localBody{
				Dir: l.Env.Dir, Bundle: l.Env.Bundle, SSH: l.Env.SSH,
				Environ: []byte(strings.Join(os.Environ(), "\x00")),
				Far:     borrowed{lent.listener.Addr().String(), l.Env.Far.Home(), l.Env.Far.Bundle()},
			},
		},
	}
	c, got, err := e.start(ctx, password)
	if err != nil || got != Elevated {
		lent.close()
		return nil, got, err
	}
	return &Root{c, lent}, got, nil
}

// Perform runs a local step, as jobs.Perform would, as root.
func (r *Root) Perform(ctx context.Context, s jobs.Step, env *jobs.Env) jobs.Result {
	r.relay.lend(env.Far)
	res := r.c.performAsRoot(ctx, s, env)
	res.Step = s.N
	return res
}

// Call carries out one of the program's procedures, as root. The texts in hidden
// are masked in what it says.
func (r *Root) Call(ctx context.Context, call jobs.Call, hidden []string, result any) error {
	if err := r.c.do(ctx, callHide, hideParams{bytesOf(hidden)}, nil); err != nil {
		return err
	}
	call.Sudo = false
	return r.c.Call(ctx, call, result)
}

// Close says goodbye to it. A step that it is in, it goes on with.
func (r *Root) Close() error {
	err := r.c.Close()
	r.relay.close()
	return err
}

// localBody is what the root agent of a workstation works with. Its commands
// shall find what the operator's own find: paths, and the environment.
type localBody struct {
	Dir     string   `json:"dir"`
	Bundle  string   `json:"bundle"`
	SSH     []string `json:"ssh,omitempty"`
	Environ []byte   `json:"environ"` // KEY=value, with a zero byte between
	Far     borrowed `json:"far"`
}

// sudosOwn is what of the environment stays as sudo made it.
var sudosOwn = []string{"USER", "LOGNAME", "SUDO_COMMAND", "SUDO_USER", "SUDO_UID", "SUDO_GID"}

// enter makes the operator's environment that of this process.
func (l *localBody) enter() {
	own := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		return !slices.Contains(sudosOwn, key)
	})
	os.Clearenv()
	all := own
	for _, kv := range bytes.Split(l.Environ, []byte{0}) {
		if key, _, _ := strings.Cut(string(kv), "="); !slices.Contains(sudosOwn, key) {
			all = append(all, string(kv))
		}
	}
	for _, kv := range all {
		if key, value, ok := strings.Cut(kv, "="); ok {
			_ = os.Setenv(key, value) // what cannot be set cannot have been there
		}
	}
}

const callHide = "hide"

// hideParams are texts to be masked, as bytes, which can be cleared.
type hideParams struct {
	Texts [][]byte `json:"texts"`
}

// take has the first agent's hidden texts hidden in the steps of this one.
func (se *session) take(p hideParams) error {
	if !se.performs {
		return badFrame("texts to hide, and this is not root")
	}
	if len(p.Texts) > 0 {
		NoCore()
	}
	texts := make([]string, len(p.Texts))
	for i, t := range p.Texts {
		texts[i] = string(t)
		clear(t)
	}
	se.mu.Lock()
	defer se.mu.Unlock()
	se.hidden = texts
	return nil
}
