// Package conc performs a change on command: an ordered list of operations,
// some on the operator's workstation, some on a node, that takes one
// application from one working configuration to the next.
//
// A deploy program of your own is three lines: conc.Main with an App.
package conc

import (
	"context"
	"os"

	"example.org/conc/internal/cli"
	"example.org/conc/jobs"
)

// App is what your program adds to the stock one. The zero App is conc itself.
type App struct {
	Name    string               // of the program; "" is "conc"
	Release string               // of the application
	Lists   map[string]jobs.List // job lists in Go, by name
	Ops     jobs.Catalogue       // further ops for the lists in deploy.ini
}

// Main is the whole program: it reads os.Args, runs the command, and exits.
func Main(app App) {
	os.Exit(cli.Main(context.Background(), cli.App(app), os.Args[1:],
		cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
