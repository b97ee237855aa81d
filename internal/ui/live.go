package ui

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"example.org/conc/jobs"
	"example.org/conc/runner"
)

// liveWidth is the most columns that the status line takes, so that it cannot
// wrap when a terminal is made narrower, down to the usual 80.
const liveWidth = 79

// liveTick is how often the status line is drawn again. It is one line that is
// written over: that survives resizing, tmux and slow links.
const liveTick = 200 * time.Millisecond

// erase goes to the line's start and clears it.
const erase = "\r\x1b[2K"

// live is the status line below the steps: what is running now, for how long,
// how far. All but start and stop are called with the screen's lock held.
type live struct {
	w       io.Writer
	out     *outlet
	text    *text
	now     func() time.Time
	running []*running             // in the order that their nodes began
	watched func(width int) string // the line of what is no run; nil: there is none
	shown   string                 // what is on the terminal now
	paused  int                    // questions being asked
	drawn   time.Time              // when what is shown was put there, of many nodes
	begun   time.Time              // the run
	ended   map[jobs.Status]int    // nodes
	quit    chan struct{}
	gone    chan struct{}
	once    sync.Once
}

// running is what one node is at.
type running struct {
	event       runner.Event
	since       time.Time
	what        string // when it is no step: "connecting"
	done, total int64
	measured    time.Time // of the first progress
	at          int64     // bytes that were done then
	last        time.Time // of the last progress
}

func newLive(o Options, t *text, out *outlet) *live {
	return &live{w: o.Err, out: out, text: t, now: o.Now, ended: map[jobs.Status]int{}, quit: make(chan struct{}), gone: make(chan struct{})}
}

func (l *live) start(mu *sync.Mutex) {
	go func() {
		defer close(l.gone)
		tick := time.NewTicker(liveTick)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				mu.Lock()
				l.draw()
				mu.Unlock()
			case <-l.quit:
				return
			}
		}
	}()
}

func (l *live) stop(mu *sync.Mutex) {
	l.once.Do(func() { close(l.quit) })
	<-l.gone
	mu.Lock()
	defer mu.Unlock()
	l.running, l.watched = nil, nil
	l.hide()
}

// note takes an event in; it draws nothing.
func (l *live) note(e runner.Event) {
	switch e.Type {
	case runner.RunStart:
		l.begun = e.Time
	case runner.NodeStart:
		l.set(e, "connecting")
	case runner.Connected:
		l.set(e, "connected")
	case runner.StepStart:
		l.set(e, "")
	case runner.TestStart:
		l.set(e, "checks "+when(e)+" the run")
	case runner.TestEnd:
		l.set(e, "connected")
	case runner.Progress:
		r := l.find(e.Node)
		if r == nil {
			return
		}
		if r.measured.IsZero() || e.Done < r.done {
			r.measured, r.at = e.Time, e.Done
		}
		r.done, r.total, r.last = e.Done, e.Total, e.Time
		if e.Local {
			r.what = "sending conc"
		}
	case runner.StepEnd:
		if r := l.find(e.Node); r != nil {
			*r = running{event: e, since: e.Time, what: "between two steps"}
		}
	case runner.NodeEnd:
		l.ended[e.Outcome.Status]++
		for i, r := range l.running {
			if r.event.Node == e.Node {
				l.running = append(l.running[:i], l.running[i+1:]...)
				break
			}
		}
	case runner.RunEnd:
		l.running = nil
	}
}

func (l *live) set(e runner.Event, what string) {
	r := l.find(e.Node)
	if r == nil {
		r = &running{}
		l.running = append(l.running, r)
	}
	*r = running{event: e, since: e.Time, what: what}
}

func (l *live) find(node string) *running {
	for _, r := range l.running {
		if r.event.Node == node {
			return r
		}
	}
	return nil
}

// hide clears the status line off the terminal.
func (l *live) hide() {
	if l.shown != "" {
		l.out.put(l.w, []byte(l.erased()))
		l.shown = ""
	}
}

// draw puts the status line up, if it is not there as it should be.
func (l *live) draw() {
	if l.paused > 0 || l.out.busy() { // a terminal that takes nothing gets no second one
		return
	}
	if l.watched == nil && l.text.fleet() {
		if now := time.Now(); now.Sub(l.drawn) >= fleetTick {
			l.drawn = now
			l.drawFleet(min(Width(l.w)-1, liveWidth), Height(l.w))
		}
		return
	}
	line := l.line(min(Width(l.w)-1, liveWidth))
	switch line {
	case l.shown:
	case "":
		l.hide()
	default:
		l.out.put(l.w, []byte(erase+line))
		l.shown = line
	}
}

// line makes the status line, at most width columns wide.
func (l *live) line(width int) string {
	switch len(l.running) {
	case 0:
		if l.watched != nil {
			return fit(l.watched(width), width)
		}
		return ""
	case 1:
		return fit(l.one(l.running[0], width), width)
	}
	parts := make([]string, len(l.running))
	for i, r := range l.running {
		parts[i] = Line(r.event.Node) + " " + r.what
		if r.what == "" {
			parts[i] = fmt.Sprintf("%s %d/%d %s", Line(r.event.Node), r.event.Step.N, len(r.event.Plan.Steps), Line(r.event.Step.Name))
		}
	}
	return fit(strings.Join(parts, ", "), width)
}

func (l *live) one(r *running, width int) string {
	elapsed := took(max(0, l.now().Sub(r.since)))
	if r.what != "" {
		line := fmt.Sprintf("%s  %s  %s", Line(r.event.Node), r.what, elapsed)
		if r.what == "connecting" && r.event.Target != "" {
			line = fmt.Sprintf("%s  connecting to %s  %s", Line(r.event.Node), Line(r.event.Target), elapsed)
		}
		return line + r.progress(width-cells(line))
	}
	line := l.text.columns(r.event) + fmt.Sprintf("%-9s%6s", "RUNNING", elapsed)
	return line + r.progress(width-cells(line))
}

// barWidth is the columns between a bar's brackets, room permitting.
const barWidth = 12

// progress makes "  [=======>    ] 61% 11.9 MB/s", or the parts of it that fit.
func (r *running) progress(room int) string {
	if r.measured.IsZero() {
		return ""
	}
	rate := ""
	if d := r.last.Sub(r.measured); d >= time.Second/2 && r.done > r.at {
		rate = " " + humanize.Bytes(uint64(float64(r.done-r.at)/d.Seconds())) + "/s"
	}
	if r.total <= 0 {
		return "  " + humanize.Bytes(uint64(max(0, r.done))) + rate
	}
	share := min(1, max(0, float64(r.done)/float64(r.total)))
	percent := fmt.Sprintf("%3d%%", int(share*100))
	bar := ""
	if n := min(barWidth, room-cells(percent+rate)-5); n >= 4 {
		full := int(share * float64(n))
		bar = strings.Repeat("=", full)
		if full < n {
			bar += ">" + strings.Repeat(" ", n-full-1)
		}
		bar = "[" + bar + "] "
	}
	return "  " + bar + percent + rate
}
