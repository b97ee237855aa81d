package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// watchOptions are the flags of nodetest that make it stay.
type watchOptions struct {
	every  string
	listen string
}

func (o *watchOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.every, "every", "", "examine the nodes again each `DURATION`, until Ctrl-C")
	f.StringVar(&o.listen, "listen", "", "with --every: serve /metrics for Prometheus, and /healthz, at `[HOST:]PORT`; without HOST on this host only")
}

// interval reads the flags: 0 is one examination.
func (o nodetestOptions) interval(out outputs) (time.Duration, error) {
	switch {
	case o.every == "" && o.listen != "":
		return 0, usageError{errors.New("--listen is for --every"), "say how often: --every 5m"}
	case o.every == "":
		return 0, nil
	case out.screen != formatText && out.screen != formatJSON:
		return 0, usageError{fmt.Errorf("--every: %s is one document, and standard output would have many", out.screen), "write it to a file: --output FILE"}
	}
	every, err := config.ParseDuration(o.every)
	if err != nil {
		return 0, usagef("--every %s: %w", o.every, err)
	}
	if every < time.Second {
		return 0, usagef("--every %s: it is at least a second", o.every)
	}
	if o.listen != "" {
		if _, err := listenAddr(o.listen); err != nil {
			return 0, err
		}
	}
	return every, nil
}

// watch examines the nodes each interval, and at once when an examination took
// longer than that: two never overlap. It ends when ctx is done, with the exit
// code of the last examination that came to its end.
func (x *examination) watch(ctx context.Context, every time.Duration) (int, error) {
	if x.given.listen != "" {
		m, err := x.serve(x.given.listen)
		if err != nil {
			return 0, err
		}
		defer m.close()
		x.told = m.tell
		x.whole = m.counted
		if !x.program.flags.quiet {
			x.ui().Tell(fmt.Sprintf("%s: serving http://%s/metrics\n", x.name(), m.addr))
		}
	}
	code := exitInterrupted
	var before []ui.Examined
	for {
		begun := time.Now()
		all, c := x.round(ctx, before)
		if ctx.Err() != nil && anyStopped(all) {
			return code, nil
		}
		code, before = c, all
		if x.whole != nil {
			x.whole()
		}
		next := begun.Add(every)
		x.ui().Watch(func(int) string {
			return "next in " + ui.Took(max(0, time.Until(next)))
		})
		pause := time.NewTimer(time.Until(next))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return code, nil
		}
	}
}

func anyStopped(all []ui.Examined) bool {
	for _, e := range all {
		if e.Status() == jobs.Stopped {
			return true
		}
	}
	return false
}
