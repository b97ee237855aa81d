package nodetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// testServer answers what the tests of one program ask, on the node.
type testServer struct {
	env    *jobs.Env
	p      goParams
	mu     sync.Mutex
	levels map[string]string // by the test that said so
}

// maxSocket is how long a socket's path may be anywhere.
const maxSocket = 100

// serve answers until stop is called, which waits for what is going on.
func (s *testServer) serve(ctx context.Context) (socket string, stop func(), err error) {
	dir := s.p.Room
	scrap := func() {}
	if len(dir) > maxSocket-10 {
		if dir, err = os.MkdirTemp("", "conc-nodetest-"); err != nil { // 0700
			return "", nil, err
		}
		scrap = func() { _ = os.RemoveAll(dir) }
	}
	// One that was before it in the same room has ended.
	socket = filepath.Join(dir, "ask")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err == nil {
		err = os.Chmod(socket, 0o600)
	}
	if err != nil {
		if l != nil {
			_ = l.Close()
		}
		scrap()
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			work.Go(func() { s.talk(ctx, conn) })
		}
	})
	return socket, func() {
		cancel()
		_ = l.Close()
		work.Wait()
		scrap()
	}, nil
}

// talk answers one question.
func (s *testServer) talk(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close() //nolint:errcheck // whoever asked sees it
	if !ours(conn) {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(askLimit))
	var q testQuestion
	if err := json.NewDecoder(io.LimitReader(conn, maxLine)).Decode(&q); err != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	over := make(chan struct{})
	go func() { // whoever asked has gone
		defer close(over)
		_, _ = io.Copy(io.Discard, conn)
		cancel()
	}()
	a := s.answer(ctx, q)
	if stop() {
		_ = json.NewEncoder(conn).Encode(a)
		_ = conn.Close()
	}
	<-over
}

func (s *testServer) answer(ctx context.Context, q testQuestion) testAnswer {
	if skip, err := s.level(q.Test, q.Level); err != nil {
		return testAnswer{Error: err.Error()}
	} else if skip != "" {
		return testAnswer{Skip: skip}
	}
	switch {
	case q.Node:
		attrs := s.env.Node.Values()
		for k, v := range attrs {
			attrs[k] = config.Mask(v)
		}
		return testAnswer{Name: s.env.Node.Name(), Attrs: attrs}
	case q.Secret != "":
		return s.secret(strings.ToLower(q.Secret))
	case q.Dir != "":
		return s.sudo(ctx, q)
	}
	return testAnswer{}
}

// level notes a test's level, and says why the test is not wanted.
func (s *testServer) level(test, said string) (skip string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if said != "" && !slices.Contains(Levels, said) {
		return "", fmt.Errorf("%q is no level: it is one of %s", said, strings.Join(Levels, ", "))
	}
	level := said
	if said != "" {
		s.levels[test] = said
	}
	for name := test; level == ""; {
		level = s.levels[name]
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			break
		}
		name = name[:i]
	}
	if level == "" {
		level = Functional
	}
	if len(s.p.Levels) > 0 && !slices.Contains(s.p.Levels, level) {
		return fmt.Sprintf("its level is %s, and --level asks for %s", level, strings.Join(s.p.Levels, ", ")), nil
	}
	return "", nil
}

func (s *testServer) secret(key string) testAnswer {
	attr, ok := s.env.Node.Lookup(key)
	switch {
	case !ok:
		return testAnswer{Error: fmt.Sprintf("the node has no attribute %q", key)}
	case len(config.SecretNames(attr.Value)) > 0 && !slices.Contains(s.p.Secrets, key):
		return testAnswer{Skip: fmt.Sprintf("it needs a secret: conc nodetest --secret %s", key)}
	}
	v, err := s.env.Attr(key)
	if err != nil {
		return testAnswer{Error: err.Error()}
	}
	return testAnswer{Value: v}
}

func (s *testServer) sudo(ctx context.Context, q testQuestion) testAnswer {
	if len(q.Sudo) == 0 || q.Sudo[0] == "" {
		return testAnswer{Error: "no command to run"}
	}
	if os.Geteuid() != 0 && (!s.p.Sudo || s.env.Call == nil) {
		return testAnswer{Skip: "it needs sudo: conc nodetest --sudo"}
	}
	var a testAnswer
	err := s.env.Call(ctx, jobs.Call{Procedure: procSudo, Sudo: true, Params: sudoParams{q.Sudo, q.Dir}}, &a)
	if err != nil {
		return testAnswer{Error: fmt.Sprintf("%s: %v", q.Sudo[0], err)}
	}
	return a
}

// procSudo is a command that a test runs as root.
const procSudo = "nodetest.sudo"

type sudoParams struct {
	Args []string `json:"args"`
	Dir  string   `json:"dir"`
}

func sudoProcedure(ctx context.Context, env *jobs.Env, params json.RawMessage) (any, error) {
	var p sudoParams
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	var stdout, stderr printed
	e := *env
	e.Out, e.Dir = &stderr, p.Dir
	err := e.Run(ctx, jobs.Cmd{Args: p.Args, Stdout: &stdout})
	a := testAnswer{Stdout: bytes.Clone(stdout.Bytes()), Stderr: bytes.Clone(stderr.Bytes())}
	var failed *jobs.Error
	switch {
	case stdout.Len() == maxPrinted || stderr.Len() == maxPrinted:
		return nil, errors.New("it prints a MiB or more")
	case err == nil:
	case errors.As(err, &failed) && failed.Status == jobs.Failed && ctx.Err() == nil:
		if a.Exit = failed.Exit; failed.Signal != 0 {
			a.Exit = 128 + failed.Signal
		}
	default:
		return nil, err
	}
	return a, nil
}
