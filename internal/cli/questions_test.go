package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"example.org/conc/internal/testnode"
)

// terminalRun runs a command line in this process, with what a person types and
// sees on a terminal.
func (o *operator) terminalRun(args ...string) (keyboard io.Writer, shown *display, ended <-chan int) {
	o.t.Helper()
	master, terminal, err := pty.Open()
	if err != nil {
		o.t.Skip(err)
	}
	shown = &display{}
	all := make(chan struct{})
	go func() {
		defer close(all)
		_, _ = io.Copy(shown, master)
	}()
	code := make(chan int, 1)
	p := &program{streams: Streams{In: terminal, Out: terminal, Err: terminal}, env: o.env}
	over := make(chan struct{})
	go func() {
		defer close(over)
		got := p.main(context.Background(), o.args(args))
		_ = terminal.Close() // what it was sent can be read to its end from here on
		<-all
		code <- got
	}()
	o.t.Cleanup(func() {
		if o.t.Failed() {
			o.t.Logf("on the terminal:\n%s", shown)
			_, _ = master.WriteString("q\nq\n")
		}
		<-over
		_ = master.Close()
	})
	return master, shown, code
}

// twoNodes are web1 and web2, each with a pause before its hold, and a limit of it.
func twoNodes(t *testing.T, limit1, limit2, pause1, pause2 string) *operator {
	o := newOperator(t, inProcess(t, testnode.Options{}), "")
	other := inProcess(t, testnode.Options{OpKey: "other"})
	for _, name := range []string{filepath.Base(other.KeyFile), "known_hosts"} {
		data, err := os.ReadFile(filepath.Join(other.SSHDir, name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(o.home, ".ssh", name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(data); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
	}
	text := o.ini("open = remote open_bundle\nfirst = local run sleep %(pause)s\nlook = local timeout=%(limit)s hold \"look at it\"\n",
		map[string]string{"limit": limit1, "pause": pause1})
	var second strings.Builder
	second.WriteString("[node:web2]\n")
	for k, v := range other.Attrs() {
		fmt.Fprintf(&second, "%s = %s\n", k, v)
	}
	fmt.Fprintf(&second, "limit = %s\npause = %s\n[jobs:", limit2, pause2)
	o.write("deploy.ini", strings.Replace(text, "[jobs:", second.String(), 1))
	return o
}

// A question that is over takes no answer from the next; each names its node.
func TestHoldThatIsOverGivesItsLineBack(t *testing.T) {
	t.Parallel()
	o := twoNodes(t, "600ms", "1m", "0", "0.2")
	keyboard, shown, ended := o.terminalRun("deploy", "web1", "web2", "--forks", "2")
	eventually(t, "the first question", func() bool { return strings.Contains(shown.String(), "HOLD  web1  look at it") })
	eventually(t, "its time-out", func() bool { return strings.Contains(shown.String(), "TIMED OUT  ") })
	eventually(t, "the next question", func() bool { return strings.Contains(shown.String(), "HOLD  web2  look at it") })
	if _, err := keyboard.Write([]byte("what\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the question again", func() bool { return strings.Count(shown.String(), "HOLD  web2  look at it") > 1 })
	if _, err := keyboard.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 124 {
		t.Errorf("got exit code %d, want 124\n%s", code, shown)
	}
	eventually(t, "web2 is OK", func() bool { return strings.Contains(shown.String(), "1 OK, 1 TIMED OUT") })
}

// What is shown meanwhile does not hide the question.
func TestQuestionStaysTheLastThingShown(t *testing.T) {
	t.Parallel()
	o := twoNodes(t, "1m", "1s", "0", "0.3")
	keyboard, shown, ended := o.terminalRun("deploy", "web1", "web2", "--forks", "2")
	eventually(t, "the other node's end", func() bool { return strings.Contains(shown.String(), "TIMED OUT") })
	eventually(t, "the question below it", func() bool {
		return strings.HasSuffix(strings.TrimRight(shown.String(), "\r\n"), "HOLD  web1  look at it\r\n      Enter to go on, q to stop here: ")
	})
	if _, err := keyboard.Write([]byte("q\n")); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 124 {
		t.Errorf("got exit code %d, want 124\n%s", code, shown)
	}
	eventually(t, "web1 is STOPPED", func() bool { return strings.Contains(shown.String(), "1 TIMED OUT, 1 STOPPED") })
}
