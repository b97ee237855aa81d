package nodetest

import (
	"fmt"
	"slices"

	"example.org/conc/config"
)

// Entry is one kind of check: how a line of deploy.ini names it and how its
// arguments become a Check. `conc ops` and the manual print it.
type Entry struct {
	Name    string
	Args    string // usage: "PATH [PROPERTY [VALUE]]..."
	Summary string // one line, lower case, no full stop
	Help    string // paragraphs: what each property wants, what is SKIPPED or ERROR
	Example string // one line for deploy.ini, from the modifiers on
	Goss    string // the resource of goss that it stands for; may be empty
	// Alone says that it may change something, or is changed by others' doing:
	// checks of such kinds run one after the other, in the suite's order.
	Alone bool
	// Parse makes the check of its arguments, which are substituted (a secret is
	// still a token). It is pure. It checks number and form of the arguments.
	Parse func(args []string) (Check, error)
	// Err says that the entry itself is wrong, and cannot be used: see Typed. The
	// program tells it when it starts.
	Err error
}

// Catalogue is the kinds of checks that a program knows, read top to bottom.
type Catalogue []Entry

// Stock is the checks that come with conc, in the order in which they are documented.
func Stock() Catalogue {
	return Catalogue{
		fileEntry(),
		dirEntry(),
		symlinkEntry(),
		socketEntry(),
		mountEntry(),
		diskEntry(),
		commandEntry(),
		processEntry(),
		serviceEntry(),
		packageEntry(),
		userEntry(),
		groupEntry(),
		portEntry(),
		httpEntry(),
		certEntry(),
		dnsEntry(),
		netifEntry(),
		sysctlEntry(),
		moduleEntry(),
		environEntry(),
		loadEntry(),
		memoryEntry(),
		clockEntry(),
	}
}

// Lookup finds a kind of check by its name.
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

// want is a property that a check's line names, and the value that goes with it.
type want struct{ property, value string }

// grammar is the properties that a kind of check knows.
type grammar struct {
	flags  []string                      // stand alone: exists
	values map[string]func(string) error // take one value, which is judged: nil is any
}

// read takes "PROPERTY [VALUE]" pairs apart.
func (g grammar) read(args []string) ([]want, error) {
	var wants []want
	for len(args) > 0 {
		p := args[0]
		args = args[1:]
		judge, takes := g.values[p]
		switch {
		case takes && len(args) == 0:
			return nil, fmt.Errorf("%s needs a value", p)
		case takes:
			// What a secret stands for is judged when it is known.
			if judge != nil && len(config.SecretNames(args[0])) == 0 {
				if err := judge(args[0]); err != nil {
					return nil, fmt.Errorf("%s %s: %w", p, config.Mask(args[0]), err)
				}
			}
			wants = append(wants, want{p, args[0]})
			args = args[1:]
		case slices.Contains(g.flags, p):
			wants = append(wants, want{property: p})
		default:
			err := fmt.Errorf("unknown property %q", config.Mask(p))
			if hint := config.DidYouMean(p, g.names()); hint != "" {
				err = fmt.Errorf("%w; %s", err, hint)
			}
			return nil, err
		}
	}
	return wants, nil
}

func (g grammar) names() []string {
	names := append([]string(nil), g.flags...)
	for name := range g.values {
		names = append(names, name)
	}
	return names
}

// subject takes the first argument, which says what to look at.
func subject(args []string, what string) (string, []string, error) {
	if len(args) == 0 || args[0] == "" {
		return "", nil, fmt.Errorf("it needs %s", what)
	}
	return args[0], args[1:], nil
}
