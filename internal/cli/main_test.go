package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"example.org/conc/internal/agent"
)

// TestMain makes the test's own binary a conc: under that name for the scripts,
// and on a node that it is copied to, where it is started as an agent, or by
// sudo for a password.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "conc" || len(os.Args) == 2 && os.Args[1] == "agent" || os.Getenv(agent.AskpassVariable) != "" {
		os.Exit(Main(context.Background(), App{}, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}
