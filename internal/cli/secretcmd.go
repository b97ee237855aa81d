package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/zalando/go-keyring"

	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

func (p *program) secretCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Keep secrets in the keyring of this workstation",
		Long: `A value "secret:NAME" in deploy.ini is looked up when it is needed: in the
environment (CONC_SECRET_NAME), then in the keyring of the operating system,
then by asking you. These commands keep what is in the keyring.`,
		Args: groupArgs,
		RunE: group,
	}
	set := &cobra.Command{
		Use:   "set NAME",
		Short: "Ask for a secret, and keep it in the keyring",
		Long: `Ask for a secret without echo, and keep it in the keyring of the operating
system. Off a terminal it is the first line of standard input.`,
		Example:           `  conc secret set db-web1`,
		Args:              exactly(1),
		ValidArgsFunction: p.completeSecrets,
		RunE:              func(cmd *cobra.Command, args []string) error { return p.setSecret(cmd.Context(), args[0]) },
	}
	remove := &cobra.Command{
		Use:               "delete NAME",
		Short:             "Take a secret out of the keyring",
		Args:              exactly(1),
		ValidArgsFunction: p.completeSecrets,
		RunE:              func(_ *cobra.Command, args []string) error { return p.deleteSecret(args[0]) },
	}
	list := &cobra.Command{
		Use:               "list",
		Short:             "List the secrets that deploy.ini names, and where each is found",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return p.listSecrets() },
	}
	cmd.AddCommand(set, remove, list)
	return cmd
}

// keyringError says why there is no keyring to use; nil when there may be one.
func (p *program) keyringError(name string) error {
	if p.hasKeyring() {
		return nil
	}
	return jobs.Errorf("there is no keyring in this session").
		WithHint("a keyring needs a session bus (DBUS_SESSION_BUS_ADDRESS); without one, set %s in the environment", secretVariable(name))
}

// secretName is what deploy.ini takes as a secret's name.
var secretName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.-]+$`) })

func (p *program) setSecret(ctx context.Context, name string) error {
	if !secretName().MatchString(name) {
		return usagef("%q: a secret's name is made of letters, digits, _ . and -", name)
	}
	if err := p.keyringError(name); err != nil {
		return err
	}
	value, err := p.prompt(ctx, fmt.Sprintf("Secret %s:", name))
	if errors.Is(err, errNobody) {
		value, err = firstLineOf(p.streams.In)
	}
	switch {
	case err != nil:
		return err
	case value == "":
		return jobs.Errorf("secret %s: it is empty; nothing was kept", name)
	}
	if err := keyring.Set(keyringService, name, value); err != nil {
		return fmt.Errorf("the keyring does not take it: %w", err)
	}
	_, err = fmt.Fprintf(p.streams.Out, "OK  secret %s is in the keyring\n", name)
	return err
}

// maxSecret bounds what is read as a secret, in bytes.
const maxSecret = 64 << 10

func firstLineOf(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSecret))
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), err
}

func (p *program) deleteSecret(name string) error {
	if err := p.keyringError(name); err != nil {
		return err
	}
	switch err := keyring.Delete(keyringService, name); {
	case errors.Is(err, keyring.ErrNotFound):
		return jobs.Blockedf("secret %s is not in the keyring", name)
	case err != nil:
		return fmt.Errorf("the keyring does not let it go: %w", err)
	}
	_, err := fmt.Fprintf(p.streams.Out, "OK  secret %s is no longer in the keyring\n", ui.Line(name))
	return err
}

// secretJSON is a secret for programs: never its value.
type secretJSON struct {
	V     int      `json:"v"`
	Type  string   `json:"type"`
	Name  string   `json:"name"`
	Found string   `json:"found"` // environment, keyring, or "" when it will be asked for
	Used  []string `json:"used"`  // node:key
}

func (p *program) listSecrets() error {
	f, err := p.load()
	if err != nil {
		return err
	}
	used, err := secretsOf(f)
	if err != nil {
		return err
	}
	rows := [][]string{{"SECRET", "FOUND IN", "USED BY"}}
	for _, name := range sortedKeys(used) {
		found := p.secretPlace(name)
		if p.flags.json {
			if err := p.printJSON(secretJSON{V: 1, Type: "secret", Name: name, Found: found, Used: used[name]}); err != nil {
				return err
			}
			continue
		}
		by := used[name][0]
		if more := len(used[name]) - 1; more > 0 {
			by += fmt.Sprintf(" and %d more", more)
		}
		if found == "" {
			found = "(asked for)"
		}
		rows = append(rows, []string{name, found, by})
	}
	if p.flags.json {
		return nil
	}
	if len(rows) == 1 {
		_, err = fmt.Fprintln(p.streams.Out, "deploy.ini names no secrets")
		return err
	}
	_, err = fmt.Fprint(p.streams.Out, ui.Table(rows))
	return err
}

// secretPlace tells where a secret would be found, without showing it.
func (p *program) secretPlace(name string) string {
	if p.env.Getenv(secretVariable(name)) != "" {
		return "environment"
	}
	if p.hasKeyring() {
		if _, err := keyring.Get(keyringService, name); err == nil {
			return "keyring"
		}
	}
	return ""
}

// secretsOf lists the secrets that the nodes of a file name, with the node:key
// that names each.
func secretsOf(f *config.File) (map[string][]string, error) {
	used := map[string][]string{}
	for _, name := range f.NodeNames() {
		n, err := f.Node(name)
		if err != nil {
			return nil, err
		}
		for _, a := range n.Attrs() {
			for _, secret := range config.SecretNames(a.Value) {
				used[secret] = append(used[secret], name+":"+a.Key)
			}
		}
	}
	return used, nil
}

func sortedKeys(m map[string][]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// completeSecrets offers the secrets that deploy.ini names.
func (p *program) completeSecrets(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	f, err := p.read()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	used, err := secretsOf(f)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return sortedKeys(used), cobra.ShellCompDirectiveNoFileComp
}
