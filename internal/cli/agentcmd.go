package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"example.org/conc/internal/agent"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// agentCmd is the far end of a deploy. It is started by conc over SSH, and
// hidden: nobody types it.
func (p *program) agentCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "agent",
		Short:  "Serve steps on standard input and output (started by conc itself)",
		Args:   noArgs,
		Hidden: true,
		RunE:   func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context()) },
	}
}

// asAgent tells whether a command line is the one by which conc starts itself.
func asAgent(args []string) bool { return slices.Equal(args, []string{"agent"}) }

// serve is the agent.
func (p *program) serve(ctx context.Context) error {
	// Where sudo resets no environment, they are here still.
	_, _ = os.Unsetenv(agent.AskpassVariable), os.Unsetenv("SUDO_ASKPASS")
	server := &agent.Server{
		Program:  p.agentProgram(),
		Home:     p.env.Home,
		Log:      zerolog.Nop(),
		Journals: journals{},
	}
	return server.Serve(ctx, p.streams.In, p.streams.Out)
}

// runDir is where the workstation keeps what it knows of a run.
func (p *program) runDir(run string) string {
	return filepath.Join(p.env.StateDir, "runs", run)
}

// journals lends the runner's journals to the agent, which does not know them.
type journals struct{}

func (journals) Open(path string) (agent.Recorder, error) { return runner.OpenJournal(path) }

func (journals) Read(path string) ([]jobs.Record, bool, error) { return runner.ReadJournal(path) }
