package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"example.org/conc/runner"
)

// signals turns Ctrl-C, TERM and HUP into the operator's wish to stop: once
// after the running step, twice by ending that step, three times at once, by
// way of the context. A fourth is not caught, and ends the process. release
// gives the signals back, once all that is to be shown is written.
func (p *program) signals(ctx context.Context) (_ context.Context, _ *runner.Interrupt, release func()) {
	ctx, cancel := context.WithCancel(ctx)
	interrupt := runner.NewInterrupt()
	got := make(chan os.Signal, 4)
	signal.Notify(got, stopSignals()...)
	// A reader of our output that went away must not end a deploy.
	piped := make(chan os.Signal, 1)
	signal.Notify(piped, syscall.SIGPIPE)
	// A terminal that takes nothing must not keep the next signal waiting.
	words := make(chan string, 2)
	var work sync.WaitGroup
	work.Go(func() {
		for w := range words {
			p.warn(w)
		}
	})
	done := make(chan struct{})
	work.Go(func() {
		defer close(words)
		for {
			select {
			case <-got:
				switch interrupt.Raise() {
				case 1:
					words <- "stopping after this step; Ctrl-C again ends the step"
				case 2:
					words <- "ending the step; Ctrl-C again leaves at once"
				case 3:
					p.leaving.Store(true)
					cancel()
					signal.Stop(got)
				default: // it came before the signals were given back
					_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
				}
			case <-done:
				return
			}
		}
	})
	return ctx, interrupt, func() {
		signal.Stop(got)
		close(done)
		work.Wait()
		p.flush() // while a reader that went away is no reason to die
		signal.Stop(piped)
		cancel()
	}
}

// stopSignals are those that mean the operator's wish to stop. Whoever started
// the program with HUP ignored, by nohup, wants it to outlive the terminal.
func stopSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// interruptible ends the context at the first Ctrl-C, TERM or HUP, so that what
// is under way is left in order; a second one ends the process.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, stopSignals()...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
