package bundle

import "errors"

// ErrLost says that the bundle is no longer there, or is another run's.
var ErrLost = errors.New("lock lost")

// OwnerFile is the owner record's name inside a bundle.
const OwnerFile = ".conc-owner.json"

// Open takes the lock: it makes the directory dir whole, its owner record
// inside, in one atomic step. *HeldError when dir exists, whatever it is.
// Opening one's own run's bundle again is held too.
func Open(dir string, o Owner) error { panic("contract") }

// ReadOwner reads the record of the bundle at dir: fs.ErrNotExist when there
// is no bundle, nil and no error when its owner is unknown.
func ReadOwner(dir string) (*Owner, error) { panic("contract") }

// Check returns nil when the bundle at dir is run's, and ErrLost otherwise.
func Check(dir, run string) error { panic("contract") }

// Close removes the bundle at dir with all that is in it, if it is run's;
// ErrLost otherwise. It is moved aside first, so that a bundle is never half
// there under its own name.
func Close(dir, run string) error { panic("contract") }

// SetAside renames run's bundle to a name beside it, which it returns. Nothing
// is deleted.
func SetAside(dir, run string) (string, error) { panic("contract") }
