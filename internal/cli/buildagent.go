package cli

import (
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"example.org/conc/internal/ui"
)

func (p *program) buildAgentCmd() *cobra.Command {
	goos, goarch, out := "linux", "", ""
	cmd := &cobra.Command{
		Use:   "build-agent",
		Short: "Build this program for the nodes of another platform",
		Long: `Build this very program for another platform. It needs the Go toolchain, and the
program's sources: the package that it was built of is looked for from the current
folder, that of deploy.ini, and that of the program's file. Sources that have
changed since this program was built are refused, because both ends of a deploy
have to be the same program.

Without -o what is built is kept in $XDG_CACHE_HOME/conc/agents, where this program
finds it. A deploy that meets a node of another platform does the same by itself.
With -o FILE it is for a workstation without Go or sources: put it beside the
program there, or into the folder that the attribute agent.dir names, under the
name conc_OS_ARCH.

Standard output is the file's path. ERROR: it cannot be built here; why is said.`,
		Example: `  conc build-agent --arch arm64
  conc build-agent --os freebsd --arch amd64 -o dist/conc_freebsd_amd64`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var file string
			var err error
			switch {
			case goarch == "" || goos == "":
				return usagef("for which platform? --os linux --arch arm64")
			case !platformWord().MatchString(goos) || !platformWord().MatchString(goarch):
				return usagef("--os and --arch are names that go knows: linux, arm64; go tool dist list has all")
			case !slices.Contains(systems, goos):
				return usagef("--os: %s", foreignSystem(goos))
			case goos == runtime.GOOS && goarch == runtime.GOARCH:
				return usagef("%s/%s is this program's own platform: its nodes get this program itself", goos, goarch)
			case out == "":
				file, err = p.agentFor(cmd.Context(), goos, goarch)
			default:
				if file, err = filepath.Abs(out); err == nil {
					err = p.buildAgent(cmd.Context(), goos, goarch, file)
				}
			}
			if err != nil {
				return err
			}
			if p.flags.json {
				return p.printJSON(struct {
					V    int    `json:"v"`
					Type string `json:"type"`
					OS   string `json:"os"`
					Arch string `json:"arch"`
					File string `json:"file"`
				}{1, "agent", goos, goarch, file})
			}
			_, err = fmt.Fprintln(p.streams.Out, ui.Line(file))
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&goos, "os", "linux", "the nodes' operating `SYSTEM`, as Go calls it")
	f.StringVar(&goarch, "arch", "", "their `ARCHITECTURE`, as Go calls it: amd64, arm64, arm, 386, riscv64")
	f.StringVarP(&out, "output", "o", "", "write `FILE` instead of keeping it in the cache")
	_ = cmd.RegisterFlagCompletionFunc("os", cobra.FixedCompletions(systems, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("arch", cobra.FixedCompletions([]string{"amd64", "arm64", "arm", "386", "riscv64", "ppc64le", "s390x", "loong64"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// systems are the operating systems that conc is written for.
var systems = []string{"linux", "freebsd", "darwin"}

func foreignSystem(goos string) string {
	return fmt.Sprintf("conc runs on %s, and not on %s", strings.Join(systems, ", "), goos)
}

// platformWord is what an operating system or an architecture is called.
var platformWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]+$`) })
