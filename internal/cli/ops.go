package cli

import "example.org/conc/jobs"

// catalogue is every op that a line of deploy.ini can name.
func (p *program) catalogue() jobs.Catalogue { return p.app.Ops }
