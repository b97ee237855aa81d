package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"example.org/conc/internal/testnode/sshdtest"
)

// A line that swallows everything is told of within 25 s. When it is whole again
// within timeout.reconnect, the run goes on by itself. With CONC_MATRIX, one that
// stays is seen as well.
func TestBlackHole(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 20 s of silence")
	}
	const told = "the line to web1 is gone"
	cases := []bool{true}
	if os.Getenv("CONC_MATRIX") != "" {
		cases = append(cases, false)
	}
	for _, heals := range cases {
		t.Run(fmt.Sprintf("heals=%v", heals), func(t *testing.T) {
			t.Parallel()
			mark := t.TempDir()
			if err := os.Chmod(mark, 0o777); err != nil {
				t.Fatal(err)
			}
			n := sshdtest.Start(t, sshdtest.Options{})
			list := counted(mark, "c", "touch "+mark+"/started; sleep 12")
			o := newOperator(t, &n.Node, list)
			o.env.User, o.env.Hostname = osNames(t)
			reconnect := "2s"
			if heals {
				reconnect = "60s"
			}
			p := o.behind(list, map[string]string{"timeout.reconnect": reconnect})
			cmd, out, errs := o.process("deploy", "web1")
			screen := &watched{words: told, seen: make(chan time.Time, 1)}
			cmd.Stderr = screen
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { _ = cmd.Wait(); close(ended) }()
			eventually(t, "the step runs", func() bool { return is(mark, "started") })
			p.Blackhole(true)
			begin := time.Now()
			select {
			case at := <-screen.seen:
				if took := at.Sub(begin); took > 25*time.Second {
					t.Errorf("it was told after %v", took)
				}
			case <-ended:
				t.Errorf("nothing was told before the end")
			}
			if heals {
				time.Sleep(2 * time.Second)
				p.Blackhole(false)
			}
			<-ended
			p.Blackhole(false)
			code := cmd.ProcessState.ExitCode()
			if want := map[bool]int{false: 6, true: 0}[heals]; code != want {
				t.Errorf("got exit code %d, want %d\n%s%s%s", code, want, out, errs, screen.text.String())
			}
			if !heals {
				// The node has finished the step, and in a silence of 10 s begins no further one.
				if r := o.want(0, "status", "web1"); !strings.Contains(r.out, "5/8  c        remote  OK") || !strings.Contains(r.out, "step web1 --from 6") {
					t.Errorf("got\n%s", r)
				}
				o.want(0, "step", "web1", "--from", "6")
			}
			o.wantTimes(mark, onceEach)
			if o.bundle() {
				t.Error("the bundle is still open")
			}
		})
	}
}

// watched tells when some words were written.
type watched struct {
	text  strings.Builder
	words string
	seen  chan time.Time // has room for one
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.text.Write(b)
	if strings.Contains(w.text.String(), w.words) {
		select {
		case w.seen <- time.Now():
		default:
		}
	}
	return n, err
}
