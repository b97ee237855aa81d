package cli

import (
	"os"
	"path/filepath"

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
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Where sudo resets no environment, they are here still.
			_, _ = os.Unsetenv(agent.AskpassVariable), os.Unsetenv("SUDO_ASKPASS")
			server := &agent.Server{
				Program:  p.agentProgram(),
				Home:     p.env.Home,
				Log:      zerolog.Nop(),
				Journals: journals{},
			}
			return server.Serve(cmd.Context(), p.streams.In, p.streams.Out)
		},
	}
}

// runDir is where the workstation keeps what it knows of a run.
func (p *program) runDir(run string) string {
	return filepath.Join(p.env.StateDir, "runs", run)
}

// journals lends the runner's journals to the agent, which does not know them.
type journals struct{}

func (journals) Open(path string) (agent.Recorder, error) { return runner.OpenJournal(path) }

func (journals) Read(path string) ([]jobs.Record, bool, error) { return runner.ReadJournal(path) }
