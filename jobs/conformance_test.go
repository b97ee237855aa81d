package jobs_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"example.org/conc/jobs"
	"example.org/conc/jobs/jobstest"
)

func TestConformance(t *testing.T) {
	for _, host := range []jobs.Host{jobs.Local, jobs.Remote} {
		t.Run(string(host), func(t *testing.T) {
			jobstest.Run(t, jobstest.Host{Host: host, Perform: func(t *testing.T, plan *jobs.Plan, home string) (jobs.Result, string) {
				var out bytes.Buffer
				r := jobs.Perform(t.Context(), plan.Steps[0], &jobs.Env{
					Node: plan.Node, Host: host, Home: home, Dir: home, Bundle: filepath.Join(home, jobstest.BundleName),
					Owner: jobstest.Owner(), Secret: jobstest.Secret, Out: &out,
				})
				return r, out.String()
			}})
		})
	}
}
