package ui

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.org/conc/bundle"
	"example.org/conc/config"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

const run = "01K0AAAAAAAAAAAAAAW9QZ3XJ4"

var start = time.Date(2026, 11, 21, 14, 40, 0, 0, time.UTC)

// script plays a run of web1 to a screen.
type script struct {
	clock atomic.Int64 // now, as Unix nanoseconds
	plan  *jobs.Plan
	now   time.Time
	show  func(runner.Event)
	out   runner.Outcome
	nodes []string
	list  string // of the plans; "" is the node's own
	text  *text
}

func plan(node string) *jobs.Plan {
	p := &jobs.Plan{
		Node:   config.NewNode(node, map[string]string{"jobs": "release", "bundle": "shop-bundle"}),
		List:   "release",
		Digest: "abc",
	}
	for i, j := range []jobs.Job{
		{Name: "open", Host: jobs.Remote},
		{Name: "stage", Host: jobs.Local},
		{Name: "deliver the archives", Host: jobs.Local},
		{Name: "install", Host: jobs.Remote},
		{Name: "close", Host: jobs.Remote},
	} {
		p.Steps = append(p.Steps, jobs.Step{N: i + 1, Job: j, OpName: "op"})
	}
	return p
}

func newScript(o Options, nodes ...string) (*script, *Screen) {
	s := &script{plan: plan("web1"), now: start, nodes: nodes}
	s.clock.Store(start.UnixNano())
	o.Now = func() time.Time { return time.Unix(0, s.clock.Load()).UTC() } // the live lines ask from another goroutine
	screen := New(o)
	s.show, s.text = screen.Show, screen.text
	return s, screen
}

func (s *script) tick(d time.Duration) {
	s.now = s.now.Add(d)
	s.clock.Store(s.now.UnixNano())
}

func (s *script) event(e runner.Event) {
	e.Time, e.Run = s.now, run
	if e.Type != runner.RunStart && e.Type != runner.RunEnd {
		e.Node, e.Plan, e.From, e.To, e.Target = s.plan.Node.Name(), s.plan, 1, len(s.plan.Steps), "deploy@10.0.0.11:22"
	}
	s.show(e)
}

func (s *script) begin() {
	if s.nodes == nil {
		s.nodes = []string{"web1"}
	}
	s.event(runner.Event{Type: runner.RunStart, Command: "deploy", Nodes: s.nodes, Version: "0.1.0"})
	s.node("web1")
}

func (s *script) node(name string) {
	s.plan = plan(name)
	if s.list != "" {
		s.plan.List = s.list
	}
	s.out = runner.Outcome{Node: name, SSH: []string{"-p", "22", "deploy@10.0.0.11"}, BundleName: "shop-bundle", NotStarted: 5}
	s.event(runner.Event{Type: runner.NodeStart})
	s.event(runner.Event{Type: runner.Connected})
}

func (s *script) step(n int, r jobs.Result) {
	s.event(runner.Event{Type: runner.StepStart, Step: s.plan.Steps[n-1]})
	for _, l := range r.Tail {
		s.event(runner.Event{Type: runner.Output, Step: s.plan.Steps[n-1], Data: []byte(l + "\n")})
	}
	r.Step = n
	s.tick(r.Took)
	e := runner.Event{Type: runner.StepEnd, Step: s.plan.Steps[n-1], Result: r, Held: s.out.Held}
	s.out.Results = append(s.out.Results, r)
	s.out.NotStarted--
	if s.out.Status = r.Status; r.Status == jobs.OK {
		s.out.Done++
	} else {
		s.out.Stopped = n
	}
	s.event(e)
}

func (s *script) end(code int) {
	s.endNode(code)
	s.event(runner.Event{Type: runner.RunEnd, Code: code, Counts: map[jobs.Status]int{s.out.Status: 1}, Log: "/home/ann/.local/state/conc/log.jsonl"})
}

func (s *script) endNode(code int) {
	s.out.Took = s.now.Sub(start)
	s.out.Code = code
	out := s.out
	s.event(runner.Event{Type: runner.NodeEnd, Outcome: &out, Held: out.Held})
}

// partials is what is kept of lines whose end is not there yet.
func (s *script) partials() []byte { return s.text.partial["web1"] }

func (s *script) ok(n int) { s.step(n, jobs.Result{Status: jobs.OK, Took: 100 * time.Millisecond}) }

func TestTextScreens(t *testing.T) {
	held := &bundle.HeldError{
		Dir: "/home/deploy/shop-bundle", Step: "9/11 install SQLAlchemy (FAILED)",
		Owner: &bundle.Owner{Run: "01K0AAAAAAAAAAAAAAM4TB3W2Q", User: "alice", Host: "desk7", Since: start.Add(-38 * time.Minute), Message: "fixing\x1b[2J by hand"},
	}
	cases := []struct {
		name string
		o    Options
		play func(*script)
		want string
		err  string
	}{
		{name: "ok", play: func(s *script) {
			s.begin()
			s.ok(1)
			s.ok(2)
			s.step(3, jobs.Result{Status: jobs.OK, Took: 9800 * time.Millisecond, Note: "118.2 MB, sha256 verified"})
			s.ok(4)
			s.ok(5)
			s.end(0)
		}, want: `
conc 0.1.0  run W9QZ3XJ4  web1 = deploy@10.0.0.11:22  list release  5 steps

1/5  open                  remote  OK         0.1s
2/5  stage                 local   OK         0.1s
3/5  deliver the archives  local   OK         9.8s  118.2 MB, sha256 verified
4/5  install               remote  OK         0.1s
5/5  close                 remote  OK         0.1s

OK  web1  5 of 5 steps  10.2s
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
		{name: "ok, and the node has checks", o: Options{Name: "conc", Args: []string{"-c", "my file.ini"}}, play: func(s *script) {
			s.begin()
			s.plan.Node = config.NewNode("web1", map[string]string{"jobs": "release", "nodetest": "web"})
			for n := range 5 {
				s.ok(n + 1)
			}
			s.end(0)
		}, want: `
conc 0.1.0  run W9QZ3XJ4  web1 = deploy@10.0.0.11:22  list release  5 steps

1/5  open                  remote  OK         0.1s
2/5  stage                 local   OK         0.1s
3/5  deliver the archives  local   OK         0.1s
4/5  install               remote  OK         0.1s
5/5  close                 remote  OK         0.1s

OK  web1  5 of 5 steps  0.5s
Next: conc -c 'my file.ini' nodetest web1
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
		{name: "failed", o: Options{Args: []string{"-c", "my file.ini"}, Home: "/home/ann"}, play: func(s *script) {
			s.begin()
			s.ok(1)
			s.ok(2)
			s.ok(3)
			s.out.Open = true
			s.out.ByHand = []string{"~/venv/bin/pip install --password " + config.SecretToken("pw") + " x.tar.gz"}
			s.step(4, jobs.Result{
				Status: jobs.Failed, Took: 3400 * time.Millisecond, Message: "exit status 1", Exit: 1,
				Tail: []string{"Processing ./x.tar.gz\r", "error: \x1b]52;c;YQ==\a gcc"}, Lines: 18,
			})
			s.end(1)
		}, want: `
conc 0.1.0  run W9QZ3XJ4  web1 = deploy@10.0.0.11:22  list release  5 steps

1/5  open                  remote  OK         0.1s
2/5  stage                 local   OK         0.1s
3/5  deliver the archives  local   OK         0.1s
4/5  install               remote  FAILED     3.4s  exit status 1
       | Processing ./x.tar.gz
       | error: \x1b]52;c;YQ==\x07 gcc
       (last 2 of 18 lines; all: ~/.conc/runs/*W9QZ3XJ4/out-04.log)
5/5  close                 remote  not started

FAILED  web1  stopped at step 4 of 5; 3 done, 1 not started.
The bundle stays open on web1, so no one else can start a deploy.

  look around    ssh -p 22 deploy@10.0.0.11
                 cd ~/shop-bundle
  ran there      ~/venv/bin/pip install --password ******** x.tar.gz
  try again      conc -c 'my file.ini' step web1 --from 4
  done by hand   conc -c 'my file.ini' mark web1 4 OK
                 conc -c 'my file.ini' step web1 --from 5
  give up        conc -c 'my file.ini' unlock web1 --id W9QZ3XJ4
`, err: "log: ~/.local/state/conc/log.jsonl\n"},
		{name: "quiet", o: Options{Quiet: true}, play: func(s *script) {
			s.begin()
			s.ok(1)
			s.step(2, jobs.Result{Status: jobs.Blocked, Took: time.Second, Message: "*.gz matches 2 files:\n  a.gz\n  b.gz", Hint: "name one"})
			s.end(3)
		}, want: `2/5  stage                 local   BLOCKED    1.0s
       *.gz matches 2 files:
       a.gz
       b.gz
       name one

BLOCKED  web1  stopped at step 2 of 5; 1 done, 3 not started.

  try again      conc deploy web1
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
		{name: "held", play: func(s *script) {
			s.begin()
			s.out.Held = held
			s.step(1, jobs.Result{Status: jobs.Blocked, Took: 100 * time.Millisecond, Message: held.Error()})
			s.end(3)
		}, want: `
conc 0.1.0  run W9QZ3XJ4  web1 = deploy@10.0.0.11:22  list release  5 steps

1/5  open                  remote  BLOCKED    0.1s  held by alice@desk7
4 steps after it: not started

BLOCKED  web1  is being reconfigured by another run. Nothing was changed.
  holder         alice@desk7, run M4TB3W2Q, since 14:02 (38 min ago)
  at step        9/11 install SQLAlchemy (FAILED)
  note           "fixing\x1b[2J by hand"

  look around    ssh -p 22 deploy@10.0.0.11
                 cd ~/shop-bundle
  wait for it    conc deploy web1 --lock-wait 30m
  look           conc status web1
  if abandoned   conc unlock web1 --id M4TB3W2Q
                 conc deploy web1
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
		{name: "the bundle on this workstation is left", play: func(s *script) {
			s.begin()
			s.plan.Steps[1].Op = jobs.OpenBundle{}
			s.ok(1)
			s.ok(2)
			s.ok(3)
			s.ok(4)
			s.step(5, jobs.Result{Status: jobs.Failed, Took: time.Second, Message: "exit 1"})
			s.end(1)
		}, want: `
conc 0.1.0  run W9QZ3XJ4  web1 = deploy@10.0.0.11:22  list release  5 steps

1/5  open                  remote  OK         0.1s
2/5  stage                 local   OK         0.1s
3/5  deliver the archives  local   OK         0.1s
4/5  install               remote  OK         0.1s
5/5  close                 remote  FAILED     1.0s  exit 1

FAILED  web1  stopped at step 5 of 5; 4 done, 0 not started.
The bundle on this workstation stays open: no deploy of web1 can start here.

  start anew     conc unlock web1 --id W9QZ3XJ4
                 conc deploy web1
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
		{name: "stopped after the node's bundle was closed", o: Options{Quiet: true}, play: func(s *script) {
			s.begin()
			s.plan.Steps[1].Op = jobs.OpenBundle{}
			s.plan.Steps[3].Op = jobs.CloseBundle{}
			s.ok(1)
			s.ok(2)
			s.ok(3)
			s.ok(4)
			s.out.Status, s.out.Stopped, s.out.Err = jobs.Stopped, 5, errors.New("interrupted before step 5 close")
			s.end(130)
		}, want: `STOPPED  web1  stopped before step 5 of 5; 4 done, 1 not started.
  interrupted before step 5 close
The bundle on this workstation stays open: no deploy of web1 can start here.

  go on          conc step web1 --from 5
  give up        conc unlock web1 --id W9QZ3XJ4
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
		{name: "several nodes, another list", o: Options{Quiet: true}, play: func(s *script) {
			s.nodes, s.list = []string{"web1", "web2"}, "rollback"
			s.begin()
			s.out.Open = true
			s.step(4, jobs.Result{Status: jobs.Failed, Took: time.Second, Message: "exit 1"})
			s.end(1)
		}, want: `web1  4/5  install               remote  FAILED     1.0s  exit 1

FAILED  web1  stopped at step 4 of 5; 0 done, 4 not started.
The bundle stays open on web1, so no one else can start a deploy.

  look around    ssh -p 22 deploy@10.0.0.11
                 cd ~/shop-bundle
  try again      conc step web1 --from 4 --jobs rollback
  done by hand   conc mark web1 4 OK
                 conc step web1 --from 5 --jobs rollback
  give up        conc unlock web1 --id W9QZ3XJ4

NODE  STATUS       STEP  TIME  NOTE
web1  FAILED       4/5   1.0s  exit 1
web2  not started

1 FAILED, 1 not started
go on: conc step web1 --from 4 --jobs rollback
then: conc deploy @failed --jobs rollback
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
		{name: "a flood", play: func(s *script) {
			s.begin()
			s.step(1, jobs.Result{Status: jobs.OK, Took: time.Second, Bytes: logOutputMax + 1, Lines: 9})
			s.step(2, jobs.Result{Status: jobs.Failed, Took: time.Second, Message: "exit 1", Bytes: logOutputMax + 1, Lines: 9, Tail: []string{"y"}})
			s.end(1)
		}, want: `
conc 0.1.0  run W9QZ3XJ4  web1 = deploy@10.0.0.11:22  list release  5 steps

1/5  open                  remote  OK         1.0s  output truncated
2/5  stage                 local   FAILED     1.0s  exit 1, output truncated
       | y
       (last 1 of 9 lines; the first 16 MiB: the log of this run)
3/5  deliver the archives  local   not started
4/5  install               remote  not started
5/5  close                 remote  not started

FAILED  web1  stopped at step 2 of 5; 1 done, 3 not started.

  try again      conc deploy web1
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
		{name: "unreachable", o: Options{Hint: func(error) string { return "is it on?" }}, play: func(s *script) {
			s.begin()
			s.out.Status, s.out.Err = jobs.Errored, errors.New("dial tcp 10.0.0.11:22: \x1b[2Jrefused")
			s.end(4)
		}, want: `
conc 0.1.0  run W9QZ3XJ4  web1 = deploy@10.0.0.11:22  list release  5 steps

ERROR  web1  no step was started. Nothing was changed.
  dial tcp 10.0.0.11:22: \x1b[2Jrefused
  is it on?
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
		{name: "several nodes", play: func(s *script) {
			s.nodes = []string{"web1", "web2", "db1"}
			s.begin()
			s.ok(1)
			s.out.Status = jobs.OK
			s.endNode(0)
			s.node("web2")
			s.step(1, jobs.Result{Status: jobs.TimedOut, Took: 125 * time.Second, Message: "over 2m"})
			s.end(124)
		}, want: `
web1  = deploy@10.0.0.11:22, list release, 5 steps
web1  1/5  open                  remote  OK         0.1s
web1  2/5  stage                 local   not started
web1  3/5  deliver the archives  local   not started
web1  4/5  install               remote  not started
web1  5/5  close                 remote  not started

OK  web1  1 of 5 steps  0.1s

web2  = deploy@10.0.0.11:22, list release, 5 steps
web2  1/5  open                  remote  TIMED OUT 2m05s  over 2m
web2  2/5  stage                 local   not started
web2  3/5  deliver the archives  local   not started
web2  4/5  install               remote  not started
web2  5/5  close                 remote  not started

TIMED OUT  web2  stopped at step 1 of 5; 0 done, 4 not started.

  try again      conc deploy web2

NODE  STATUS       STEP  TIME   NOTE
web1  OK           1/5   0.1s
web2  TIMED OUT    1/5   2m05s  over 2m
db1   not started

1 OK, 1 TIMED OUT, 1 not started   again: conc deploy @failed
`, err: "log: /home/ann/.local/state/conc/log.jsonl\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			c.o.Out, c.o.Err = &out, &errs
			s, screen := newScript(c.o)
			c.play(s)
			screen.Close()
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), out.String()); diff != "" {
				t.Errorf("standard output, - want + got:\n%s", diff)
			}
			if got := errs.String(); got != c.err {
				t.Errorf("standard error: got %q, want %q", got, c.err)
			}
		})
	}
}
