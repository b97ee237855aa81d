package jobs

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
