package conctest

import (
	"io/fs"
	"time"

	"example.org/conc/internal/rehearsal"
	"example.org/conc/jobs"
)

// State is how things stand before a run. Its zero value is an empty node that
// nobody holds, whose one attribute is a bundle, and the whole list is run.
type State struct {
	// INI is the text of a deploy.ini. Without one, it is made of the rest. How the
	// node is reached is conc's own here, whatever INI says: a node's sshd.*, op_key
	// and sshd.hostkey are replaced.
	INI string
	// Node is the node that is deployed to: "" is the first of INI, or "node1".
	Node string
	// Attributes of Node, in the place of what INI says: written as in a deploy.ini,
	// so that %(key)s is substituted and a per cent sign is doubled.
	Attributes map[string]string
	// Nodes are related nodes, by name, with their attributes, beside those of INI.
	// %(node:NAME:key)s sees them. Nothing connects to them.
	Nodes map[string]map[string]string

	// Project is what is beside deploy.ini on the workstation; nil is nothing.
	Project fs.FS
	// Files are on the node, by their path below its home: "etc/shop.conf".
	Files map[string]File
	// Stubs stand in for programs that must not run for real, on both ends, by
	// name. Every call is recorded, see Result.Calls. sudo is stood in for always: it
	// asks for no password, and is root in a user namespace where the test is not.
	Stubs map[string]Stub
	// Secrets are the values of "secret:NAME".
	Secrets map[string]string

	// Open is somebody's open bundle on the node; nil is none.
	Open *Open
	// Journal is an interrupted run of the list, whose bundle is open; nil is none.
	Journal *Journal

	// From, To and Step choose the steps, by number or by name. From goes on with
	// the run that Journal tells of; without one it is a new run, with the steps
	// before From taken as done. To halts after a step. Step is one step alone of a
	// new run, with those before it taken as done.
	From, To, Step string

	// Fault befalls a step of the run; the zero value befalls none.
	Fault Fault
	// Args are further arguments of the command line: "--take-over".
	Args []string
	// Timeout is for the whole; 0 is a minute.
	Timeout time.Duration
}

// File is a file on the node: one with content, a link, or a directory.
type File struct {
	Content string
	Mode    fs.FileMode // 0 is 0644, and 0755 for a directory
	Link    string      // it is a symbolic link to here; Content and Mode say nothing then
	Dir     bool
}

// Open is a bundle that is open on the node before the run. The zero value is
// that of bob@desk8, in a run that this workstation knows nothing of.
type Open struct {
	Run     string // "" is one of conctest's own
	User    string
	Host    string
	List    string // its list; "" is the one that is run
	Message string
}

// Journal is how far an interrupted run of the same list, and of the same
// operator, had come. Its steps are on record, and were not performed: what they
// would have left behind is for State.Files to say. Opening and closing the bundles
// is done.
type Journal struct {
	Done string // the last step that was OK, by number or by name; "" is none
	// Status of the step after it, which was not OK: "" is that it was not begun,
	// or, with Doubt, that it began and its end is not known.
	Status jobs.Status
	Doubt  bool
}

// Stub is what a stood-in program does: nothing, and exit status 0, by default.
type Stub struct {
	Exit           int
	Stdout, Stderr string
	Sleep          time.Duration
}

// Fault is what befalls a step, once.
type Fault struct {
	Step string // a number or a name
	Kind Kind
	// Bytes is the size that a file may grow to under Kill and FullDisk. Without it,
	// Kill comes when the op has done its work, and FullDisk is refused.
	Bytes int64
}

// Kind is a kind of fault.
type Kind = rehearsal.Fault

// The kinds of fault.
const (
	Fail Kind = rehearsal.Fail // the op says no, and has done nothing
	Hang Kind = rehearsal.Hang // the op does its work, and does not return: TIMED OUT, after a second
	Cut  Kind = rehearsal.Cut  // the line is cut while the op is about to run; it runs
	// Kill kills the process that runs the op: the agent on the node, or conc on the
	// workstation for a local step.
	Kill Kind = rehearsal.Kill
	// FullDisk lets no file grow over Bytes: none that the op writes, and none on the
	// node that a local step delivers. It is a limit of the processes, which needs no
	// disk of its own: what a program does that sees ENOSPC before it writes, or asks
	// for the room left, is not tested by it.
	FullDisk Kind = rehearsal.Full
	Gone     Kind = rehearsal.Gone // conc on the workstation is killed while the op runs
	Stop     Kind = rehearsal.Stop // Ctrl-C while the op runs
)
