package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/pkg/sftp"

	"example.org/conc/bundle"
	"example.org/conc/internal/sshconn"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// nodeRecords are a node's own records of its runs, read as files: no agent is
// started for it, and nothing is changed.
type nodeRecords struct {
	ctx     context.Context //nolint:containedctx // of the command that they are read for
	conn    *sshconn.Conn
	files   *sftp.Client
	release func() bool // of ctx from the connection
}

const (
	nodeRuns  = ".conc/runs" // below the admin's home, where SFTP begins
	maxOutput = 17 << 20     // bytes read of one out-NN.log: more than an agent keeps
)

// nodeHistory connects to a node to read its records.
func (p *program) nodeHistory(ctx context.Context, t task) (*nodeRecords, error) {
	conn, err := sshconn.Dial(ctx, t.target, p.sshOptions(t.node))
	if err != nil {
		return nil, err
	}
	files, err := conn.SFTP(ctx)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	// SFTP knows no context: whoever stops waiting for a node cuts the line.
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return &nodeRecords{ctx: ctx, conn: conn, files: files, release: release}, nil
}

func (n *nodeRecords) close() {
	n.release()
	_ = n.files.Close()
	_ = n.conn.Close()
}

// runs lists the ids of the runs that the node remembers.
func (n *nodeRecords) runs(ctx context.Context) ([]string, error) {
	entries, err := n.files.ReadDirContext(ctx, nodeRuns)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("~/%s on the node: %w", nodeRuns, err)
	}
	var runs []string
	for _, e := range entries {
		if bundle.ValidRun(e.Name()) {
			runs = append(runs, e.Name())
		}
	}
	return newest(runs), nil
}

// journal reads the node's records of a run: none, when it has no journal.
func (n *nodeRecords) journal(run string) ([]jobs.Record, error) {
	name := path.Join(nodeRuns, run, "journal")
	f, err := n.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	records, _, err := runner.ParseJournal(io.LimitReader(f, runner.MaxJournal), "~/"+name)
	return records, n.orStopped(err)
}

// open opens a regular file of the node. A FIFO would be waited for, for ever.
func (n *nodeRecords) open(name string) (*sftp.File, error) {
	fi, err := n.files.Lstat(name)
	if err != nil {
		return nil, n.orStopped(err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("~/%s: it is not a regular file", name)
	}
	f, err := n.files.Open(name)
	return f, n.orStopped(err)
}

// orStopped gives the reason why a line was cut, where it was the operator.
func (n *nodeRecords) orStopped(err error) error {
	if err != nil && n.ctx.Err() != nil {
		return n.ctx.Err()
	}
	return err
}

// output reads all that the node has kept of a step's output.
func (n *nodeRecords) output(run string, step int) (text string, kept bool, err error) {
	f, err := n.open(path.Join(nodeRuns, run, fmt.Sprintf("out-%02d.log", step)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxOutput))
	return string(data), true, n.orStopped(err)
}

// newest sorts runs, the newest first, and gives as many as history lists. An
// id begins with its time.
func newest(runs []string) []string {
	slices.Sort(runs)
	slices.Reverse(runs)
	return runs[:min(len(runs), historyRuns)]
}
