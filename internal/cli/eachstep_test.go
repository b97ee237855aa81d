package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/creack/pty"

	"example.org/conc/internal/testnode"
)

// typing runs a command line whose questions get the answers, on a terminal.
func (o *operator) typing(answers string, args ...string) ran {
	o.t.Helper()
	keyboard, terminal, err := pty.Open()
	if err != nil {
		o.t.Skip(err)
	}
	defer keyboard.Close()
	defer terminal.Close()
	if _, err := keyboard.WriteString(answers); err != nil {
		o.t.Fatal(err)
	}
	var out, errs bytes.Buffer
	p := &program{streams: Streams{In: terminal, Out: &out, Err: &errs}, env: o.env}
	code := p.main(context.Background(), o.args(args))
	return ran{code: code, out: out.String(), err: errs.String()}
}

// Each step is asked for, on both hosts; what follows a no was not started.
func TestStepsAreAskedFor(t *testing.T) {
	mark := t.TempDir()
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(mark, "", ""))
	r := o.typing("\ny\nb\nwhat\nyes\nq\n", "deploy", "web1", "--step")
	if r.code != 7 {
		t.Fatalf("got exit code %d, want 7\n%s", r.code, r)
	}
	for _, want := range []string{"NEXT  web1  3/8 a  remote", "on web1:\n        /bin/sh -c", "before step 4 b: the answer was q", "step web1 --from 4"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("the screen does not say %q:\n%s", want, r)
		}
	}
	if n := strings.Count(r.err, "3/8 a"); n != 3 {
		t.Errorf("step 3 was asked for %d times, want 3: once, after b, and after what is no answer", n)
	}
	o.wantTimes(mark, map[string]int{"a": 1, "b": 0, "c": 0, "d": 0})
	if r := o.typing("y\ny\nq\n", "step", "web1", "--from", "b", "--step"); r.code != 7 || !strings.Contains(r.out, "stopped before step 6") {
		t.Errorf("got exit code %d\n%s", r.code, r)
	}
	if r := o.typing("y\ny\ny\n", "step", "--from", "d", "--step"); r.code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", r.code, r)
	}
	o.wantTimes(mark, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1})
}

func TestNoAtTheFirstStepChangesNothing(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(t.TempDir(), "", ""))
	if r := o.typing("q\n", "deploy", "web1", "--step"); r.code != 7 || o.bundle() {
		t.Errorf("got exit code %d, bundle open: %v\n%s", r.code, o.bundle(), r)
	}
}

func TestAskingNeedsATerminal(t *testing.T) {
	o := newOperator(t, inProcess(t, testnode.Options{}), counted(t.TempDir(), "", ""))
	before, _ := o.node.Sessions()
	for _, args := range [][]string{{"deploy", "web1", "--step"}, {"step", "web1", "--from", "2", "--step"}} {
		if r := o.want(2, args...); !strings.Contains(r.err, "no terminal") {
			t.Errorf("%v: got\n%s", args, r)
		}
	}
	if after, _ := o.node.Sessions(); after != before {
		t.Error("the node was connected to")
	}
	o.want(0, "deploy", "web1", "--step", "--dry-run")
}
