package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// logLine is what is read of a line of a run's log.
type logLine struct {
	Time   time.Time   `json:"time"`
	Type   runner.Type `json:"type"`
	Node   string      `json:"node"`
	Step   int         `json:"step"`
	Name   string      `json:"name"`
	Host   jobs.Host   `json:"host"`
	Status jobs.Status `json:"status"`
	Took   float64     `json:"took"` // milliseconds
	Error  string      `json:"error"`
	Exit   int         `json:"exit"`
	Signal int         `json:"signal"`
	Lines  int         `json:"lines"`
	Bytes  int64       `json:"bytes"`
	Remark string      `json:"remark"`
	Output string      `json:"output"`
}

func (p *program) logPath(run string) string { return filepath.Join(p.runDir(run), "log.jsonl") }

// openLog opens a run's log. What is no regular file is refused: nobody waits
// for a FIFO.
func openLog(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) {
		return nil, fmt.Errorf("%s: it is not a regular file", path)
	}
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		_ = f.Close()
		return nil, cmp.Or(err, fmt.Errorf("%s: it is not a regular file", path))
	}
	return f, nil
}

// eachLogged tells of the lines of a run's log that are about a node, or "" for
// all of them, and of one of the types. A line that cannot be read, such as a torn one, is passed over:
// the log is there to be looked at, nothing is decided by it.
func (p *program) eachLogged(run, node string, tell func(logLine), types ...runner.Type) error {
	f, err := openLog(p.logPath(run), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	in := bufio.NewReaderSize(f, 256<<10)
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		wanted := slices.ContainsFunc(types, func(t runner.Type) bool {
			return bytes.Contains(text, []byte(`"type":"`+string(t)+`"`))
		})
		var l logLine
		if wanted && json.Unmarshal(text, &l) == nil && (node == "" || l.Node == node) && slices.Contains(types, l.Type) {
			tell(l)
		}
	}
}

// logOf is what a run's log has of its nodes, which this workstation's journal
// has not. It is read once for all of them.
type logOf struct {
	run     string
	records map[string][]jobs.Record // of remote steps, by node
	ended   map[string]jobs.Status   // the last one
}

// logged gives what the log has of a node's remote steps, and the last status
// that the node ended with.
func (p *program) logged(run, node string) (records []jobs.Record, ended jobs.Status, err error) {
	if p.log.run != run {
		if err := p.readLog(run); err != nil {
			return nil, "", err
		}
	}
	return p.log.records[node], p.log.ended[node], nil
}

func (p *program) readLog(run string) error {
	log := logOf{run: run, records: map[string][]jobs.Record{}, ended: map[string]jobs.Status{}}
	err := p.eachLogged(run, "", func(l logLine) {
		r := jobs.Record{Type: jobs.RecordBegin, Time: l.Time, Step: l.Step, Name: l.Name}
		switch {
		case l.Type == runner.NodeEnd:
			log.ended[l.Node] = l.Status
			return
		case l.Host != jobs.Remote:
			return
		case l.Type == runner.StepEnd:
			r.Type = jobs.RecordEnd
			r.Result = &jobs.Result{
				Step: l.Step, Status: l.Status, Message: l.Error, Note: l.Remark, Exit: l.Exit, Signal: l.Signal,
				Lines: l.Lines, Bytes: l.Bytes, Took: time.Duration(l.Took * float64(time.Millisecond)),
			}
		}
		log.records[l.Node] = append(log.records[l.Node], r)
	}, runner.StepStart, runner.StepEnd, runner.NodeEnd)
	if err == nil {
		p.log = log
	}
	return err
}

// loggedOutput gives the output of a step's last try, as the log has it.
func (p *program) loggedOutput(run, node string, step int) (string, error) {
	var b bytes.Buffer
	err := p.eachLogged(run, node, func(l logLine) {
		switch {
		case l.Step != step:
		case l.Type == runner.StepStart:
			b.Reset()
		default:
			b.WriteString(l.Output)
		}
	}, runner.StepStart, runner.Output)
	return b.String(), err
}
