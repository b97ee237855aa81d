package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// made has the program built for a platform that there is no file for.
func (l *launch) made(ctx context.Context, goos, arch, name string) (build, error) {
	start := &StartError{
		Err:  fmt.Errorf("%s is %s/%s, and there is no %s beside this program or in agent.dir", l.Node.Name(), goos, arch, name),
		Hint: fmt.Sprintf("CGO_ENABLED=0 GOOS=%s GOARCH=%s go build -o %s ./cmd/conc", goos, arch, filepath.Join(filepath.Dir(l.Executable), name)),
	}
	if l.BuildAgent == nil {
		return build{}, start
	}
	file, err := l.BuildAgent(ctx, goos, arch)
	if ctx.Err() != nil {
		return build{}, ctx.Err()
	}
	if err == nil {
		var hash string
		if hash, err = hashes.of(file); err == nil {
			return build{file, hash, goos + "/" + arch}, nil
		}
	}
	start.Err = fmt.Errorf("%w; nor can it be built: %w", start.Err, err)
	start.Hint = fmt.Sprintf("where Go and this program's sources are: %s; then put %s beside this program", l.buildCommand(goos, arch, name), name)
	return build{}, start
}

// buildCommand is what a person types to have the program built.
func (l *launch) buildCommand(goos, arch, file string) string {
	program := l.Typed
	if program == "" {
		program = "conc"
	}
	return fmt.Sprintf("%s build-agent --os %s --arch %s -o %s", program, goos, arch, file)
}

// errFormat says that the node's kernel does not know the program's format.
var errFormat = errors.New("the agent is not built for it")

// foreign explains a node that does not run what was built for the platform that
// its uname names: its kernel has the last word on what it is. err is returned
// where it is something else.
func (l *launch) foreign(bin build, e *attemptError, err *StartError) error {
	if !errors.Is(err, errFormat) {
		return err
	}
	goos, arch, _ := strings.Cut(bin.platform, "/")
	start := &StartError{
		Err: fmt.Errorf("%s: cannot execute on node: its uname -s -m says that it is %s, and it does not run a program that is built for that (exit %d)",
			l.Node.Name(), bin.platform, e.status),
		Hint: fmt.Sprintf("find out what it is (file -L /bin/sh); then, beside this program or in agent.dir: %s", l.buildCommand("OS", "ARCH", "conc_"+goos+"_"+arch)),
	}
	if bin.platform == runtime.GOOS+"/"+runtime.GOARCH {
		start.Hint = "find out what it is: file -L /bin/sh; uname -a"
	}
	return start
}
