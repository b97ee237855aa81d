package conctest_test

import (
	"testing"

	"example.org/conc/conctest"
	"example.org/conc/jobs"
)

// BenchmarkRun is a list of five steps on a node of its own, from nothing to the
// look at what it came to.
func BenchmarkRun(b *testing.B) {
	for b.Loop() {
		conctest.Run(b, app, "release", before()).Want(jobs.OK)
	}
}
