package jobs

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Whoever leaves at once does not wait for a command that heeds no TERM, nor for
// an op that heeds nothing.
func TestLeavingAtOnce(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks in /proc")
	}
	start := func(t *testing.T, op Op, ready func(env *Env) bool) (Result, *Env) {
		env, _ := testEnv(t, Local)
		leave := make(chan struct{})
		env.Leave, env.Owner.Run = leave, t.Name()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for !ready(env) {
				time.Sleep(5 * time.Millisecond)
			}
			cancel()
			time.Sleep(50 * time.Millisecond)
			close(leave)
		}()
		return Perform(ctx, stepOf(op), env), env
	}
	t.Run("a command", func(t *testing.T) {
		t.Parallel()
		begun := time.Now()
		r, env := start(t, Shell{"trap '' TERM; echo $$ > child; while :; do sleep 0.1; done"}, func(env *Env) bool {
			data, err := os.ReadFile(filepath.Join(env.Home, "child"))
			return err == nil && strings.HasSuffix(string(data), "\n")
		})
		if r.Status != Stopped || !strings.Contains(r.Message, "signal 9") || time.Since(begun) > 9*time.Second {
			t.Errorf("got %s %q after %v, want STOPPED by signal 9 before the 10 s after TERM are over", r.Status, r.Message, time.Since(begun))
		}
		if alive(t, filepath.Join(env.Home, "child")) {
			t.Error("the command lives on")
		}
	})
	t.Run("an op that heeds nothing", func(t *testing.T) {
		t.Parallel()
		over := make(chan struct{})
		defer close(over)
		begun := time.Now()
		r, _ := start(t, OpFunc(func(context.Context, *Env) error { <-over; return nil }), func(*Env) bool { return true })
		if r.Status != Errored || !strings.Contains(r.Message, "may still be running") || time.Since(begun) > 14*time.Second {
			t.Errorf("got %s %q after %v, want ERROR before the usual 15 s are over", r.Status, r.Message, time.Since(begun))
		}
	})
}
