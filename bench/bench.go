package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// bench is one run of the whole.
type bench struct {
	options
	dir     string
	node    *node
	log     io.Writer
	peers   []peer // conc first
	missing []string
	done    []work
	results results
}

// build makes the conc that is measured, as a release is made.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "conc")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "example.org/conc/cmd/conc")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// runner is a peer with its script for one work.
type runner struct {
	peer   peer
	argv   []string
	env    []string
	dir    string
	beyond bool // it was over the limit: it is not asked again
}

// run takes one work through all delays, rounds, peers and variants.
func (b *bench) run(ctx context.Context, w work) error {
	d := &b.node.wide
	if w.strict {
		d = &b.node.strict
	}
	d.proxy.Delay(0)
	var all []*runner
	for _, p := range b.peers {
		if !p.can(w) {
			continue
		}
		r, err := b.prepare(p, w, d)
		if err != nil {
			return err
		}
		// Once unmeasured: the program of conc is on the node then, those of the
		// others are in memory, and one that cannot do it is told at once.
		failed, err := b.once(ctx, w, first, r, d, 0)
		if err != nil {
			return err
		}
		if failed.failed != "" && (w.nodes == 1 || r.beyond) { // of many nodes one may fail by chance
			b.results.add(key{w.id, w.variants[len(w.variants)-1], p.name, b.delays[0]}, failed)
			continue
		}
		all = append(all, r)
	}
	delays := b.delays
	if w.flat {
		delays = delays[:1]
	}
	for _, delay := range delays {
		d.proxy.Delay(delay)
		for round := range b.rounds {
			// Each round begins with another one.
			for i := range all {
				r := all[(i+round)%len(all)]
				for _, v := range w.variants {
					if v == never && r.peer.name != "conc" {
						continue
					}
					if r.beyond {
						break
					}
					s, err := b.once(ctx, w, v, r, d, delay)
					if err != nil {
						return err
					}
					b.results.add(key{w.id, v, r.peer.name, delay}, s)
				}
			}
		}
	}
	return nil
}

// prepare writes the peer's script for a work.
func (b *bench) prepare(p peer, w work, d *door) (*runner, error) {
	r := &runner{peer: p, dir: filepath.Join(b.dir, "scripts", w.id, p.name)}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, err
	}
	j := &job{dir: r.dir, steps: w.steps, hosts: b.node.names[:w.nodes], forks: forks(w.nodes), door: d, node: b.node, conc: b.conc}
	if err := j.writeSSH(filepath.Join(b.dir, "s")); err != nil {
		return nil, err
	}
	var err error
	if r.argv, err = p.write(j); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	r.env = append([]string{
		"HOME=" + filepath.Join(b.dir, "operator"),
		"PATH=" + os.Getenv("PATH"),
		"TMPDIR=" + filepath.Join(b.dir, "s"),
		"LANG=C.UTF-8",
		"USER=bench",
	}, j.env...)
	return r, nil
}

// forks is how many nodes are taken at a time, by every peer.
func forks(nodes int) int { return min(nodes, 50) }

// once runs one peer once, checks what it left, and tells what it took.
func (b *bench) once(ctx context.Context, w work, v variant, r *runner, d *door, delay time.Duration) (sample, error) {
	want, err := b.set(w, v)
	if err != nil {
		return sample{}, err
	}
	pid := b.node.cmd.Process.Pid
	before := descent(pid)
	up, down := d.proxy.Passed()
	watch := b.watch(w)
	output := filepath.Join(r.dir, "output")
	t, err := measure(ctx, r.argv, r.env, r.dir, output, b.limit)
	if ctx.Err() != nil {
		watch()
		return sample{}, ctx.Err()
	}
	if err != nil {
		watch()
		return sample{}, fmt.Errorf("%s: %w", r.peer.name, err)
	}
	after := b.settle(before.processes, delay)
	s := sample{taken: t, nodeMemory: watch(), nodeCPU: after.cpu - before.cpu}
	upNow, downNow := d.proxy.Passed()
	s.up, s.down = upNow-up, downNow-down
	if t.Exit != 0 {
		s.failed = complaint(t, output)
	} else if s.failed, err = b.check(w, want); err != nil {
		return sample{}, err
	}
	r.beyond = r.beyond || t.Exit < 0
	fmt.Fprintf(b.log, "%-5s %-11s %4d ms  %-12s %8.2f s  %s\n", w.id, v, delay.Milliseconds(), r.peer.name, t.Wall.Seconds(), s.failed)
	return s, nil
}

// set makes the node and the sources what a variant starts from, and gives what
// must be on the node in the end.
func (b *bench) set(w work, v variant) (contents, error) {
	if v == never || v == first {
		for _, name := range b.node.names[:w.nodes] {
			if err := b.node.wipe(name, v == first); err != nil {
				return nil, err
			}
		}
	}
	if w.data == nil {
		return contents{}, nil
	}
	var err error
	switch v {
	case never, first:
		err = w.data.refresh()
	case changed:
		err = w.data.change()
	}
	if err != nil {
		return nil, err
	}
	return w.data.want()
}

// wipe empties a home, but for conc's own program if that is to stay.
func (n *node) wipe(name string, program bool) error {
	home := n.homes[name]
	for dir, keep := range map[string]string{home: ".conc", filepath.Join(home, ".conc"): "bin"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if e.Name() == keep && program {
				continue
			}
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	path := filepath.Join(home, area)
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return os.Chown(path, n.uid, n.gid)
}

// watch looks at the node's memory until the function that it gives is called,
// which tells the peak of its largest process. It is not worth its cost for a
// fleet, where it is 0.
func (b *bench) watch(w work) func() int64 {
	if w.nodes > 1 {
		return func() int64 { return 0 }
	}
	done := make(chan struct{})
	var most int64
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
				most = max(most, descent(b.node.cmd.Process.Pid).memory)
			}
		}
	})
	return sync.OnceValue(func() int64 {
		close(done)
		watching.Wait()
		return most
	})
}

// settle waits until the node has nothing more to do for those that are gone.
func (b *bench) settle(processes int, delay time.Duration) usage {
	for end := time.Now().Add(5*time.Second + 2*delay); ; time.Sleep(20 * time.Millisecond) {
		u := descent(b.node.cmd.Process.Pid)
		if u.processes <= processes || time.Now().After(end) {
			return u
		}
	}
}

// check compares what is on each node with what must be there.
func (b *bench) check(w work, want contents) (string, error) {
	wrong := ""
	for _, name := range b.node.names[:w.nodes] {
		got, err := look(b.node.homes[name])
		if err != nil {
			return "", err
		}
		if diff := differs(got, want); diff != "" && wrong == "" {
			wrong = wrongBytes + name + ": " + diff
		}
	}
	return wrong, nil
}

const wrongBytes = "wrong bytes: "

// complaint gives the last that a command said before it failed.
func complaint(t taken, output string) string {
	if t.Why != "" {
		return t.Why
	}
	text, _ := os.ReadFile(output)
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	return fmt.Sprintf("exit status %d: %s", t.Exit, strings.Join(lines[max(0, len(lines)-3):], " / "))
}

// verdict is the error of a bench where conc failed.
func (b *bench) verdict() error {
	var bad []string
	for _, k := range b.results.order {
		for _, s := range b.results.samples[k] {
			if k.peer == "conc" && s.failed != "" {
				bad = append(bad, fmt.Sprintf("%s, %s, %v: %s", k.work, k.variant, k.delay, s.failed))
			}
		}
	}
	if len(b.results.order) == 0 {
		return errors.New("nothing was measured")
	}
	if len(bad) > 0 {
		return fmt.Errorf("conc failed:\n%s", strings.Join(slices.Compact(bad), "\n"))
	}
	return nil
}
