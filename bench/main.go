// Command bench runs the reference work of the manual's page "How fast, and
// why" with conc, and with every peer that is installed here, and compares them:
//
//	go run ./bench                                   # everything; takes hours
//	go run ./bench -only a,b -peers conc,ssh,ansible # some of it
//	go run ./bench -tiny                             # is the bench alive? seconds
//	go run ./bench -o docs/manual/speed-figures.inc  # the manual's tables, too
//
// Everything goes to one sshd, which bench starts on a loopback port, through
// one proxy, which delays what it passes on. Accounts, keys, homes and data are
// in a temporary directory; no file of the user's is read or written, and
// nothing is left.
//
// As root, where there may be namespaces, sshd has accounts of its own, and there
// are fleets; as a plain user there is one node.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if os.Getenv(measureKey) != "" {
		os.Exit(measureMain(os.Args[1:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	tiny   bool
	only   []string // ids of works; empty is all
	peers  []string // names of peers; empty is all that are installed
	rounds int
	delays []time.Duration // ascending: added to a round trip
	out    string          // the manual's tables; "" is none
	limit  time.Duration   // of one run
	keep   bool            // leave the directory
	conc   string          // a conc to measure; "" is built from this tree
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var only, peers, delays string
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.BoolVar(&o.tiny, "tiny", false, "tiny data and few nodes, to see that the bench works")
	set.StringVar(&only, "only", "", "run these `WORKS` only, by letter: a,b,c,d,e,f,g")
	set.StringVar(&peers, "peers", "", "run with these `PEERS` only, beside conc")
	set.IntVar(&o.rounds, "rounds", 5, "take the medians of `N` rounds")
	set.StringVar(&delays, "delays", "0,20,100", "add so many `MILLISECONDS` to a round trip, one after the other")
	set.StringVar(&o.out, "o", "", "write the manual's tables to `FILE`")
	set.DurationVar(&o.limit, "limit", 5*time.Minute, "give a run up after this `TIME`")
	set.StringVar(&o.conc, "conc", "", "measure this `PROGRAM` rather than build one")
	set.BoolVar(&o.keep, "keep", false, "leave the directory with the scripts and what they said")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if set.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", set.Arg(0))
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.tiny && !given["rounds"] {
		o.rounds = 1
	}
	if o.tiny && !given["delays"] {
		delays = "0,10"
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds %d: one is the least", o.rounds)
	}
	for _, word := range words(delays) {
		ms, err := strconv.Atoi(word)
		if err != nil || ms < 0 {
			return o, fmt.Errorf("-delays: %q is no number of milliseconds", word)
		}
		o.delays = append(o.delays, time.Duration(ms)*time.Millisecond)
	}
	if len(o.delays) == 0 {
		return o, errors.New("-delays: none given")
	}
	slices.Sort(o.delays)
	o.delays = slices.Compact(o.delays)
	o.only, o.peers = words(only), words(peers)
	for _, name := range o.peers {
		if !slices.ContainsFunc(peerTable(), func(p peer) bool { return p.name == name }) {
			return o, fmt.Errorf("-peers: there is no %q", name)
		}
	}
	return o, nil
}

// words splits a flag's list.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// run is the whole of bench. An error is also that conc failed at something, or
// left wrong bytes; what a peer fails at is in the table.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "conc-bench-")
	if err != nil {
		return err
	}
	if o.keep {
		fmt.Fprintln(stderr, "everything is in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the node's accounts must get in
		return err
	}
	all, err := works(dir, o)
	if err != nil {
		return err
	}
	most := 1
	for _, w := range all {
		most = max(most, w.nodes)
	}
	n, err := startNode(ctx, dir, most)
	if err != nil {
		return err
	}
	defer n.stop()
	if n.why != "" {
		fmt.Fprintln(stderr, "no fleets:", n.why)
	}
	if o.conc == "" {
		if o.conc, err = build(ctx, dir); err != nil {
			return err
		}
	} else if o.conc, err = filepath.Abs(o.conc); err != nil {
		return err
	}
	b := &bench{options: o, dir: dir, node: n, log: stderr, results: results{}}
	b.peers, b.missing = installed(ctx, o)
	for _, w := range all {
		if w.nodes > len(n.names) {
			fmt.Fprintf(stderr, "%s: skipped, there is one node only\n", w.id)
			continue
		}
		err := b.run(ctx, w)
		b.done = append(b.done, w)
		if err != nil { // what was measured by then is worth its hours
			return errors.Join(fmt.Errorf("%s: %w", w.id, err), writeText(stdout, b))
		}
	}
	if err := writeText(stdout, b); err != nil {
		return err
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, []byte(restructured(ctx, b)), 0o644); err != nil {
			return err
		}
	}
	return b.verdict()
}
