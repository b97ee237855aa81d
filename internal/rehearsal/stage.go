package rehearsal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"example.org/conc/config"
	"example.org/conc/internal/testnode"
)

// Options of a stage. Dir, INI, Node and Executable are needed.
type Options struct {
	Dir        string            // an empty directory for all of it
	INI        []byte            // the deploy.ini
	Node       string            // the node of it that is stood in for
	Attributes map[string]string // of that node, in the place of what INI has; written as there
	Executable string            // the program that is conc, on both ends
	Hash       string            // its SHA-256, hex
	Env        []string          // further environment of the workstation's end
	Project    fs.FS             // what is beside deploy.ini; nil: nothing
	Stubs      map[string]Stub   // by name, for both ends
	Proxy      bool              // the line can be cut
}

// Stage is a throwaway node, and a workstation with a project that deploys to it.
type Stage struct {
	Node    *testnode.Node
	Proxy   *testnode.Proxy // nil: none was asked for
	Project string          // the folder of deploy.ini
	Home    string          // the workstation's
	Stubs   *Stubs
	Sync    string // a directory for Script.Dir

	o      Options
	script string
	far    atomic.Int64 // Script.Far
}

// NewStage sets a stage. It serves until Close.
func NewStage(ctx context.Context, o Options) (_ *Stage, err error) {
	s := &Stage{
		o: o, Project: filepath.Join(o.Dir, "project"), Home: filepath.Join(o.Dir, "workstation"),
		Sync: filepath.Join(o.Dir, "sync"), script: filepath.Join(o.Dir, "script.json"),
	}
	for _, dir := range []string{s.Project, s.Home, s.Sync, filepath.Join(o.Dir, "node")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if s.Stubs, err = NewStubs(o.Dir); err != nil {
		return nil, err
	}
	for name, stub := range o.Stubs {
		if err := s.Stubs.Add(name, stub); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(s.Stubs.AddSudo(), s.Direct(Script{})); err != nil {
		return nil, err
	}
	file, err := config.Parse(fileName, o.INI, config.Options{})
	if err != nil {
		return nil, err
	}
	node, err := file.Node(o.Node)
	if err != nil {
		return nil, err
	}
	s.Node, err = testnode.Start(ctx, testnode.Options{
		Dir: filepath.Join(o.Dir, "node"), User: node.Get("admin"),
		Env:  []string{"PATH=" + s.Stubs.Path(nodePath), Variable + "=" + s.script},
		Full: s.full,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	attrs := s.Node.Attrs()
	delete(attrs, "bundle")
	if o.Proxy {
		if s.Proxy, err = testnode.NewProxy(s.Node.Addr); err != nil {
			return nil, err
		}
		if _, err = s.Node.Through(s.Proxy); err != nil {
			return nil, err
		}
		attrs["sshd.port"] = strconv.Itoa(s.Proxy.Port)
	}
	attrs["sshd.hostkey"], attrs["sshd.jump"] = s.Node.HostKey, "none"
	maps.Copy(attrs, o.Attributes)
	ini, err := Rewrite(o.INI, o.Node, attrs)
	if err != nil {
		return nil, err
	}
	return s, s.fill(ini)
}

// nodePath is the PATH of a node, after the stubs.
const nodePath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

// fill puts the project, the operator's keys and the agent in their places.
func (s *Stage) fill(ini []byte) error {
	if s.o.Project != nil {
		if err := os.CopyFS(s.Project, s.o.Project); err != nil {
			return fmt.Errorf("copy the project: %w", err)
		}
	}
	// What was copied may be read-only, and may be another file's link.
	_ = os.Remove(s.INI())
	bin := filepath.Join(s.Node.Home, ".conc", "bin")
	if err := errors.Join(os.WriteFile(s.INI(), ini, 0o600), os.MkdirAll(bin, 0o700)); err != nil {
		return err
	}
	if err := os.Rename(s.Node.SSHDir, filepath.Join(s.Home, ".ssh")); err != nil {
		return err
	}
	return place(s.o.Executable, filepath.Join(bin, "conc-"+s.o.Hash))
}

// INI is the path of the stage's own deploy.ini.
func (s *Stage) INI() string { return filepath.Join(s.Project, fileName) }

// place makes a link to the program, or a copy where that cannot be.
func place(program, path string) error {
	if os.Link(program, path) == nil {
		return nil
	}
	from, err := os.Open(program)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// Hash gives the name that a program has on a node.
func Hash(program string) (string, error) {
	f, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

// Direct sets what is to happen from now on.
func (s *Stage) Direct(script Script) error {
	script.Program = s.o.Hash
	s.far.Store(script.Far)
	_ = os.Remove(filling(s.script)) // of a conc that was killed
	return script.Write(s.script)
}

// full gives the size that a file of a delivery may grow to now; 0: any.
func (s *Stage) full() int64 {
	if _, err := os.Stat(filling(s.script)); err != nil {
		return 0
	}
	return s.far.Load()
}

// Clear forgets which steps were waited for.
func (s *Stage) Clear() error {
	return errors.Join(os.RemoveAll(s.Sync), os.Mkdir(s.Sync, 0o700))
}

// Command is a command line of the operator's, in a process of its own.
func (s *Stage) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.o.Executable, append([]string{"-c", s.INI()}, args...)...)
	cmd.Args[0] = "conc"
	cmd.Dir = s.Project
	cmd.Env = append([]string{
		"HOME=" + s.Home, "XDG_STATE_HOME=" + filepath.Join(s.Home, "state"), "TMPDIR=" + s.o.Dir,
		"PATH=" + s.Stubs.Path(os.Getenv("PATH")), Variable + "=" + s.script,
	}, s.o.Env...)
	return cmd
}

// Settle waits until nothing of a command is going on any more on the node: its
// agents have ended.
func (s *Stage) Settle(limit time.Duration) error {
	for end := time.Now().Add(limit); ; time.Sleep(pace) {
		left := s.Node.Processes(" agent")
		switch {
		case len(left) == 0:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("after %v an agent is still at work on the node: pid %v", limit, left)
		}
	}
}

// State is where the workstation keeps its own records of runs.
func (s *Stage) State() string { return filepath.Join(s.Home, "state", "conc") }

// Close ends the node and everything that it started.
func (s *Stage) Close() error {
	var err error
	if s.Proxy != nil {
		err = s.Proxy.Close()
	}
	return errors.Join(err, s.Node.Close())
}
