package nodetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// absentAlone refuses a line on which absent is not the only property.
func absentAlone(wants []want) error {
	for _, w := range wants {
		if w.property == "absent" && len(wants) > 1 {
			return errors.New("absent stands alone: what is not there has no properties")
		}
	}
	return nil
}

// judged judges a subject. What a secret stands for is judged when it is known.
func judged(word string, judge func(string) error) error {
	if len(config.SecretNames(word)) > 0 {
		return nil
	}
	return judge(word)
}

// presence judges whether a thing is there. settled says that there is no more
// to look at: it is not there, or should not be. as is how it is there: "loaded".
func presence(wants []want, thing string, there bool, as string) (findings []Finding, settled bool) {
	absent := len(wants) == 1 && wants[0].property == "absent"
	got := "not there"
	if there {
		got = as
	}
	switch {
	case absent:
		return []Finding{{OK: !there, Want: thing + " absent", Got: got}}, true
	case !there:
		return []Finding{{Want: thing, Got: got}}, true
	}
	return []Finding{{OK: true, Want: thing, Got: got}}, false
}

// linuxOnly is an error for a check that reads what only Linux has.
func linuxOnly(what string) error {
	if runtime.GOOS == "linux" {
		return nil
	}
	return Skipf("%s, which %s does not have", what, runtime.GOOS)
}

// awaited does something that may block in the kernel for as long as it likes:
// a statfs of a file server that is gone, say. Once ctx is done it is waited for
// no more, and its goroutine ends whenever the kernel lets it.
func awaited[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if v := recover(); v != nil {
				a.err = jobs.Errorf("panic: %v", v)
			}
			done <- a
		}()
		a.v, a.err = do()
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// program finds a program of the system. A session without a login often has no
// sbin in its PATH.
func program(name string) (path string, ok bool) {
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}

// reply is how a program that was asked something ended.
type reply struct {
	stdout, stderr string
	exit           int
}

// askProgram runs a program that only tells something, in the C locale. That it exits
// with another code than 0 is no error.
func askProgram(ctx context.Context, env *jobs.Env, args ...string) (reply, error) {
	var stdout, stderr printed
	e := *env
	e.Out = &stderr
	err := e.Run(ctx, jobs.Cmd{Args: args, Dir: "/", Env: []string{"LC_ALL=C", "LANGUAGE=C"}, Stdout: &stdout})
	r := reply{stdout: stdout.String(), stderr: excerpt(bytes.TrimSpace(stderr.Bytes()))}
	var failed *jobs.Error
	if errors.As(err, &failed) && failed.Status == jobs.Failed && failed.Signal == 0 && ctx.Err() == nil {
		r.exit = failed.Exit
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", filepath.Base(args[0]), err)
	}
	return r, nil
}

// refused is ERROR for a program that did not answer.
func (r reply) refused(what string) *jobs.Error {
	return jobs.Errorf("%s: exit %d: %s", what, r.exit, r.stderr)
}

// readSystem reads a file of /proc or /sys. gone tells that there is none.
func readSystem(path string) (text []byte, gone bool, err error) {
	text, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	return text, false, err
}
