package main

import (
	"slices"
	"time"
)

// sample is one run of one peer.
type sample struct {
	taken
	nodeCPU    time.Duration
	nodeMemory int64
	up, down   int64  // bytes on the wire, to the node and back
	failed     string // "" is: done, and the right bytes are there
}

// key is what is measured several times.
type key struct {
	work    string
	variant variant
	peer    string
	delay   time.Duration
}

// results are all samples; the zero value is to be made by results{}.
type results struct {
	order   []key
	samples map[key][]sample
}

func (r *results) add(k key, s sample) {
	if r.samples == nil {
		r.samples = map[key][]sample{}
	}
	if _, ok := r.samples[k]; !ok {
		r.order = append(r.order, k)
	}
	r.samples[k] = append(r.samples[k], s)
}

// median is the one in the middle of what succeeded, for each figure on its own,
// and how often it failed of how many times. ok is false when it never succeeded.
func (r *results) median(k key) (m sample, failed, of int, ok bool) {
	var good []sample
	for _, s := range r.samples[k] {
		if of++; s.failed != "" {
			failed++
			m.failed = s.failed
			continue
		}
		good = append(good, s)
	}
	if len(good) == 0 {
		return m, failed, of, false
	}
	m.Wall = middle(good, func(s sample) time.Duration { return s.Wall })
	m.CPU = middle(good, func(s sample) time.Duration { return s.CPU })
	m.nodeCPU = middle(good, func(s sample) time.Duration { return s.nodeCPU })
	m.Memory = middle(good, func(s sample) int64 { return s.Memory })
	m.nodeMemory = middle(good, func(s sample) int64 { return s.nodeMemory })
	m.up = middle(good, func(s sample) int64 { return s.up })
	m.down = middle(good, func(s sample) int64 { return s.down })
	return m, failed, of, true
}

// middle is the median; the lower one of two.
func middle[T time.Duration | int64](all []sample, of func(sample) T) T {
	var values []T
	for _, s := range all {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// row is one line of a table: a peer at one variant of a work, at all delays.
type row struct {
	variant variant
	peer    string
	at      []cell  // by delay
	trips   float64 // round trips; below 0: not to be told
	last    sample  // the medians at the shortest delay, for all but the time
	some    bool    // there are such medians
}

// cell is a time, and how many times that of conc it is.
type cell struct {
	wall   time.Duration // 0: none
	ratio  float64       // 0: there is nothing to compare with
	failed string        // why it failed, the last time
	bad    int           // how often it failed
	of     int           // of how many times; 0: it was not run
}

// rows gives the table of a work. What never succeeded is in it, too.
func (b *bench) rows(w work) []row {
	var all []row
	for _, v := range w.variants {
		for _, p := range b.peers {
			r := row{variant: v, peer: p.name, trips: -1}
			found := false
			for _, delay := range b.delays {
				m, bad, of, ok := b.results.median(key{w.id, v, p.name, delay})
				c := cell{failed: m.failed, bad: bad, of: of}
				if found = found || of > 0; ok {
					c.wall = m.Wall
					if conc, _, _, ok := b.results.median(key{w.id, v, "conc", delay}); ok {
						c.ratio = float64(m.Wall) / float64(conc.Wall)
					}
					if !r.some {
						r.last, r.some = m, true
					}
				}
				r.at = append(r.at, c)
			}
			if !found {
				continue
			}
			// The time of a round trip is what was added: how long the line is.
			if shortest, longest := r.at[0], r.at[len(r.at)-1]; shortest.wall > 0 && longest.wall > 0 && len(r.at) > 1 {
				r.trips = float64(longest.wall-shortest.wall) / float64(b.delays[len(r.at)-1]-b.delays[0])
			}
			all = append(all, r)
		}
	}
	return all
}
