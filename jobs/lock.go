package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"example.org/conc/bundle"
	"example.org/conc/config"
)

// OpenBundle makes the bundle directory, and with it takes the lock. It is the
// first job of a list on each host.
type OpenBundle struct{}

func openBundleEntry() Entry {
	return Entry{
		Name:    "open_bundle",
		Summary: "make the bundle directory, which is the lock",
		Help: `The directory is made in one step, with a record in it of who opened it, from
where, when and for which run. On the node it says to everyone that the node is
being reconfigured; on the workstation, that this node's deploy is under way
here. Both are places for files too.

BLOCKED when it exists, whatever is in it: nothing was changed.`,
		Example: "remote open_bundle",
		Parse:   func(args []string) (Op, error) { return OpenBundle{}, noArgs(args) },
	}
}

// Prepare looks whether it is there already.
func (OpenBundle) Prepare(_ context.Context, env *Env) error {
	o, err := bundle.ReadOwner(env.Bundle)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return Errorf("%w", err)
	}
	return &bundle.HeldError{Dir: env.Bundle, Owner: o}
}

// Do opens it.
func (OpenBundle) Do(_ context.Context, env *Env) error { return bundle.Open(env.Bundle, env.Owner) }

// Verify looks whether it is open, and ours.
func (OpenBundle) Verify(_ context.Context, env *Env) error {
	return bundle.Check(env.Bundle, env.Owner.Run)
}

// ByHand makes a bundle whose owner is not known: it holds as well.
func (OpenBundle) ByHand(n *config.Node) []string {
	return []string{quote("mkdir", n.Get("bundle"))}
}

// Inert marks that no later step needs a file that it makes.
func (OpenBundle) Inert() {}

// CloseBundle removes the bundle with all that is in it, and with it gives the
// lock back. It is the last job of a list on each host.
type CloseBundle struct{}

func closeBundleEntry() Entry {
	return Entry{
		Name:    "close_bundle",
		Summary: "remove the bundle directory, which gives the lock back",
		Help: `All that was delivered into the bundle goes with it. Only a bundle that this very
run opened is removed.

ERROR "lock lost" when it is gone or another run's: nothing is touched then.`,
		Example: "remote close_bundle",
		Parse:   func(args []string) (Op, error) { return CloseBundle{}, noArgs(args) },
	}
}

// Do closes it.
func (CloseBundle) Do(_ context.Context, env *Env) error {
	err := bundle.Close(env.Bundle, env.Owner.Run)
	if mounted, _ := isMounted(env.Bundle); mounted && errors.Is(err, syscall.EBUSY) {
		return Blockedf("something is mounted on %s", env.Bundle).WithHint("unmount it first: unmount_sshfs, or by hand: fusermount -u %s", quote(env.Bundle))
	}
	return err
}

// Verify looks whether it is gone, or someone else's by now.
func (CloseBundle) Verify(_ context.Context, env *Env) error {
	if bundle.Check(env.Bundle, env.Owner.Run) == nil {
		return fmt.Errorf("%s is still there", env.Bundle)
	}
	return nil
}

// ByHand removes it, whoever it belongs to.
func (CloseBundle) ByHand(n *config.Node) []string {
	return []string{quote("rm", "-r", n.Get("bundle"))}
}

// Inert marks that no later step needs a file that it makes.
func (CloseBundle) Inert() {}

func noArgs(args []string) error {
	if len(args) > 0 {
		return errors.New("it takes no arguments")
	}
	return nil
}
