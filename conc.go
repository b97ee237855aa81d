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
	"example.org/conc/nodetest"
)

// App is what your program adds to the stock one. The zero App is conc itself.
//
// What is wrong with it (a name that conc has itself, say) is an ERROR of every
// command, told when the program starts.
type App struct {
	// Name is what people type: "" is the name that go build gives the program.
	Name string
	// Release is that of the application. "" is the tag that the program was built
	// from, as far as go build has recorded one. With the commit, which is always
	// taken from there, it stands in the lock, in the journals, and in history.
	Release string
	Lists   map[string]jobs.List // job lists in Go, by name
	Ops     jobs.Catalogue       // further ops for the lists in deploy.ini: see Op
	Checks  nodetest.Catalogue   // further checks for its suites: see Check
}

// Op makes an entry for App.Ops of a struct that is an op. The words of a line of
// deploy.ini are read into the fields that have a tag `conc:"..."`; the others,
// and those that the line does not name, stay as they are in defaults:
//
//	type Greet struct {
//		Whom  string        `conc:"WHOM"`            // a word that must be there
//		Times int           `conc:"[times=N]"`       // KEY=VALUE, which may be left out
//		Pause time.Duration `conc:"[pause=DURATION]"`
//		Loud  bool          `conc:"[loud]"`          // a bare word
//	}
//
// The tags are the usage that people are shown; jobs.Arguments has all of their
// forms. What is wrong with a line is told with its place, before anything is
// connected to, and so is what the op's own Validate finds. On the host that the
// line names, Do has the fields, and the secrets in them.
func Op[T jobs.Op](name, summary string, defaults T) jobs.Entry {
	return jobs.Typed(name, summary, defaults)
}

// Check makes an entry for App.Checks of a struct that is a check, as Op makes one
// of an op.
func Check[T nodetest.Check](name, summary string, defaults T) nodetest.Entry {
	return nodetest.Typed(name, summary, defaults)
}

// Main is the whole program: it reads os.Args, runs the command, and exits.
func Main(app App) {
	os.Exit(cli.Main(context.Background(), cli.App(app), os.Args[1:],
		cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
