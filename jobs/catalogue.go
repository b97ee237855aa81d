package jobs

import "example.org/conc/config"

// Entry is one op of a catalogue: how a line of deploy.ini names it and how its
// arguments become an Op. `conc ops` and the manual print it.
type Entry struct {
	Name    string
	Args    string // usage: "SOURCE... [to=DIR]"
	Summary string // one line, lower case, no full stop
	Help    string // paragraphs: what it does on each host, what is BLOCKED, FAILED, ERROR
	Example string // one line for deploy.ini, from HOST on
	// Parse makes the op of its arguments, which are substituted (a secret is
	// still a token). It is pure. It checks number and form of the arguments.
	Parse func(args []string) (Op, error)
	// Err says that the entry itself is wrong, and cannot be used: see Typed. The
	// program tells it when it starts.
	Err error

	// Expand gives the arguments that the step is planned with, of those that its
	// line has, where they stand on more of deploy.ini than the node knows; nil:
	// they are the line's. Both ends make the op of what it gives, so the digest
	// and a list that has changed tell of it. The error may be config.Problems.
	Expand func(f *config.File, node *config.Node, args []string) ([]string, error)
	// Brief says in a few words what expanded arguments say at length, for a plan
	// that a person reads; nil: they are shown as they are.
	Brief func(args []string) string
}

// Catalogue is the ops that a program knows, read top to bottom.
type Catalogue []Entry

// Lookup finds an op by its name.
func (c Catalogue) Lookup(name string) (Entry, bool) {
	for _, e := range c {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// Brief says in a few words what an op and its arguments are; "" when they are to
// be shown as they are.
func (c Catalogue) Brief(words []string) string {
	if len(words) == 0 {
		return ""
	}
	if e, ok := c.Lookup(words[0]); ok && e.Brief != nil {
		return words[0] + " " + e.Brief(words[1:])
	}
	return ""
}

func (c Catalogue) names() []string {
	names := make([]string, len(c))
	for i, e := range c {
		names[i] = e.Name
	}
	return names
}

// Stock is the ops that come with conc, in the order in which they are documented.
func Stock() Catalogue {
	return Catalogue{
		openBundleEntry(),
		closeBundleEntry(),
		deliverEntry(),
		putEntry(),
		fetchEntry(),
		templateEntry(),
		untarEntry(),
		createVenvEntry(),
		setupInstallEntry(),
		pipInstallEntry(),
		runEntry(),
		shellEntry(),
		mkdirEntry(),
		removeEntry(),
		moveEntry(),
		symlinkEntry(),
		keepEntry(),
		systemdEntry(),
		waitPortEntry(),
		waitHTTPEntry(),
		holdEntry(),
		mountSSHFSEntry(),
		unmountSSHFSEntry(),
	}
}
