package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"

	"al.essio.dev/pkg/shellescape"
	"github.com/spf13/cobra"

	"example.org/conc/jobs"
)

func (p *program) shellCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "shell NODE",
		Short: "Log in to a node, into its bundle",
		Long: `Log in to NODE with your own ssh program, with the port, key, known hosts and
jumps that conc itself uses, and start the account's login shell in the open
bundle; in the home directory, when no bundle is open. The exit code is that of
ssh: that of the shell, or 255 when it cannot connect.`,
		Example:           `  conc shell web1`,
		Args:              exactly(1),
		ValidArgsFunction: p.completeNode(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.shell(cmd.Context(), args[0])
		},
	}
}

func (p *program) shell(ctx context.Context, name string) error {
	t, err := p.at(name)
	if err != nil {
		return err
	}
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		return jobs.Errorf("there is no ssh program here").WithHint("install OpenSSH's client")
	}
	args := p.sshArgs(t.target)
	if p.terminal() != nil {
		args = slices.Insert(args, 0, "-t")
	}
	// ssh itself sees a Ctrl-C; to be asked to end, or to lose the terminal, is
	// passed on to it.
	keys := make(chan os.Signal, 1)
	signal.Notify(keys, os.Interrupt, syscall.SIGQUIT)
	defer signal.Stop(keys)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	cmd := exec.CommandContext(ctx, ssh, append(args, shellLine(t.node.Get("bundle")))...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.streams.In, p.streams.Out, p.streams.Err
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return ended{128 + int(s.Signal())}
	}
	return ended{exit.ExitCode()}
}

// shellLine is what the node's sshd is asked to run. The account's own shell
// reads it first, whichever that is: it gets one simple command.
func shellLine(bundle string) string {
	script := "cd ~/" + shellescape.Quote(bundle) + ` 2>/dev/null || echo "no bundle is open: this is the home directory" >&2; ` +
		`exec "${SHELL:-/bin/sh}" -l`
	return "exec /bin/sh -c " + shellescape.Quote(script)
}
