package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
)

// The test binary is the agent when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "agent" {
		s := &Server{Program: program(), Home: os.Getenv("HOME"), Journals: journals{}}
		if err := s.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	runA = "01HZZZZZZZZZZZZZZZAAAAAAAA"
	runB = "01HZZZZZZZZZZZZZZZBBBBBBBB"
)

// program is what both ends share here: the stock ops, and some to test with.
func program() Program {
	op := func(name string, do func(ctx context.Context, env *jobs.Env, args []string) error) jobs.Entry {
		return jobs.Entry{Name: name, Parse: func(args []string) (jobs.Op, error) {
			return jobs.OpFunc(func(ctx context.Context, env *jobs.Env) error { return do(ctx, env, args) }), nil
		}}
	}
	return Program{Version: "test", Planner: jobs.Planner{Catalogue: append(jobs.Stock(),
		op("say", func(_ context.Context, env *jobs.Env, args []string) error {
			_, err := fmt.Fprintln(env.Out, strings.Join(args, " "))
			return err
		}),
		op("flood", func(_ context.Context, env *jobs.Env, args []string) error {
			n, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return err
			}
			line := []byte(strings.Repeat("0123456789abcde\n", 2048)) // 32 KiB
			for ; n > 0 && err == nil; n -= int64(len(line)) {
				_, err = env.Out.Write(line[:min(n, int64(len(line)))])
			}
			return err
		}),
		op("fail", func(_ context.Context, _ *jobs.Env, args []string) error { return jobs.Failedf("%s", args[0]) }),
		op("panic", func(context.Context, *jobs.Env, []string) error { panic("oh") }),
		op("wait", func(ctx context.Context, env *jobs.Env, args []string) error {
			d, err := time.ParseDuration(args[0])
			if err != nil {
				return err
			}
			select {
			case <-time.After(d):
				return os.WriteFile(filepath.Join(env.Home, args[1]), nil, 0o600)
			case <-ctx.Done():
				return ctx.Err()
			}
		}),
		op("progress", func(_ context.Context, env *jobs.Env, _ []string) error {
			for i := range int64(1000) {
				env.Progress(i+1, 1000)
			}
			return nil
		}),
		op("secret", func(_ context.Context, env *jobs.Env, args []string) error {
			v, err := env.Secret(args[0])
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(env.Home, "secret"), []byte(v), 0o600)
		}),
		op("ask", func(ctx context.Context, env *jobs.Env, _ []string) error { return env.Ask(ctx, "well?") }),
		op("steal", func(_ context.Context, env *jobs.Env, _ []string) error {
			if _, err := bundle.SetAside(env.Bundle, env.Owner.Run); err != nil {
				return err
			}
			return bundle.Open(env.Bundle, bundle.Owner{V: 1, Run: runB, User: "bob", Host: "desk8"})
		}),
	)}}
}

// plan makes a plan of lines like "venv = remote say hello".
func plan(t *testing.T, values map[string]string, lines ...string) (*config.Node, *jobs.Plan) {
	t.Helper()
	var specs []jobs.Spec
	for i, line := range lines {
		words := strings.Fields(line)
		s := jobs.Spec{Name: fmt.Sprintf("s%d %s", i+1, words[1]), Host: jobs.Host(words[0]), Timeout: time.Minute, Words: words[1:]}
		if s.Words[0] == "sudo" {
			s.Sudo, s.Words = true, s.Words[1:]
		}
		for i, w := range s.Words {
			if name, ok := strings.CutPrefix(w, "secret:"); ok {
				s.Words[i] = config.SecretToken(name)
			}
		}
		specs = append(specs, s)
	}
	return planOf(t, values, specs...)
}

func planOf(t *testing.T, values map[string]string, specs ...jobs.Spec) (*config.Node, *jobs.Plan) {
	t.Helper()
	attrs := map[string]string{"name": "web1", "bundle": "shop/bundle", "admin": "deploy", "sshd.ip": "192.0.2.1"}
	for k, v := range values {
		attrs[k] = v
	}
	node := config.NewNode("web1", attrs)
	p, err := program().Planner.Rebuild(node, "release", specs)
	if err != nil {
		t.Fatal(err)
	}
	return node, p
}

// journal is a Recorder that writes a line for each record.
type journal struct{ f *os.File }

type journals struct{}

func (journals) Open(path string) (Recorder, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return journal{f}, err
}

func (journals) Read(path string) ([]jobs.Record, bool, error) {
	_, err := os.Stat(path)
	return nil, false, err
}

func (j journal) Record(records ...jobs.Record) error {
	for _, r := range records {
		text := fmt.Sprintf("%s %d", r.Type, r.Step)
		if r.Result != nil {
			text += " " + string(r.Result.Status)
		}
		if _, err := fmt.Fprintln(j.f, text); err != nil {
			return err
		}
	}
	return nil
}

func (j journal) Close() error { return j.f.Close() }

func readJournal(home, run string) string {
	data, err := os.ReadFile(filepath.Join(bundle.RunDir(home, run), "journal"))
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(strings.TrimSpace(string(data)), "\n", ", ")
}

// heard is a sink that keeps what it is told, as text.
type heard struct {
	mu      sync.Mutex
	log     []string
	out     strings.Builder
	results []jobs.Result
	slow    time.Duration
	begun   chan int
}

func newHeard() *heard { return &heard{begun: make(chan int, 100)} }

func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, fmt.Sprintf(format, args...))
}
func (h *heard) Begin(n int) { h.add("begin %d", n); h.begun <- n }
func (h *heard) Output(_ int, p []byte) {
	time.Sleep(h.slow)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out.Write(p)
}
func (h *heard) Progress(n int, done, total int64) { h.add("progress %d %d/%d", n, done, total) }
func (h *heard) End(r jobs.Result) {
	h.add("end %d %s", r.Step, r.Status)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.results = append(h.results, r)
}

func (h *heard) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.log, ", ")
}

// last gives the result of the last step that ended.
func (h *heard) last() jobs.Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.results) == 0 {
		return jobs.Result{}
	}
	return h.results[len(h.results)-1]
}

// pipes is a Transport to a Server in this process.
type pipes struct {
	server *Server
	served chan error // what Serve returned
	// wrap changes the line from the agent, to be hostile.
	wrap func(out io.Writer) io.Writer
}

func newPipes(t *testing.T) *pipes {
	return &pipes{server: &Server{Program: program(), Home: t.TempDir(), Journals: journals{}}, served: make(chan error, 1)}
}

func (p *pipes) Start(ctx context.Context, command string) (Proc, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	proc := &pipeProc{in: inW, out: outR, over: make(chan struct{})}
	go func() {
		defer close(proc.over)
		var out io.Writer = outW
		if p.wrap != nil {
			out = p.wrap(out)
		}
		err := p.server.Serve(context.Background(), inR, out)
		inR.Close()
		outW.Close()
		p.served <- err
	}()
	return proc, nil
}

func (p *pipes) Warm(int)                                        {}
func (p *pipes) Ready()                                          {}
func (p *pipes) Keep(c *sftp.Client)                             { _ = c.Close() }
func (p *pipes) Spare(ctx context.Context) (*sftp.Client, error) { return p.SFTP(ctx) }
func (p *pipes) SFTP(context.Context) (*sftp.Client, error)      { return nil, errors.New("no files here") }

type pipeProc struct {
	in, out *os.File
	over    chan struct{}
}

func (p *pipeProc) Stdin() io.WriteCloser { return p.in }
func (p *pipeProc) Stdout() io.Reader     { return p.out }
func (p *pipeProc) Stderr() io.Reader     { return strings.NewReader("") }
func (p *pipeProc) Wait() error           { <-p.over; return nil }
func (p *pipeProc) Close() error          { return errors.Join(p.in.Close(), p.out.Close()) }

// shell is a Transport to a home directory on this machine: sh, and an SFTP server.
type shell struct {
	home   string
	rc     string // shell lines before every command
	shell  string // program that is given -c; "" is sh
	noSFTP bool
	starts []string
	mu     sync.Mutex
}

func (s *shell) Start(_ context.Context, command string) (Proc, error) {
	s.mu.Lock()
	s.starts = append(s.starts, command)
	s.mu.Unlock()
	name := s.shell
	if name == "" {
		name = "/bin/sh"
	}
	line := command
	if s.rc != "" {
		line = s.rc + "\n" + command
	}
	c := exec.Command(name, "-c", line)
	c.Dir = s.home
	c.Env = []string{"HOME=" + s.home, "PATH=" + os.Getenv("PATH")}
	p := &shellProc{cmd: c}
	var err, e1, e2 error
	p.in, err = c.StdinPipe()
	p.out, e1 = c.StdoutPipe()
	p.errs, e2 = c.StderrPipe()
	if err := errors.Join(err, e1, e2, c.Start()); err != nil {
		return nil, err
	}
	return p, nil
}

func (s *shell) Warm(int)                                        {}
func (s *shell) Ready()                                          {}
func (s *shell) Keep(c *sftp.Client)                             { _ = c.Close() }
func (s *shell) Spare(ctx context.Context) (*sftp.Client, error) { return s.SFTP(ctx) }
func (s *shell) SFTP(context.Context) (*sftp.Client, error) {
	if s.noSFTP {
		return nil, errors.New("subsystem request failed\x1b[2J")
	}
	a, b := duplex()
	server, err := sftp.NewServer(a, sftp.WithServerWorkingDirectory(s.home))
	if err != nil {
		return nil, err
	}
	go func() { _ = server.Serve(); a.Close() }()
	return sftp.NewClientPipe(b, b)
}

// duplex makes the two ends of a line.
func duplex() (a, b io.ReadWriteCloser) {
	r1, w1 := io.Pipe()
	r2, w2 := io.Pipe()
	return end{r1, w2}, end{r2, w1}
}

type end struct {
	*io.PipeReader
	w *io.PipeWriter
}

func (e end) Write(p []byte) (int, error) { return e.w.Write(p) }
func (e end) Close() error                { return errors.Join(e.PipeReader.Close(), e.w.Close()) }

type shellProc struct {
	cmd       *exec.Cmd
	in        io.WriteCloser
	out, errs io.ReadCloser
	once      sync.Once
	err       error
}

func (p *shellProc) Stdin() io.WriteCloser { return p.in }
func (p *shellProc) Stdout() io.Reader     { return p.out }
func (p *shellProc) Stderr() io.Reader     { return p.errs }

// Wait leaves the pipes alone, as ssh does.
func (p *shellProc) Wait() error {
	p.once.Do(func() {
		st, err := p.cmd.Process.Wait()
		if p.err = err; err == nil && !st.Success() {
			p.err = &exec.ExitError{ProcessState: st}
		}
	})
	return p.err
}

func (p *shellProc) Close() error { return errors.Join(p.in.Close(), p.out.Close(), p.errs.Close()) }

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func options(t *testing.T, node *config.Node, p *jobs.Plan) Options {
	return Options{
		Program: program(), Executable: self(t), Node: node, Plan: p,
		Owner: bundle.Owner{V: 1, Run: runA, User: "alice", Host: "desk7", Since: time.Now(), Node: node.Name()},
	}
}

// dial starts an agent for a plan, and says goodbye to it when the test is over.
func dial(t *testing.T, tr Transport, o Options) *Client {
	t.Helper()
	c, err := Start(t.Context(), tr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func exists(elem ...string) bool {
	_, err := os.Lstat(filepath.Join(elem...))
	return err == nil
}

// soon waits for something that another process or goroutine is about to do.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
