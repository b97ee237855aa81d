package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
)

// kind says what a step is for; each peer has its own way to do it.
type kind int

const (
	lock    kind = iota // make the directory to, or fail
	stage               // conc's lock on the workstation; the peers have none
	send                // bring the files from into the directory to
	mkdir               // make the directory to, and its parents
	untar               // unpack from[0], which was sent, below to
	fill                // write to from the template
	link                // make to a link to from[0], whatever it was
	command             // run from
	put                 // bring the file from[0] to the path to
	mirror              // bring what is below from[0] below to
	unlock              // remove the directory to
	unstage             // end stage
)

// step is one step of a work. Paths on the node start at the account's home.
type step struct {
	kind kind
	from []string
	to   string
}

// variant is a state of the node and of the sources that a work starts from.
type variant string

const (
	never     variant = "never seen" // the node is empty. Only conc has this one: it leaves a program there
	first     variant = "first time" // nothing of the work is on the node, but the program
	unchanged variant = "unchanged"  // the same again
	changed   variant = "one changed"
)

// work is one piece of the reference work.
type work struct {
	id       string
	title    string
	steps    []step
	variants []variant
	nodes    int
	data     data     // nil: there is none
	flat     bool     // run at the shortest delay only
	strict   bool     // by way of the sshd with MaxStartups as it comes
	only     []string // with these peers; empty is all
}

// The places on the node.
const (
	area    = "app"        // everything that a peer is to make is in here
	bundle  = "app/bundle" // the peers' lock; conc has a bundle
	release = "app/releases/1"
)

// works gives the reference work that was asked for, and makes its sources.
func works(dir string, o options) ([]work, error) {
	size := func(full, tiny int) int {
		if o.tiny {
			return tiny
		}
		return full
	}
	source := func(name string) string { return filepath.Join(dir, "sources", name) }
	list := func(name string) ([]step, data) {
		a := newArchives(source(name), o.tiny)
		return releaseList(a.files()), a
	}
	var trivial []step
	for range 13 {
		trivial = append(trivial, step{kind: command, from: []string{"true"}})
	}
	again := []variant{first, unchanged, changed}
	all := []work{
		{
			id: "a", title: "13 steps with 5 archives", nodes: 1, variants: append([]variant{never}, again...),
		},
		{id: "b", title: "13 trivial steps", nodes: 1, variants: []variant{unchanged}, steps: trivial},
		{
			id: "c", title: "one file of " + mebi(size(512<<20, 256<<10)), nodes: 1, variants: again,
			data:  &file{path: source("c/big.bin"), size: size(512<<20, 256<<10), at: area + "/big.bin", stretches: 1, part: 4096},
			steps: []step{{kind: put, from: []string{source("c/big.bin")}, to: area + "/big.bin"}},
		},
		{
			id: "d", title: fmt.Sprintf("a tree of %d files of 4 KiB", size(5000, 12)), nodes: 1, variants: again,
			data:  &tree{dir: source("d/tree"), count: size(5000, 12), at: area + "/tree"},
			steps: []step{{kind: mirror, from: []string{source("d/tree")}, to: area + "/tree"}},
		},
		{
			id: "e", title: "a binary of " + mebi(size(100<<20, 1<<20)) + ", of which 1 % changes", nodes: 1, variants: []variant{first, changed},
			data:  &file{path: source("e/program"), size: size(100<<20, 1<<20), at: area + "/program", stretches: 8, part: 100, insert: true},
			steps: []step{{kind: put, from: []string{source("e/program")}, to: area + "/program"}},
		},
		{id: "f10", title: "the list of a, to %d nodes", nodes: size(10, 2), variants: []variant{first}, flat: true},
		{id: "f50", title: "the list of a, to %d nodes", nodes: size(50, 3), variants: []variant{first}, flat: true},
		{
			id: "f50s", title: "the list of a, to %d nodes, MaxStartups 10:30:100", nodes: size(50, 3),
			variants: []variant{first}, flat: true, strict: true, only: []string{"conc", "spot"},
		},
		{
			id: "g", title: "true on %d nodes", nodes: size(200, 4), variants: []variant{unchanged}, flat: true,
			steps: []step{{kind: command, from: []string{"true"}}},
		},
	}
	var wanted []work
	for _, w := range all {
		if len(o.only) > 0 && !slices.Contains(o.only, w.id) && !slices.Contains(o.only, w.id[:1]) {
			continue
		}
		if w.nodes > 1 {
			w.title = fmt.Sprintf(w.title, w.nodes)
		}
		if w.steps == nil {
			w.steps, w.data = list(w.id)
		}
		wanted = append(wanted, w)
	}
	for _, id := range o.only {
		if !slices.ContainsFunc(all, func(w work) bool { return w.id == id || w.id[:1] == id }) {
			return nil, fmt.Errorf("-only: there is no work %q", id)
		}
	}
	return wanted, nil
}

// releaseList is the list of a release: conc's article has one of 13 steps.
func releaseList(archives []string) []step {
	steps := []step{
		{kind: lock, to: bundle},
		{kind: stage},
		{kind: send, from: archives, to: bundle},
		{kind: mkdir, to: release},
	}
	for _, path := range archives {
		steps = append(steps, step{kind: untar, from: []string{filepath.Base(path)}, to: release})
	}
	return append(
		steps,
		step{kind: fill, to: release + "/app.conf"},
		step{kind: link, from: []string{"releases/1"}, to: area + "/current"},
		step{kind: unlock, to: bundle},
		step{kind: unstage},
	)
}

// kinds gives what a peer must be able to do.
func (w work) kinds() []kind {
	var all []kind
	for _, s := range w.steps {
		if s.kind != stage && s.kind != unstage && !slices.Contains(all, s.kind) {
			all = append(all, s.kind)
		}
	}
	return all
}

// The template's values, and what it must become.
const (
	version = "1.4.2"
	filled  = "version = " + version + "\nlisten = 127.0.0.1:8000\n"
)

// template gives the template with the version written as a tool writes it.
func template(placeholder string) string {
	return "version = " + placeholder + "\nlisten = 127.0.0.1:8000\n"
}

// mebi gives a size as people say it.
func mebi(n int) string {
	if n < 1<<20 {
		return strconv.Itoa(n>>10) + " KiB"
	}
	return strconv.Itoa(n>>20) + " MiB"
}
