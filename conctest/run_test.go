package conctest_test

import (
	"slices"
	"testing"

	"example.org/conc/conctest"
	"example.org/conc/jobs"
)

func TestRun(t *testing.T) {
	r := conctest.Run(t, app, "release", before()).Want(jobs.OK)
	if got := r.File("shop/schema"); got != "2" {
		t.Errorf("got schema %q, want 2", got)
	}
	if got := r.Called("systemctl"); !slices.Equal(got, []string{"systemctl restart shop"}) {
		t.Errorf("got calls %q", got)
	}
	if got := r.Called("announce"); !slices.Equal(got, []string{"announce shop"}) {
		t.Errorf("on the workstation: got calls %q", got)
	}
	if r.Open != nil || r.Code != 0 || len(r.Steps) != 5 || r.Output != "1 -> 2\n" {
		t.Errorf("got %+v, code %d, %d steps, output %q", r.Open, r.Code, len(r.Steps), r.Output)
	}
	if len(r.Journal) == 0 || r.Run == "" {
		t.Errorf("got run %q, journal %v", r.Run, r.Journal)
	}
}

func TestAStepAlone(t *testing.T) {
	s := before()
	s.Step = "restart"
	r := conctest.Run(t, app, "release", s).Want(jobs.OK)
	if got := r.File("shop/schema"); got != "1" {
		t.Errorf("got schema %q, want 1: migrate was not asked for", got)
	}
	if r.Open == nil || len(r.Called("systemctl")) != 1 || len(r.Called("announce")) != 0 {
		t.Errorf("got bundle %v, calls %v", r.Open, r.Calls)
	}
}

func TestHeldByAnother(t *testing.T) {
	s := before()
	s.Open = &conctest.Open{Message: "release 1.4"}
	r := conctest.Run(t, app, "release", s).Want(jobs.Blocked)
	if r.Code != 3 || r.Open == nil || r.Open.User != "bob" {
		t.Errorf("got code %d, bundle of %+v", r.Code, r.Open)
	}
}

func TestGoOnAfterAJournal(t *testing.T) {
	s := before()
	s.Files["shop/schema"] = conctest.File{Content: "2"}
	s.Journal = &conctest.Journal{Done: "migrate", Status: jobs.Failed}
	s.From = "restart"
	r := conctest.Run(t, app, "release", s).Want(jobs.OK)
	if r.StatusOf("migrate") != "" || r.StatusOf("restart") != jobs.OK || r.Open != nil {
		t.Errorf("got %v, bundle %v", r.Steps, r.Open)
	}
}

// Without a journal the run is a new one, and what comes before is taken as done.
func TestFromWithoutAJournal(t *testing.T) {
	s := before()
	s.From = "restart"
	r := conctest.Run(t, app, "release", s).Want(jobs.OK)
	if len(r.Called("systemctl")) != 1 || r.File("shop/schema") != "1" || r.Open != nil {
		t.Errorf("got %v, bundle %v", r.Steps, r.Open)
	}
}

func TestFaultAndResume(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  conctest.Fault
		status jobs.Status
		from   string
	}{
		{"fail", conctest.Fault{Step: "restart", Kind: conctest.Fail}, jobs.Failed, "restart"},
		{"hang", conctest.Fault{Step: "restart", Kind: conctest.Hang}, jobs.TimedOut, "restart"},
		{"kill", conctest.Fault{Step: "restart", Kind: conctest.Kill}, jobs.Errored, "restart"},
		{"cut", conctest.Fault{Step: "restart", Kind: conctest.Cut}, jobs.OK, ""}, // the line is back
		{"gone", conctest.Fault{Step: "restart", Kind: conctest.Gone}, "", "tell"},
		{"stop", conctest.Fault{Step: "restart", Kind: conctest.Stop}, jobs.Stopped, "tell"},
		{"kill here", conctest.Fault{Step: "tell", Kind: conctest.Kill}, "", "tell"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := before()
			s.Fault = tt.fault
			r := conctest.Run(t, app, "release", s).Want(tt.status)
			if tt.from != "" {
				if r.Open == nil {
					t.Fatal("the bundle is not open")
				}
				r = r.Resume(tt.from).Want(jobs.OK)
			}
			if r.Open != nil || r.File("shop/schema") != "2" {
				t.Errorf("got bundle %v", r.Open)
			}
		})
	}
}
