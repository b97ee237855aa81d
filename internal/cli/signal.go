package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"example.org/conc/runner"
)

// signals turns Ctrl-C, TERM and HUP into the operator's wish to stop: once
// after the running step, twice by ending that step, three times at once, by
// way of the context. release gives the signals back.
func (p *program) signals(ctx context.Context) (_ context.Context, _ *runner.Interrupt, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	interrupt := runner.NewInterrupt()
	got := make(chan os.Signal, 4)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A reader of our output that went away must not end a deploy.
	piped := make(chan os.Signal, 1)
	signal.Notify(piped, syscall.SIGPIPE)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-got:
				switch interrupt.Raise() {
				case 1:
					p.warn("stopping after this step; Ctrl-C again ends the step")
				case 2:
					p.warn("ending the step; Ctrl-C again leaves at once")
				default:
					cancel()
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, interrupt, func() {
		signal.Stop(got)
		signal.Stop(piped)
		close(done)
		<-gone
		cancel()
	}
}
