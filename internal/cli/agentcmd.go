package cli

import (
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"example.org/conc/internal/agent"
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
			server := &agent.Server{
				Program: p.agentProgram(),
				Home:    p.env.Home,
				Log:     zerolog.Nop(),
				Record: func(path, run string) (agent.Recorder, error) {
					return runner.CreateJournal(path, run, "")
				},
			}
			return server.Serve(cmd.Context(), p.streams.In, p.streams.Out)
		},
	}
}

// runDir is where the workstation keeps what it knows of a run.
func (p *program) runDir(run string) string {
	return filepath.Join(p.env.StateDir, "runs", run)
}
