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
	conn  *sshconn.Conn
	files *sftp.Client
}

const (
	nodeRuns   = ".conc/runs" // below the admin's home, where SFTP begins
	maxJournal = 16 << 20     // bytes read of one journal of a node
	maxOutput  = 17 << 20     // of one out-NN.log: more than an agent keeps
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
	return &nodeRecords{conn: conn, files: files}, nil
}

func (n *nodeRecords) close() {
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
	f, err := n.files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	records, _, err := runner.ParseJournal(io.LimitReader(f, maxJournal), "~/"+name)
	return records, err
}

// output reads all that the node has kept of a step's output.
func (n *nodeRecords) output(run string, step int) (text string, kept bool, err error) {
	f, err := n.files.Open(path.Join(nodeRuns, run, fmt.Sprintf("out-%02d.log", step)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxOutput))
	return string(data), true, err
}

// newest sorts runs, the newest first, and gives as many as history lists. An
// id begins with its time.
func newest(runs []string) []string {
	slices.Sort(runs)
	slices.Reverse(runs)
	return runs[:min(len(runs), historyRuns)]
}
