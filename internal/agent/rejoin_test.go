package agent

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.org/conc/jobs"
)

// kept is a journal that can be read back, whatever its path.
type kept struct {
	mu      sync.Mutex
	records []jobs.Record
}

func (k *kept) Open(string) (Recorder, error) { return k, nil }
func (k *kept) Close() error                  { return nil }

func (k *kept) Record(records ...jobs.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records = append(k.records, records...)
	return nil
}

func (k *kept) Read(string) ([]jobs.Record, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.records), false, nil
}

// keeping is a Transport to one agent after the other, with one journal.
func keeping(t *testing.T) (*pipes, *kept) {
	tr, k := newPipes(t), &kept{}
	tr.server.Journals, tr.served = k, make(chan error, 3)
	return tr, k
}

// steps runs a part of a plan, and gives what was heard of it.
func steps(t *testing.T, c *Client, from, to int) *heard {
	t.Helper()
	h := newHeard()
	if err := c.RunSteps(context.Background(), from, to, h); err != nil {
		t.Fatal(err)
	}
	return h
}

// A run is rejoined once its agent from before has ended, and only then.
func TestRejoin(t *testing.T) {
	ctx := context.Background()
	tr, journal := keeping(t)
	node, p := plan(t, nil, "remote open_bundle", "remote say hello", "remote say again", "remote close_bundle")
	o := options(t, node, p)
	o.Record = &jobs.PlanRecord{Run: o.Owner.Run, By: "alice@desk7"}
	first := dial(t, tr, o)
	steps(t, first, 1, 2)

	second := dial(t, tr, o)
	if records, busy, err := second.Rejoin(ctx, 0, false); busy == "" || err != nil {
		t.Fatalf("beside a living agent: got %v, busy %q, %v; want busy", records, busy, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	var records []jobs.Record
	soon(t, "the run is rejoined", func() bool {
		got, busy, err := second.Rejoin(ctx, 0, false)
		if err != nil {
			t.Fatal(err)
		}
		records = got
		return busy == ""
	})
	if len(records) != 5 || records[0].Type != jobs.RecordPlan || records[4].Result.Status != jobs.OK {
		t.Errorf("got %v, want a plan, and two steps begun and ended", records)
	}
	if data, err := second.Missed(ctx, 2, 4); string(data) != "llo\n" || err != nil {
		t.Errorf("got %q, %v; want the last 4 bytes", data, err)
	}
	if data, err := second.Missed(ctx, 3, 1<<30); len(data) != 0 || err != nil {
		t.Errorf("of a step that did not run: got %q, %v", data, err)
	}
	if _, err := second.Missed(ctx, 99, 1); err == nil {
		t.Error("the output of a step that there is not was given")
	}
	if got := steps(t, second, 3, 4).last(); got.Status != jobs.OK {
		t.Errorf("got %v", got)
	}
	plans := 0
	for _, r := range journal.records {
		if r.Type == jobs.RecordPlan {
			plans++
		}
	}
	if plans != 1 {
		t.Errorf("the plan is on record %d times", plans)
	}
}

// What somebody else has gone on with, or has given up, is left to them.
func TestRejoinOfARunThatIsNoLongerOurs(t *testing.T) {
	for name, tc := range map[string]struct {
		record jobs.Record
		want   string
	}{
		"gone on with": {jobs.Record{Type: jobs.RecordPlan, Plan: &jobs.PlanRecord{By: "bob@desk8"}}, "gone on with by bob@desk8"},
		"given up":     {jobs.Record{Type: jobs.RecordUnlock}, "given up"},
	} {
		t.Run(name, func(t *testing.T) {
			tr, journal := keeping(t)
			node, p := plan(t, nil, "remote open_bundle", "remote say hello")
			o := options(t, node, p)
			o.Record = &jobs.PlanRecord{Run: o.Owner.Run}
			first := dial(t, tr, o)
			steps(t, first, 1, 1)
			_ = first.Close()
			_ = journal.Record(tc.record)
			if _, _, err := dial(t, tr, o).Rejoin(context.Background(), 0, false); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
		})
	}
}
