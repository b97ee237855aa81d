package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"example.org/conc/internal/sshconn"
	"example.org/conc/jobs"
)

// trusted is what `conc trust --json` says.
type trusted struct {
	V        int          `json:"v"`
	Node     string       `json:"node"`
	Target   string       `json:"target"`
	Keys     []trustedKey `json:"keys"`
	Recorded string       `json:"recorded,omitempty"` // the file that keys were added to
}

type trustedKey struct {
	Type        string `json:"type"`
	Fingerprint string `json:"fingerprint"`
	State       string `json:"state"`
	Record      string `json:"record,omitempty"` // file:line that it differs from
}

// ownKey is what a person types on the node's console to compare with.
const ownKey = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"

func (p *program) trustCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "trust NODE",
		Short: "Show a node's host keys, and record them once compared",
		Long: `Fetches the host keys that the node shows, without logging in, and compares
them with your known_hosts. Those that are new are recorded once you say so.
Compare the fingerprints first with what the node itself says, on its console:

  ` + ownKey + `

conc never trusts a key by itself. A key that has changed is never replaced,
by any flag: find out why, then remove the old one by hand with ssh-keygen -R.
A node with sshd.hostkey in ` + defaultFile + ` is judged by that alone.`,
		Example:           "  " + p.name() + " trust web1",
		Args:              exactly(1),
		ValidArgsFunction: p.completeNode(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.trust(cmd.Context(), args[0], yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "record new keys without being asked, in a script that knows the node is the right one")
	return cmd
}

// trust shows the keys, and records what is new.
func (p *program) trust(ctx context.Context, name string, yes bool) error {
	found, err := p.at(name)
	if err != nil {
		return err
	}
	node, t := found.node, found.target
	o := p.sshOptions(node)
	keys, err := sshconn.Scan(ctx, t, o)
	if err != nil {
		return err
	}
	report := trusted{V: 1, Node: node.Name(), Target: t.String()}
	for _, k := range keys {
		report.Keys = append(report.Keys, trustedKey{k.Type, k.Fingerprint, k.State.String(), k.Record})
	}
	if !p.flags.json {
		if err := showKeys(p.streams.Out, report); err != nil {
			return err
		}
	}
	fresh, err := p.freshKeys(node.Name(), t, keys)
	if err == nil && len(fresh) > 0 {
		if err = p.agree(ctx, yes, node.Name(), len(fresh)); err == nil {
			report.Recorded, err = sshconn.Record(t, fresh, o)
		}
	}
	if p.flags.json {
		if encErr := json.NewEncoder(p.streams.Out).Encode(report); err == nil {
			err = encErr
		}
		return err
	}
	switch {
	case err != nil:
		return err
	case report.Recorded != "":
		_, err = fmt.Fprintf(p.streams.Out, "recorded in %s\n", report.Recorded)
	case t.HostKey != "":
		_, err = fmt.Fprintln(p.streams.Out, "sshd.hostkey is the node's key; there is nothing to record")
	default:
		_, err = fmt.Fprintln(p.streams.Out, "every key is on record")
	}
	return err
}

// freshKeys are the ones to record. Keys that contradict the record are an
// error: nothing at all is recorded beside them.
func (p *program) freshKeys(node string, t sshconn.Target, keys []sshconn.HostKey) ([]sshconn.HostKey, error) {
	var fresh []sshconn.HostKey
	known := false
	for _, k := range keys {
		switch k.State {
		case sshconn.Changed:
			return nil, &sshconn.Error{
				Kind: sshconn.ChangedKey,
				Err:  fmt.Errorf("%s: THE HOST KEY HAS CHANGED: it shows %s %s, which is not what is on record%s; nothing was recorded", node, k.Type, k.Fingerprint, at(k.Record)),
				Hint: "someone may be reading along. If the node was made anew, and you\ncompared the key there, remove the old one by hand:\n" + t.Forget(k) + "\nthen: " + p.name() + " " + quote(append(p.flags.again(), "trust", node)...),
			}
		case sshconn.Known:
			known = true
		default:
			fresh = append(fresh, k)
		}
	}
	if t.HostKey == "" {
		return fresh, nil
	}
	if !known {
		return nil, &sshconn.Error{
			Kind: sshconn.ChangedKey,
			Err:  fmt.Errorf("%s: none of its host keys is the one of sshd.hostkey, %s", node, t.HostKey),
			Hint: "if the node was made anew, and you compared the key there, change sshd.hostkey",
		}
	}
	return nil, nil
}

func at(record string) string {
	if record == "" {
		return ""
	}
	return " at " + record
}

// agree asks whether the keys are to be recorded.
func (p *program) agree(ctx context.Context, yes bool, node string, n int) error {
	if yes {
		return nil
	}
	what := "this key"
	if n > 1 {
		what = fmt.Sprintf("these %d new keys", n)
	}
	if p.terminal() == nil || p.flags.json {
		return jobs.Blockedf("%s: %s must be confirmed, and there is nobody to ask; nothing was recorded", node, what).
			WithHint("in a script that knows the node is the right one: %s", p.name()+" "+quote(append(p.flags.again(), "trust", node, "-y")...))
	}
	ok, err := p.confirm(ctx, fmt.Sprintf("Compare with what the node itself says, on its console:\n  %s\n\nDid you compare, and is %s to be trusted?", ownKey, what))
	if err != nil {
		return err
	}
	if !ok {
		return jobs.Stoppedf("%s: nothing was recorded", node)
	}
	return nil
}

// showKeys prints the table.
func showKeys(w io.Writer, t trusted) error {
	if _, err := fmt.Fprintf(w, "%s = %s\n\n", t.Node, t.Target); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TYPE\tFINGERPRINT\tSTATE")
	for _, k := range t.Keys {
		fmt.Fprintf(table, "%s\t%s\t%s\n", k.Type, k.Fingerprint, k.State)
	}
	fmt.Fprintln(table)
	return table.Flush()
}
