package ui

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// shown gives the screen of a node.
func shown(t *Tests, e Examined) string {
	var b bytes.Buffer
	t.Out, t.Asked = &b, e.Asked
	t.Begin(e.Node, e.Target, Count(e.Asked, "check"))
	for _, r := range e.Results {
		t.Result(r)
	}
	t.End(e.Report, e.Hint)
	return b.String()
}

func TestTestsOnTheScreen(t *testing.T) {
	one := func(r nodetest.Result) string { return "conc nodetest web1 --only '" + r.Name + "'" }
	for _, c := range []struct {
		name string
		t    Tests
		e    Examined
		want string
	}{
		{"all", Tests{Width: 80, Files: []string{"nodetest.xml"}, One: one}, examined("web1", fine, failed, late, broken, skipped, known, goTest), `web1 = deploy@10.0.0.11:22   7 checks

OK        firewall                                                         0.1s
FAILED    healthy                                                          5.0s
          want  status 200
          got   502 Bad Gateway         tried 5 times in 5.0s
TIMED OUT backup: last run younger than 26h                               30.0s
                over its limit of 30s
ERROR     raid                                                             0.0s
                mdadm: not found
                install it
SKIPPED   md: no md devices on this node
FAILED    old                                                              0.0s
          want  a
          got   b
                known: it was so before
FAILED    smoke: TestSub/bad_one                                           0.0s
              odd_test.go:10: wrong
          --- FAIL

ERROR  web1  1 OK, 2 FAILED, 1 TIMED OUT, 1 ERROR, 1 SKIPPED, 1 known  35.6s   -> nodetest.xml
Run one: conc nodetest web1 --only 'healthy'
`},
		{"all, quiet", Tests{Quiet: true, One: one}, examined("web1", fine, skipped, known, late), `TIMED OUT backup: last run younger than 26h                               30.0s
                over its limit of 30s
TIMED OUT  web1  1 OK, 1 TIMED OUT, 1 SKIPPED, 1 known  35.6s
`},
		{"OK", Tests{Width: 80, One: one}, examined("web1", fine), `web1 = deploy@10.0.0.11:22   1 check

OK        firewall                                                         0.1s

OK  web1  1 OK  35.6s
`},
		{"narrow", Tests{Width: 40}, examined("web1",
			nodetest.Result{
				Name: "a name that is longer than its column", Status: jobs.Failed, Took: 12 * time.Hour,
				Want: []string{"a line of words that does not fit"}, Got: []string{"first\n" + strings.Repeat("x", 40)}, Tries: 2,
			},
			nodetest.Result{Name: "md", Status: nodetest.Skipped, Text: "no md devices on this node, nor any others"}), `web1 = deploy@10.0.0.11:22   2 checks

FAILED    a name that is longer… 12h00m
          want  a line of words that
                does not fit
          got   first
                xxxxxxxxxxxxxxxxxxxxxxx
                xxxxxxxxxxxxxxxxx
                tried 2 times in 12h00m
SKIPPED   md: no md devices on this
          node, nor any others

FAILED  web1  1 FAILED, 1 SKIPPED  35.6s
`},
		{"no terminal", Tests{}, examined("web1", nodetest.Result{Name: strings.Repeat("long ", 20) + "end", Status: jobs.OK}), `web1 = deploy@10.0.0.11:22   1 check

OK        ` + strings.Repeat("long ", 20) + `end   0.0s

OK  web1  1 OK  35.6s
`},
		{"not reached", Tests{Width: 80}, notReached("web1", "web1 (deploy@10.0.0.11:22): no answer within 10s, however often it was tried: \x1b[2J"), `web1 = deploy@10.0.0.11:22   6 checks

ERROR  web1  nothing was looked at  35.6s
  web1 (deploy@10.0.0.11:22): no answer within 10s, however often it was tried:
  \x1b[2J
  is sshd running there?
`},
	} {
		if got := shown(&c.t, c.e); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestTestsAreBounded(t *testing.T) {
	r := nodetest.Result{Name: "a", Status: jobs.Failed, Want: []string{"x"}, Got: []string{strings.Repeat("line\n", 29) + "end"}}
	got := shown(&Tests{Width: 80}, examined("web1", r))
	if n := strings.Count(got, "line\n"); n != maxLines || !strings.Contains(got, "[... 18 lines more, with -v]") {
		t.Errorf("got %d lines\n%s", n, got)
	}
	if got = shown(&Tests{Width: 80, Verbose: true}, examined("web1", r)); strings.Count(got, "line\n") != 29 {
		t.Errorf("with -v: got\n%s", got)
	}
}

func TestTestsAreHarmless(t *testing.T) {
	for _, c := range reports[:len(reports)-1] { // the last is only long
		for _, width := range []int{0, 1, 20, 80, 300} {
			text := shown(&Tests{Width: width, Verbose: true}, examinedAll(c.all))
			harmless(t, []byte(text))
			var b bytes.Buffer
			ts := &Tests{Out: &b, Width: width}
			ts.Fleet(c.all, hostile)
			ts.Changes(begun, nil, c.all)
			ts.Changes(begun, c.all, nil)
			harmless(t, b.Bytes())
		}
	}
}

// examinedAll is one node with the results of all.
func examinedAll(all []Examined) Examined {
	e := examined("web1")
	for _, n := range all {
		e.Results = append(e.Results, n.Results...)
		if n.Err != nil {
			e.Err, e.Hint = n.Err, n.Hint
		}
	}
	return e
}

func TestColumnsOfTests(t *testing.T) {
	for _, width := range []int{40, 60, 80, 100, 200} {
		text := shown(&Tests{Width: width}, examined("web1", many(3, evil)...))
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if got := cells(line); got > width-1 && !strings.HasPrefix(line, "web1 = ") && !strings.HasPrefix(line, "FAILED  web1") {
				t.Errorf("on %d columns: got %d in %q", width, got, line)
			}
		}
	}
}

func TestFleetOfTests(t *testing.T) {
	var b bytes.Buffer
	ts := &Tests{Out: &b, Width: 80, Files: []string{"a.xml", "b.prom"}}
	all := []Examined{
		examined("web1", fine, skipped), examined("web2", fine, failed, late),
		notReached("web3", "web3 (deploy@10.0.0.11:22): connection refused: nothing listens on port 22, and nobody answers"),
	}
	ts.Fleet(all, "conc nodetest web2 web3")
	const want = `NODE  STATUS  OK   TIME   NOTE
web1  OK      1/1  35.6s
web2  FAILED  1/3  35.6s  healthy, backup: last run younger than 26h
web3  ERROR   -    35.6s  connection refused: nothing listens on port 22, and …

1 OK, 1 FAILED, 1 ERROR   -> a.xml, b.prom
again: conc nodetest web2 web3
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if ts.Fleet(all[:1], "conc nodetest"); strings.Contains(b.String(), "again") {
		t.Errorf("all are OK: got\n%s", b.String())
	}
}

func TestChangesOfTests(t *testing.T) {
	well := failed
	well.Status, well.Want, well.Got, well.Tries = jobs.OK, nil, nil, 0
	now := time.Date(2026, 11, 21, 14, 45, 2, 0, time.UTC)
	for _, c := range []struct {
		name          string
		before, after Examined
		want          string
	}{
		{"nothing", examined("web1", fine, failed), examined("web1", fine, failed), ""},
		{"worse", examined("web1", fine, well), examined("web1", fine, failed), `2026-11-21 14:45:02  web1  healthy  OK -> FAILED
          want  status 200
          got   502 Bad Gateway         tried 5 times in 5.0s
`},
		{"better", examined("web1", failed), examined("web1", well), "2026-11-21 14:45:02  web1  healthy  FAILED -> OK\n"},
		{"gone", examined("web1", fine), notReached("web1", "no answer"), `2026-11-21 14:45:02  web1  could not be asked  OK -> ERROR
                no answer
`},
		{"back", notReached("web1", "no answer"), examined("web1", fine, late), `2026-11-21 14:45:02  web1  can be asked again  ERROR -> TIMED OUT
2026-11-21 14:45:02  web1  backup: last run younger than 26h  not started -> TIMED OUT
                over its limit of 30s
`},
	} {
		var b bytes.Buffer
		(&Tests{Out: &b, Quiet: true}).Changes(now, []Examined{c.before}, []Examined{c.after})
		if b.String() != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, b.String(), c.want)
		}
	}
	var b bytes.Buffer
	ts := &Tests{Out: &b}
	ts.Changes(now, []Examined{examined("web1", fine)}, []Examined{examined("web1", fine)})
	two := []Examined{examined("web1", fine), notReached("web2", "x")}
	ts.Changes(now, two, two)
	const want = "2026-11-21 14:45:02  OK  web1  1 OK  35.6s\n2026-11-21 14:45:02  2 nodes: 1 OK, 1 ERROR  35.6s\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
