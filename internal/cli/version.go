package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"example.org/conc/bundle"
)

// Version is conc's own.
const Version = "0.1.0"

// build is what `conc version` says.
type build struct {
	V        int    `json:"v"`
	Version  string `json:"version"`           // of conc
	Name     string `json:"name"`              // of the program
	Release  string `json:"release,omitempty"` // of the application compiled in
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a work tree with changes
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func (p *program) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Say which conc this is, and what it was built from",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			id := p.identity()
			b := build{
				V: 1, Name: id.Name, Version: Version, Release: id.Release, Revision: id.Revision, Modified: id.Modified,
				Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
			}
			if p.flags.json {
				return json.NewEncoder(p.streams.Out).Encode(b)
			}
			_, err := fmt.Fprintln(p.streams.Out, b.text())
			return err
		},
	}
}

// text gives "conc 0.1.0 (3f2a9c1d04be, modified) go1.26.0 linux/amd64", and of a
// program of somebody's own "shop 1.4.2 (3f2a9c1d04be), conc 0.1.0 go1.26.0 linux/amd64".
func (b build) text() string {
	id := bundle.Program{Name: b.Name, Release: b.Release, Revision: b.Revision, Modified: b.Modified}
	s := id.String() + ", conc " + b.Version
	if !id.Own() {
		id.Release = b.Version
		s = id.String()
	}
	return strings.Join([]string{s, b.Go, b.OS + "/" + b.Arch}, " ")
}
