package ui

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// onTerminal runs play with a screen on a terminal of that width, and gives
// all that the terminal was sent.
func onTerminal(t *testing.T, width int, o Options, play func(*script, *Screen)) string {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo terminal here: ", err)
	}
	defer master.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: uint16(width)}); err != nil {
		t.Fatal(err)
	}
	var (
		got  strings.Builder
		done sync.WaitGroup
	)
	done.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			got.Write(buf[:n])
			if err != nil {
				return
			}
		}
	})
	if o.Err = tty; o.Out == nil {
		o.Out = tty
	}
	s, screen := newScript(o)
	play(s, screen)
	screen.Close()
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	done.Wait()
	return strings.ReplaceAll(got.String(), "\r\n", "\n")
}

// A reader of a pipe, such as tee, writes to the same terminal.
func TestNoStatusLineBesideAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	got := onTerminal(t, 80, Options{Out: w}, func(s *script, _ *Screen) {
		s.begin()
		s.ok(1)
		s.end(0)
	})
	if want := "log: /home/ann/.local/state/conc/log.jsonl\n"; got != want {
		t.Errorf("on the terminal: got %q, want %q", got, want)
	}
}

// A long name leaves room for the status word.
func TestTableOfNodesInANarrowTerminal(t *testing.T) {
	got := settled(t, onTerminal(t, 40, Options{Quiet: true}, func(s *script, _ *Screen) {
		s.nodes = []string{"web1", "a-very-long-name-with-its-datacentre.example.org"}
		s.begin()
		s.step(1, jobs.Result{Status: jobs.Failed, Took: time.Second, Message: "exit 1"})
		s.end(1)
	}))
	for _, want := range []string{
		"\nNODE        STATUS       STEP  TIME  NO…\n",
		"\nweb1        FAILED       1/5   1.0s  ex…\n",
		"\na-very-lo…  not started\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

// settled gives what stays on a terminal: what was erased is gone.
func settled(t *testing.T, sent string) string {
	t.Helper()
	var lines []string
	for line := range strings.SplitSeq(sent, "\n") {
		if i := strings.LastIndex(line, erase); i >= 0 {
			line = line[i+len(erase):]
		}
		if strings.ContainsAny(line, "\r\x1b") {
			t.Errorf("left on the terminal: %q", line)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestStatusLineLeavesNothingBehind(t *testing.T) {
	var plain strings.Builder
	play := func(s *script, screen *Screen) {
		s.begin()
		s.ok(1)
		s.ok(2)
		s.event(runner.Event{Type: runner.StepStart, Step: s.plan.Steps[2]})
		for i := range int64(11) {
			s.event(runner.Event{Type: runner.Progress, Step: s.plan.Steps[2], Done: i * 12e6, Total: 120e6})
			s.tick(time.Second)
		}
		resume := screen.Ask("")
		s.event(runner.Event{Type: runner.Progress, Step: s.plan.Steps[2], Done: 1, Total: 2})
		resume()
		s.step(3, jobs.Result{Status: jobs.OK, Took: 11 * time.Second, Note: "120 MB, sha256 verified"})
		s.ok(4)
		s.ok(5)
		s.end(0)
	}
	sent := onTerminal(t, 80, Options{}, play)
	s, screen := newScript(Options{Out: &plain, Err: &plain})
	play(s, screen)
	if got, want := settled(t, sent), plain.String(); got != want {
		t.Errorf("the finished form: got\n%s\nwant, as off the terminal,\n%s", got, want)
	}
	for _, want := range []string{
		"web1  connecting to deploy@10.0.0.11:22  0.0s",
		"3/5  deliver the archives  local   RUNNING    0.0s",
		"[======>     ]  50% 12 MB/s",
	} {
		if !strings.Contains(sent, want) {
			t.Errorf("the terminal was sent %q\nwant %q in it", sent, want)
		}
	}
}

func TestStatusLineFitsTheTerminal(t *testing.T) {
	for _, width := range []int{20, 40, 60, 80, 200} {
		sent := onTerminal(t, width, Options{Verbose: true}, func(s *script, _ *Screen) {
			s.plan.Steps[0].Name = strings.Repeat("漢字", 30)
			s.nodes = []string{"web1"}
			s.event(runner.Event{Type: runner.RunStart, Nodes: s.nodes})
			s.event(runner.Event{Type: runner.StepStart, Step: s.plan.Steps[0]})
			for i := range int64(5) {
				s.event(runner.Event{Type: runner.Progress, Step: s.plan.Steps[0], Done: i * 1e9, Total: 4e9})
				s.tick(time.Second)
			}
		})
		drawn := strings.Split(sent, erase)
		if len(drawn) < 2 {
			t.Errorf("%d columns: got %d status lines, want 2 or more", width, len(drawn))
		}
		for _, line := range drawn {
			if n := cells(strings.TrimRight(line, "\n")); n >= width {
				t.Errorf("%d columns: %q takes %d", width, line, n)
			}
		}
	}
}

func TestStatusLineOfSeveralNodes(t *testing.T) {
	sent := onTerminal(t, 80, Options{}, func(s *script, _ *Screen) {
		s.nodes = []string{"web1", "web2"}
		s.begin()
		s.event(runner.Event{Type: runner.StepStart, Step: s.plan.Steps[3]})
		s.node("web2")
		s.event(runner.Event{Type: runner.StepStart, Step: s.plan.Steps[0]})
	})
	if want := "web1 4/5 install, web2 1/5 open"; !strings.Contains(sent, want) {
		t.Errorf("got %q, want %q in it", sent, want)
	}
}

func TestVerboseShowsOutputByLine(t *testing.T) {
	var out, errs strings.Builder
	s, _ := newScript(Options{Out: &out, Err: &errs, Verbose: true})
	s.begin()
	for _, part := range []string{"one\ntw", "o\r\n50%\r", "100%\nlast \x1b[2J"} {
		s.event(runner.Event{Type: runner.Output, Step: s.plan.Steps[0], Data: []byte(part)})
	}
	s.ok(1)
	want := "       | one\n       | two\n       | 50%\\r100%\n       | last \\x1b[2J\n"
	if got := errs.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	errs.Reset()
	s.event(runner.Event{Type: runner.Output, Step: s.plan.Steps[0], Data: make([]byte, 1<<20)})
	if got, want := len(s.partials()), maxPartial+1; got > want {
		t.Errorf("a line without end: %d bytes of it are kept, want at most %d", got, want)
	}
}

func TestConcurrentEventsAndQuestions(t *testing.T) {
	onTerminal(t, 80, Options{}, func(s *script, screen *Screen) {
		s.begin()
		var all sync.WaitGroup
		for i := range 4 {
			e := runner.Event{Type: runner.Progress, Time: start, Node: "web1", Plan: s.plan, Step: s.plan.Steps[i], Total: 100}
			all.Go(func() {
				for n := range 100 {
					e.Done = int64(n)
					screen.Show(e)
					screen.Ask("")()
				}
			})
		}
		all.Wait()
	})
}
