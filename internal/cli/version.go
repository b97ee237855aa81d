package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Version is conc's own.
const Version = "0.1.0"

// build is what `conc version` says.
type build struct {
	V        int    `json:"v"`
	Version  string `json:"version"`
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
			b := build{V: 1, Version: Version, Release: p.app.Release, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					switch s.Key {
					case "vcs.revision":
						b.Revision = s.Value
					case "vcs.modified":
						b.Modified = s.Value == "true"
					}
				}
			}
			if p.flags.json {
				return json.NewEncoder(p.streams.Out).Encode(b)
			}
			_, err := fmt.Fprintln(p.streams.Out, b.text(p.name()))
			return err
		},
	}
}

// text gives "conc 0.1.0 (3f2a9c1d04be, modified) go1.26.0 linux/amd64".
func (b build) text(name string) string {
	s := name
	if b.Release != "" {
		s += " " + b.Release + ", conc"
	}
	s += " " + b.Version
	if b.Revision != "" {
		rev := b.Revision[:min(len(b.Revision), 12)]
		if b.Modified {
			rev += ", modified"
		}
		s += " (" + rev + ")"
	}
	return strings.Join([]string{s, b.Go, b.OS + "/" + b.Arch}, " ")
}
