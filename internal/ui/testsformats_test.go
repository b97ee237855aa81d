package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// hostile is what a node may say in order to harm who reads it.
const hostile = "a\x1b]52;c;cm0=\x07b\x00c\u202ed\xff]]> <x a=\"'\">&amp; # SKIP | 'q\"=1 \\\nok 9 - forged\r\nconc_check_ok{} 1 \ufffe\u0085end"

var begun = time.Date(2026, 11, 21, 14, 40, 2, 113e6, time.UTC)

func examined(node string, results ...nodetest.Result) Examined {
	for i := range results {
		results[i].N = i + 1
		if results[i].Check == "" {
			results[i].Check = "file"
		}
	}
	return Examined{
		Report: nodetest.Report{Node: node, Target: "deploy@10.0.0.11:22", Suite: "web", Begun: begun, Took: 35600 * time.Millisecond, Results: results},
		Asked:  len(results),
	}
}

func notReached(node, why string) Examined {
	e := examined(node)
	e.Asked, e.Code, e.Err, e.Hint = 6, 4, errors.New(why), "is sshd running there?"
	return e
}

var (
	fine    = nodetest.Result{Name: "firewall", Status: jobs.OK, Took: 100 * time.Millisecond}
	failed  = nodetest.Result{Name: "healthy", Check: "http", Status: jobs.Failed, Want: []string{"status 200"}, Got: []string{"502 Bad Gateway"}, Took: 5 * time.Second, Tries: 5}
	late    = nodetest.Result{Name: "backup: last run younger than 26h", Check: "command", Status: jobs.TimedOut, Text: "over its limit of 30s", Took: 30 * time.Second}
	broken  = nodetest.Result{Name: "raid", Status: jobs.Errored, Text: "mdadm: not found", Hint: "install it"}
	skipped = nodetest.Result{Name: "md", Status: nodetest.Skipped, Text: "no md devices on this node"}
	known   = nodetest.Result{Name: "old", Status: jobs.Failed, Known: true, Want: []string{"a"}, Got: []string{"b"}}
	evil    = nodetest.Result{Name: hostile, Check: hostile, Status: jobs.Failed, Want: []string{hostile, "x"}, Got: []string{hostile, ""}, Text: hostile, Hint: hostile, Output: []string{hostile, ""}}
	sly     = nodetest.Result{Name: "# TODO \\", Status: nodetest.Skipped, Text: hostile}
	goTest  = nodetest.Result{Name: "smoke: TestSub/bad_one", Check: "go test", Status: jobs.Failed, Output: []string{"    odd_test.go:10: wrong", "--- FAIL"}}
)

// reports is what every format is tried with.
var reports = []struct {
	name   string
	all    []Examined
	nagios int
}{
	{"nothing", nil, 1},
	{"no checks", []Examined{examined("web1")}, 1},
	{"fine", []Examined{examined("web1", fine, skipped)}, 0},
	{"all of one node", []Examined{examined("web1", fine, failed, late, broken, skipped, known, goTest)}, 2},
	{"only skipped", []Examined{examined("web1", skipped)}, 1},
	{"known", []Examined{examined("web1", fine, known)}, 1},
	{"an error", []Examined{examined("web1", fine, broken)}, 3},
	{"timed out", []Examined{examined("web1", fine, late, broken)}, 2},
	{"not reached", []Examined{notReached("web1", "web1 (deploy@10.0.0.11:22): no answer")}, 3},
	{"several", []Examined{examined("web1", fine), examined("web2", fine, failed), notReached("web3", hostile)}, 2},
	{"hostile", []Examined{examined("web1", evil, sly, evil, fine)}, 2},
	{"interrupted", []Examined{{Report: nodetest.Report{Node: "web1", Err: &jobs.Error{Status: jobs.Stopped, Err: errors.New("interrupted")}}}}, 3},
	{"very many", []Examined{examined("web1", many(300, evil)...)}, 2},
}

func many(n int, r nodetest.Result) []nodetest.Result {
	all := make([]nodetest.Result, n)
	for i := range all {
		all[i] = r
		all[i].Name = fmt.Sprintf("%d %s", i, r.Name)
	}
	return all
}

// harmless fails the test when a terminal would act on text, or it is not UTF-8.
func harmless(t *testing.T, text []byte) {
	t.Helper()
	if !utf8.Valid(text) {
		t.Error("it is not UTF-8")
	}
	if i := bytes.IndexFunc(text, func(r rune) bool { return harmful(r) && r != '\n' && r != '\t' }); i >= 0 {
		t.Errorf("a terminal acts on %q", text[max(0, i-20):min(len(text), i+20)])
	}
}

func TestNagios(t *testing.T) {
	perf := regexp.MustCompile(`^( (ok|failed|timed_out|error|skipped|nodes_up)=\d+;;;0;\d+){6} time=\d+\.\d{3}s;;;0$`)
	for _, c := range reports {
		t.Run(c.name, func(t *testing.T) {
			text, code := Nagios(c.all)
			harmless(t, text)
			if code != c.nagios {
				t.Errorf("got exit code %d, want %d", code, c.nagios)
			}
			first, rest, _ := strings.Cut(string(text), "\n")
			said, figures, ok := strings.Cut(first, " |")
			if !ok || !perf.MatchString(figures) || strings.Contains(rest, "|") {
				t.Errorf("the figures: got %q\n%s", figures, text)
			}
			if want := "NODETEST " + nagiosWords[c.nagios] + " - "; !strings.HasPrefix(said, want) {
				t.Errorf("got %q, want %q at its beginning", said, want)
			}
			if len(text) > 8000 {
				t.Errorf("got %d bytes", len(text))
			}
		})
	}
	text, _ := Nagios(reports[3].all)
	const want = `NODETEST CRITICAL - web1: 1 OK, 2 FAILED, 1 TIMED OUT, 1 ERROR, 1 SKIPPED, 1 known: healthy, backup: last run younger than 26h, raid, smoke: TestSub/bad_one | ok=1;;;0;7 failed=2;;;0;7 timed_out=1;;;0;7 error=1;;;0;7 skipped=1;;;0;7 nodes_up=1;;;0;1 time=35.600s;;;0
FAILED healthy: want status 200, got 502 Bad Gateway
TIMED OUT backup: last run younger than 26h: over its limit of 30s
ERROR raid: mdadm: not found
FAILED smoke: TestSub/bad_one: --- FAIL
`
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestTestLines(t *testing.T) {
	for _, c := range reports {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			TestLines{Out: &b, Run: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Now: func() time.Time { return begun }}.All(c.all, 1, "0.1")
			harmless(t, b.Bytes())
			var types []string
			var want []string
			for line := range bytes.Lines(b.Bytes()) {
				var r struct {
					V         int
					Type, Run string
				}
				if err := json.Unmarshal(line, &r); err != nil || r.V != 1 || r.Run != "Q69G5FAV" {
					t.Fatalf("got %q, %v", line, err)
				}
				types = append(types, r.Type)
			}
			want = append(want, "run_start")
			for _, e := range c.all {
				for range e.Results {
					want = append(want, "check")
				}
				want = append(want, "nodetest_end")
			}
			if want = append(want, "run_end"); fmt.Sprint(types) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", types, want)
			}
		})
	}
	var b bytes.Buffer
	l := TestLines{Out: &b, Now: func() time.Time { return begun }}
	e := notReached("web3", "no answer")
	l.Result("web1", "web", failed)
	l.Node(e)
	const want = `{"v":1,"type":"check","ts":"2026-11-21T14:40:02.113Z","node":"web1","suite":"web","name":"healthy","check":"http","status":"FAILED","ms":5000,"want":["status 200"],"got":["502 Bad Gateway"],"tries":5}
{"v":1,"type":"nodetest_end","ts":"2026-11-21T14:40:02.113Z","node":"web3","target":"deploy@10.0.0.11:22","suite":"web","status":"ERROR","code":4,"ms":35600,"message":"no answer","hint":"is sshd running there?","checks":6,"counts":{"ERROR":0,"FAILED":0,"OK":0,"SKIPPED":0,"TIMED OUT":0}}
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// tool gives a program of this machine; "" when it is not there.
func tool(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}

// judge lets a program read what was made.
func judge(t *testing.T, data []byte, name, file string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(name, append(args, path)...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", filepath.Base(name), err, out)
	}
	return string(out)
}
