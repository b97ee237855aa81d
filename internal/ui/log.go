package ui

import (
	"io"
	"time"

	"github.com/rs/zerolog"

	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// logOutputMax is how many bytes of one step's output the log keeps. A node keeps
// as many of its own steps' in its out-NN.log.
const logOutputMax = 16 << 20

// Log writes every event as a line of JSON: the full log of a run. Output is
// kept in strings, 16 MiB a step at most; JSON escapes what a terminal must not
// see.
func Log(w io.Writer) runner.Sink {
	log := zerolog.New(w)
	kept := map[string]int{} // bytes of output of the step that a node is at
	return func(e runner.Event) {
		switch e.Type {
		case runner.StepStart:
			kept[e.Node] = 0
		case runner.Output:
			room := logOutputMax - kept[e.Node]
			if room <= 0 {
				return
			}
			e.Data = e.Data[:min(len(e.Data), room)]
			kept[e.Node] += len(e.Data)
			if kept[e.Node] == logOutputMax {
				e.Text = "output truncated"
			}
		}
		line := log.WithLevel(level(e)).Str("time", e.Time.Format(time.RFC3339Nano)).Str("type", string(e.Type)).Str("run", e.Run)
		if e.Node != "" {
			line = line.Str("node", e.Node)
		}
		switch e.Type {
		case runner.RunStart:
			line = line.Str("command", e.Command).Strs("nodes", e.Nodes).Str("conc", e.Version)
			if e.Program != nil {
				line = line.Any("program", e.Program)
			}
		case runner.NodeStart:
			line = line.Str("target", e.Target).Str("list", e.Plan.List).Str("digest", e.Plan.Digest).Int("from", e.From).Int("to", e.To)
		case runner.StepStart:
			line = step(line, e.Step)
		case runner.Output:
			line = step(line, e.Step).Bytes("output", e.Data)
		case runner.Progress:
			line = step(line, e.Step).Int64("done", e.Done).Int64("total", e.Total)
		case runner.StepEnd:
			line = step(line, e.Step).Str("status", string(e.Result.Status)).Dur("took", e.Result.Took).
				Str("error", e.Result.Message).Int("exit", e.Result.Exit).Int("signal", e.Result.Signal).
				Int("lines", e.Result.Lines).Int64("bytes", e.Result.Bytes).Str("remark", e.Result.Note)
		case runner.TestEnd:
			line = logTests(line, e)
		case runner.NodeEnd:
			line = line.Str("status", string(e.Outcome.Status)).Int("step", e.Outcome.Stopped).
				Int("done", e.Outcome.Done).Int("not_started", e.Outcome.NotStarted).Dur("took", e.Outcome.Took).AnErr("error", e.Outcome.Err)
		case runner.RunEnd:
			line = line.Int("code", e.Code)
		}
		if e.Held != nil {
			line = line.Interface("held", e.Held)
		}
		line.Msg(e.Text)
	}
}

func step(line *zerolog.Event, s jobs.Step) *zerolog.Event {
	return line.Int("step", s.N).Str("name", s.Name).Str("host", string(s.Host)).Str("op", s.OpName)
}

// level is info for what went as asked.
func level(e runner.Event) zerolog.Level {
	switch {
	case e.Type == runner.Output || e.Type == runner.Progress:
		return zerolog.DebugLevel
	case e.Type == runner.StepEnd && e.Result.Status != jobs.OK,
		e.Type == runner.TestEnd && e.After && e.Tests.Status() != jobs.OK,
		e.Type == runner.NodeEnd && e.Outcome.Status != jobs.OK:
		return zerolog.ErrorLevel
	case e.Type == runner.Note || e.Type == runner.Lock:
		return zerolog.WarnLevel
	}
	return zerolog.InfoLevel
}
