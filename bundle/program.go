package bundle

// Program is the deploy program that a run was made with: conc itself, or one of
// the application's own. In records of others it is not to be trusted, and not
// escaped.
type Program struct {
	Name     string `json:"name"`
	Release  string `json:"release,omitempty"`  // of the application that it is part of
	Revision string `json:"revision,omitempty"` // the commit that it was built from
	Modified bool   `json:"modified,omitempty"` // from a work tree with changes
}

// Stock is the name of the program that has nothing of an application in it.
const Stock = "conc"

// Own tells whether it is an application's own; nil is not.
func (p *Program) Own() bool { return p != nil && (p.Name != Stock || p.Release != "") }

// String gives "shop-deploy 1.4.2 (3f2a9c1d04be, modified)".
func (p *Program) String() string {
	s := p.Name
	if p.Release != "" {
		s += " " + p.Release
	}
	if p.Revision != "" {
		s += " (" + p.Revision[:min(len(p.Revision), 12)]
		if p.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return s
}
