package cli

import (
	"errors"
	"fmt"
	"os"

	"example.org/conc/internal/ui"
	"example.org/conc/runner"
)

// runLogs are the logs of the runs that a command is at work on: several, where
// nodes are gone on with that were not of one run.
type runLogs struct {
	ids   []string
	files []*os.File
	sinks map[string]runner.Sink // by id
}

func (p *program) openLogs(ids []string) (*runLogs, error) {
	l := &runLogs{ids: ids, sinks: map[string]runner.Sink{}}
	for _, id := range ids {
		f, err := createLog(p.logPath(id))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the log of this run cannot be kept: %w", err), l.close())
		}
		l.files, l.sinks[id] = append(l.files, f), ui.Log(f)
	}
	return l, nil
}

// keep writes an event to the log of its run; how the command begins and ends is
// in each of them.
func (l *runLogs) keep(e runner.Event) {
	if e.Type != runner.RunStart && e.Type != runner.RunEnd && e.Type != runner.Hold {
		l.sinks[e.Run](e)
		return
	}
	for _, id := range l.ids {
		e.Run = id
		l.sinks[id](e)
	}
}

func (l *runLogs) close() error {
	var all error
	for _, f := range l.files {
		all = errors.Join(all, f.Close())
	}
	return all
}
