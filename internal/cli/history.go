package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.org/conc/bundle"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// historyRuns is how many runs are listed: as many as a node remembers.
const historyRuns = 20

func (p *program) historyCmd() *cobra.Command {
	var step string
	cmd := &cobra.Command{
		Use:   "history [NODE] [RUN]",
		Short: "Show past runs: who, what, when, and how each ended",
		Long: `List the last 20 runs that this workstation knows, or, with NODE, those of that
node: what the node itself has on record is read, and joined with what is here.
With RUN, as short as the screens show it, or whole, show that run's steps, and
with --step all output of one of them.

Without NODE nothing is connected to, and what others did from elsewhere is not
known: a step that was marked, a bundle that was given up. The output of a remote
step is then what came here while it ran; all of it is on the node.`,
		Example: `  conc history
  conc history web1
  conc history W9QZ3XJ4
  conc history W9QZ3XJ4 --step 9
  conc history web1 W9QZ3XJ4 --step install`,
		Args:              between(0, 2),
		ValidArgsFunction: p.completeNode(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.history(cmd.Context(), args, step)
		},
	}
	cmd.Flags().StringVar(&step, "step", "", "show the output of `STEP`, a number or a name")
	return cmd
}

func (p *program) history(ctx context.Context, args []string, step string) error {
	runs, err := p.knownRuns()
	if err != nil {
		return err
	}
	var node, run string
	switch {
	case len(args) == 2:
		node, run = args[0], args[1]
	case len(args) == 1 && slices.ContainsFunc(runs, isRun(args[0])):
		run = args[0]
	case len(args) == 1:
		node = args[0]
	}
	if step != "" && run == "" {
		return usageError{err: errors.New("--step is a step of a run"), hint: "name the run too: " + p.toType("history") + " shows them"}
	}
	var all []pastRun
	var unreached error
	var there *nodeRecords
	if node == "" {
		all, err = p.pastHere(runs, "", run)
	} else {
		var t task
		if t, err = p.historyTask(node); err != nil {
			return err
		}
		ctx, stop := interruptible(ctx)
		defer stop()
		if there, unreached = p.nodeHistory(ctx, t); unreached != nil {
			all, err = p.pastHere(runs, t.node.Name(), run)
		} else {
			defer there.close()
			all, err = p.pastThere(ctx, there, runs, t.node.Name(), run)
		}
	}
	switch {
	case err != nil:
		return err
	case run == "":
		err = p.showRuns(all)
	case len(all) == 0 && unreached == nil:
		return usageError{err: fmt.Errorf("no run %s is on record", run), hint: p.toType("history") + " shows those of this workstation, " + p.toType("history", "NODE") + " those of a node"}
	case step == "":
		err = p.showPast(all)
	default:
		err = p.showOutput(there, all, step)
	}
	return errors.Join(err, unreached)
}

// historyTask finds the node that was named.
func (p *program) historyTask(name string) (task, error) {
	t, err := p.at(name)
	if err != nil {
		if bundle.ValidRun(name) && (len(name) == 8 || len(name) == 26) {
			p.warn("this workstation knows no run " + name + "; as a node:")
		}
	}
	return t, err
}

// isRun tells of runs whether they are the one that id names, short or whole.
func isRun(id string) func(run string) bool {
	return func(run string) bool {
		return strings.EqualFold(run, id) || strings.EqualFold(bundle.Short(run), id)
	}
}

// knownRuns lists the runs of this workstation, the newest first.
func (p *program) knownRuns() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(p.env.StateDir, "runs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var runs []string
	for _, e := range entries {
		if bundle.ValidRun(e.Name()) {
			runs = append(runs, e.Name())
		}
	}
	slices.Sort(runs)
	slices.Reverse(runs)
	return runs, nil
}

// pastHere gives what this workstation has on record, the newest first: of one
// node and one run, where they are named, and of no more than are listed.
func (p *program) pastHere(runs []string, node, run string) ([]pastRun, error) {
	var all []pastRun
	for _, id := range runs {
		if run != "" && !isRun(run)(id) {
			continue
		}
		found, err := filepath.Glob(filepath.Join(p.runDir(id), "*.journal"))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			name := strings.TrimSuffix(filepath.Base(path), ".journal")
			if node != "" && name != node {
				continue
			}
			if r, ok := p.pastRun(id, name, nil); ok {
				all = append(all, r)
			}
		}
		if len(all) >= historyRuns {
			break
		}
	}
	return all, nil
}

// pastThere joins what a node has on record with what this workstation has.
func (p *program) pastThere(ctx context.Context, there *nodeRecords, here []string, node, run string) ([]pastRun, error) {
	ids, err := there.runs(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string][]jobs.Record{}
	for _, id := range ids {
		if run != "" && !isRun(run)(id) {
			continue
		}
		records, err := there.journal(id)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			p.warn(err.Error())
			continue
		}
		known[id] = records
	}
	for _, id := range here {
		if _, err := os.Stat(p.journalPath(id, node)); err == nil && (run == "" || isRun(run)(id)) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	var all []pastRun
	for _, id := range newest(ids) {
		if run != "" && !isRun(run)(id) {
			continue
		}
		if r, ok := p.pastRun(id, node, known[id]); ok {
			all = append(all, r)
		}
	}
	return all, nil
}

// pastRun reads one node's part of a run. there are the node's own records;
// without any, the log of this workstation tells of the remote steps. What
// cannot be read is told of, and left out.
func (p *program) pastRun(run, node string, there []jobs.Record) (pastRun, bool) {
	here, err := p.records(run, node)
	if err != nil {
		p.warn(err.Error())
	}
	logged, ended, err := p.logged(run, node)
	if err != nil {
		p.warn(err.Error())
	}
	r := pastRun{run: run, node: node, ended: ended, asked: len(there) > 0}
	if _, err := os.Stat(p.logPath(run)); err == nil {
		r.log = p.logPath(run)
	}
	records := runner.Merge(there, here)
	if len(there) == 0 {
		records = inOrder(here, logged)
	}
	r.take(records)
	return r, r.state.Plan != nil && r.state.Plan.Node == node
}

// showRuns lists runs, a line each.
func (p *program) showRuns(all []pastRun) error {
	if p.flags.json {
		return p.pastJSON(all, false)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(p.streams.Out, "no run is on record")
		return err
	}
	rows := [][]string{{"RUN", "WHEN", "NODE", "LIST", "VERSION", "BY", "STEPS", "STATUS", "TIME", "NOTE"}}
	for _, r := range all {
		rows = append(rows, []string{
			bundle.Short(r.run), r.state.Since.In(p.env.Now().Location()).Format("2006-01-02 15:04"), r.node,
			r.state.Plan.List, r.state.Plan.Release, r.state.First.By,
			fmt.Sprintf("%d/%d", r.done(), len(r.state.Steps)), r.status(), ui.Took(r.took()), r.note(),
		})
	}
	_, err := fmt.Fprint(p.streams.Out, ui.Noted(rows, p.width()))
	return err
}
