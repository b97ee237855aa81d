package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"example.org/conc/internal/agent"
	"example.org/conc/jobs"
)

// testApp is what the tests' own agent adds to conc: a list in Go.
var testApp = App{Lists: map[string]jobs.List{"in-go": {
	{Name: "open", Host: jobs.Remote, Op: jobs.OpenBundle{}},
	{Name: "stage", Host: jobs.Local, Op: jobs.OpenBundle{}},
	{Name: "work", Host: jobs.Remote, Op: jobs.Run{Args: []string{"true"}}},
	{Name: "close", Host: jobs.Remote, Op: jobs.CloseBundle{}},
	{Name: "unstage", Host: jobs.Local, Op: jobs.CloseBundle{}},
}}}

// TestMain makes the test's own binary a conc: under that name for the scripts,
// and on a node that it is copied to, where it is started as an agent, or by
// sudo for a password.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "conc" || len(os.Args) == 2 && os.Args[1] == "agent" || os.Getenv(agent.AskpassVariable) != "" {
		var app App // for the scripts there is no other than the stock program
		if os.Args[len(os.Args)-1] == "agent" {
			app = testApp
		}
		os.Exit(Main(context.Background(), app, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}
