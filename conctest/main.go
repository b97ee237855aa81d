// Package conctest tests a job list as the rest of an application is tested:
// state in, one run, state out.
//
// Run makes a throwaway node in a state of the test's choice, takes the list
// through it by the same program, the same protocol and the same SSH as a deploy,
// and gives back what it came to: the status of each step, the node's files, the
// commands that were run, output, events and journal. A fault can befall a step,
// and Resume goes on after it.
//
// The test's own binary is the deploy program, on both ends. For that, one line
// is needed in the package:
//
//	func TestMain(m *testing.M) { conctest.Main(m, shop.App()) }
//
// The node is no sandbox. Its home is thrown away, and what Stubs name is stood
// in for; a step that writes to /etc writes to this machine's.
package conctest

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"example.org/conc"
	"example.org/conc/internal/agent"
)

// Variables of the environment: in a process that is to be the deploy program,
// and in one that knows how to be.
const (
	asProgram = "CONCTEST_PROGRAM"
	ready     = "CONCTEST_READY"
)

// Main runs the tests, and exits. In a process that Run has started, or that a
// node has, it is the deploy program in the place of the tests: so call it first,
// and with what the program itself has in its conc.Main.
func Main(m *testing.M, app conc.App) {
	if os.Getenv(asProgram) != "" || len(os.Args) == 2 && os.Args[1] == "agent" || os.Getenv(agent.AskpassVariable) != "" {
		conc.Main(app) // exits
	}
	if err := os.Setenv(ready, strconv.Itoa(os.Getpid())); err != nil {
		fmt.Fprintln(os.Stderr, "conctest:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// isReady tells whether this process has come through Main.
func isReady() bool { return os.Getenv(ready) == strconv.Itoa(os.Getpid()) }
