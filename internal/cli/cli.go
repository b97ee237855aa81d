// Package cli is the command line: one file a command, flags, wiring, exit codes.
package cli

import (
	"context"
	"io"
	"os"

	"example.org/conc/internal/agent"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
)

// App is what a deploy program brings along; conc.App is made into one.
type App struct {
	Name    string               // of the program; "": see program.name
	Release string               // of the application; "": see program.identity
	Lists   map[string]jobs.List // by name
	Ops     jobs.Catalogue       // beside the stock ones
	Checks  nodetest.Catalogue   // beside the stock ones
}

// Streams are the process's own.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs one command line (without the program's name) and gives the exit code.
func Main(ctx context.Context, app App, args []string, s Streams) int {
	if socket := os.Getenv(agent.AskpassVariable); socket != "" && !asAgent(args) {
		if agent.Askpass(socket, s.Out) != nil {
			return exitError // sudo says that no password was given
		}
		return exitOK
	}
	p := &program{app: app, streams: s}
	var err error
	if p.env, err = surroundings(); err != nil {
		return p.report(args, err)
	}
	if err := app.faults(); err != nil {
		return p.report(args, err)
	}
	return p.main(ctx, args)
}
