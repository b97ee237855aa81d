package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// A step that prints a gigabyte is not held up by the line, and fills no memory.
func TestFlood(t *testing.T) {
	const size = 1 << 30
	p := newPipes(t)
	node, plan := plan(t, nil, "remote flood "+strconv.Itoa(size))
	c := dial(t, p, options(t, node, plan))
	sink := newHeard()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	if err := c.RunSteps(t.Context(), 1, 1, sink); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	r := sink.last()
	if r.Status != jobs.OK || r.Bytes != size {
		t.Errorf("got %s with %d bytes, want OK with %d", r.Status, r.Bytes, size)
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 64<<20 {
		t.Errorf("memory: grew by %d MiB", grown>>20)
	}
	out := sink.out.String()
	if limit := liveBurst + int(took.Seconds()+1)*liveRate + 1024; len(out) > limit || len(out) < liveBurst-64<<10 {
		t.Errorf("shown: got %d bytes, want about %d and at most %d", len(out), liveBurst, limit)
	}
	for _, want := range []string{"[conc: output truncated here", "its first 16 MiB are on the node in ~/.conc/runs/" + runA + "/out-01.log]"} {
		if strings.Count(out, want) != 1 {
			t.Errorf("shown: got %d times %q, want 1", strings.Count(out, want), want)
		}
	}
	for _, line := range strings.Split(out, "\n") {
		if line != "" && line != "0123456789abcde" && !strings.HasPrefix(line, "[conc: ") {
			t.Errorf("shown: a broken line %q", line)
			break
		}
	}
	fi, err := os.Stat(filepath.Join(bundle.RunDir(p.server.Home, runA), "out-01.log"))
	if err != nil || fi.Size() < maxLog || fi.Size() > maxLog+200 {
		t.Errorf("on the node: got %v, %v; want a little over %d bytes", fi, err, maxLog)
	}
	t.Logf("1 GiB in %s", took)
}

// A sink that is slow (a terminal that was stopped) misses output, and nothing
// else; the line is read all the time.
func TestSlowSink(t *testing.T) {
	p := newPipes(t)
	p.server.pulse = pulse{20 * time.Millisecond, time.Second}
	node, plan := plan(t, nil, "remote flood 200000", "remote flood 200000", "remote say end")
	o := options(t, node, plan)
	o.pulse = pulse{20 * time.Millisecond, time.Second}
	c := dial(t, p, o)
	sink := newHeard()
	sink.slow = 100 * time.Millisecond
	if err := c.RunSteps(t.Context(), 1, 3, sink); err != nil {
		t.Fatal(err)
	}
	if got, want := sink.text(), "begin 1, end 1 OK, begin 2, end 2 OK, begin 3, end 3 OK"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestOutletRate(t *testing.T) {
	now := time.Now()
	q := newQueue()
	o := &outlet{step: 1, q: q, now: func() time.Time { return now }, tokens: liveBurst, filled: now}
	line := bytes.Repeat([]byte("x"), 1023)
	line = append(line, '\n')
	shown := func() (n int) {
		for {
			f, ok, _ := q.pop()
			if !ok {
				return n
			}
			n += bytes.Count(f.body, []byte("x"))
		}
	}
	for _, tc := range []struct {
		wait        time.Duration
		write, want int // KiB, 1023 of 1024 bytes counted
	}{
		{0, 1024, 1024},
		{0, 100, 0},
		{time.Second, 100, 99}, // from the second line on: the first may be the rest of one
		{time.Second, 1000, 256 + 156},
		{time.Hour, 2000, 1024},
	} {
		now = now.Add(tc.wait)
		for range tc.write {
			_, _ = o.Write(line)
		}
		if got := shown() / 1023; got < tc.want-1 || got > tc.want+1 {
			t.Errorf("%d KiB after %s: got %d shown, want %d", tc.write, tc.wait, got, tc.want)
		}
	}
}

func TestProgressIsBounded(t *testing.T) {
	p := newPipes(t)
	node, plan := plan(t, nil, "remote progress")
	c := dial(t, p, options(t, node, plan))
	sink := newHeard()
	if err := c.RunSteps(t.Context(), 1, 1, sink); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(sink.text(), "progress"); n < 1 || n > 5 || !strings.Contains(sink.text(), "progress 1 1000/1000") {
		t.Errorf("got %d: %s; want few, and the last", n, sink.text())
	}
}

// Bytes of any kind in the tail arrive as they were.
func TestEndTravels(t *testing.T) {
	r := jobs.Result{
		Step: 3, Status: jobs.Failed, Message: strings.Repeat("m", 1<<20), Exit: 2,
		Tail: []string{"\xff\x1b[2J", strings.Repeat("\x01", 5000)}, Lines: 7,
	}
	for range 30 {
		r.Tail = append(r.Tail, strings.Repeat("\x01", 2000))
	}
	f := packEnd(r)
	if len(f.body) > maxControl {
		t.Fatalf("body: got %d bytes", len(f.body))
	}
	got, err := unpackEnd(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Tail) != 20 || got.Tail[0] != r.Tail[0] || len(got.Tail[1]) != 1000 || got.Exit != 2 || got.Lines != 7 {
		t.Errorf("got %d lines, first %q", len(got.Tail), got.Tail[0])
	}
	f = packEnd(jobs.Result{Step: 1, Status: jobs.Blocked, Owner: bytes.Repeat([]byte("x"), 1<<20)})
	if got, err := unpackEnd(f); err != nil || got.Status != jobs.Blocked || got.Owner != nil {
		t.Errorf("with a huge owner: got %+v, %v", got, err)
	}
}
