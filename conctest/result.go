package conctest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.org/conc/bundle"
	"example.org/conc/internal/rehearsal"
	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// Result is what a run came to.
type Result struct {
	Code   int         // the exit code; -1 when conc was killed
	Status jobs.Status // of the node's run; "" when conc was killed, or could not begin
	Steps  []Step      // those that ended, in order
	Output string      // of the steps
	Err    string      // what conc wrote to standard error
	Events []Event     // all that --json -v tells
	Calls  []Call      // of stubs, in this run alone

	Home    string        // the node's home, to read in
	Project string        // the folder of deploy.ini on the workstation
	Open    *bundle.Owner // who holds the node now; nil: nobody
	Run     string        // the run's id; "" when it has none
	Journal []jobs.Record // the node's, of this run

	w *world
}

// Step is how a step ended.
type Step struct {
	N       int         `json:"step"`
	Name    string      `json:"name"`
	Host    jobs.Host   `json:"where"`
	Status  jobs.Status `json:"status"`
	Exit    int         `json:"exit"`
	Message string      `json:"message"`
	Note    string      `json:"note"`
}

// Event is a line of --json: its type, and the whole of it.
type Event struct {
	Type string
	Data json.RawMessage
}

// Call is a call of a stub.
type Call = rehearsal.Call

// StatusOf gives how a step ended, by its name: "" when it did not.
func (r *Result) StatusOf(step string) jobs.Status {
	for _, s := range r.Steps {
		if s.Name == step {
			return s.Status
		}
	}
	return ""
}

// Files is the node's home, as it is now: also what a step has left half done.
// conc's own folder, .conc, is in it.
func (r *Result) Files() fs.FS { return os.DirFS(r.Home) }

// File gives the content of a file on the node, by its path below the home. It
// fails the test when there is none.
func (r *Result) File(name string) string {
	r.w.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Home, filepath.FromSlash(name)))
	if err != nil {
		r.w.t.Errorf("conctest: on the node: %v", err)
	}
	return string(text)
}

// Has tells whether there is something on the node at a path below the home.
func (r *Result) Has(name string) bool {
	_, err := os.Lstat(filepath.Join(r.Home, filepath.FromSlash(name)))
	return err == nil
}

// Called gives the calls of one stub, as lines: "systemctl restart shop".
func (r *Result) Called(name string) []string {
	var lines []string
	for _, c := range r.Calls {
		if c.Args[0] == name {
			lines = append(lines, strings.Join(c.Args, " "))
		}
	}
	return lines
}

// Want fails the test unless the node's run ended with a status, and shows what
// happened instead.
func (r *Result) Want(status jobs.Status) *Result {
	r.w.t.Helper()
	if r.Status != status {
		r.w.t.Errorf("got status %q, want %q\n%s", r.Status, status, r.describe())
	}
	return r
}

func (r *Result) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "exit code %d\n", r.Code)
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%3d %-12s %-6s %-9s %s%s\n", s.N, s.Name, s.Host, s.Status, s.Message, s.Note)
	}
	for _, e := range r.Events {
		if e.Type == "node_end" || e.Type == "run_end" {
			fmt.Fprintf(&b, "%s\n", e.Data)
		}
	}
	return b.String() + r.Output + r.Err
}

// read takes in what --json told. A line that is cut short is the last one of a
// conc that was killed.
func (r *Result) read(out []byte) error {
	in := bufio.NewReader(bytes.NewReader(out))
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil
		}
		var e struct {
			Type    string      `json:"type"`
			ID      string      `json:"id"`
			Status  jobs.Status `json:"status"`
			Text    string      `json:"text"`
			Message string      `json:"message"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("not a line of JSON: %q: %w", line, err)
		}
		r.Events = append(r.Events, Event{e.Type, bytes.TrimSpace(line)})
		switch e.Type {
		case "run_start":
			r.Run = e.ID
		case "output":
			r.Output += e.Text
		case "step":
			var s Step
			if err := json.Unmarshal(line, &s); err != nil {
				return err
			}
			r.Steps = append(r.Steps, s)
		case "node_end":
			r.Status = e.Status
		}
	}
}

// look takes in what the run has left behind.
func (r *Result) look(calls int) error {
	all, err := r.w.stage.Stubs.Calls()
	if err != nil {
		return err
	}
	r.Calls = all[min(calls, len(all)):]
	if r.Open = r.bundle(); r.Open != nil && r.Run == "" {
		r.Run = r.Open.Run
	}
	if r.Run == "" {
		return nil
	}
	r.Journal, _, err = runner.ReadJournal(filepath.Join(bundle.RunDir(r.Home, r.Run), "journal"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// bundle tells whose bundle is open on the node: nil for none.
func (r *Result) bundle() *bundle.Owner {
	o, err := bundle.ReadOwner(filepath.Join(r.Home, r.w.s.node.Get("bundle")))
	if err == nil && o == nil {
		return &bundle.Owner{} // somebody's
	}
	return o
}
