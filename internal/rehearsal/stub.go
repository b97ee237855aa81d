package rehearsal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"example.org/conc/config"
)

// Stub stands in for a program that must not run for real: it is found before
// it, on both hosts, and every call of it is recorded.
type Stub struct {
	Exit   int
	Stdout string
	Stderr string
	Sleep  time.Duration // before it ends
}

// Call is one call of a stub.
type Call struct {
	Step int // 0: outside of any
	Args []string
}

func (c Call) String() string {
	return fmt.Sprintf("step %d: %s", c.Step, shellescape.QuoteCommand(c.Args))
}

// Stubs are the stubs of one host: a folder that comes first in its PATH, and the
// record of their calls.
type Stubs struct {
	Dir string // the folder
	Log string // the record
}

// NewStubs makes an empty folder for stubs in dir.
func NewStubs(dir string) (*Stubs, error) {
	s := &Stubs{Dir: filepath.Join(dir, "stubs"), Log: filepath.Join(dir, "calls")}
	return s, os.MkdirAll(s.Dir, 0o755)
}

// Add makes a stub called name.
func (s *Stubs) Add(name string, is Stub) error {
	switch {
	case !config.IsProgram(name):
		return fmt.Errorf("%q is no name of a program: name it as PATH finds it", name)
	case name == "sudo":
		return errors.New("sudo has a stand-in already: conc starts itself by it")
	case is.Exit < 0 || is.Exit > 255 || is.Sleep < 0:
		return fmt.Errorf("the stub of %s cannot exit with %d after %v", name, is.Exit, is.Sleep)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\nprintf '%%s\\0' \"$#\" \"${CONC_STEP:-0}\" %s \"$@\" >>%s\n", name, shellescape.Quote(s.Log))
	if is.Stdout != "" {
		fmt.Fprintf(&b, "printf %%s %s\n", shellescape.Quote(is.Stdout))
	}
	if is.Stderr != "" {
		fmt.Fprintf(&b, "printf %%s %s >&2\n", shellescape.Quote(is.Stderr))
	}
	if is.Sleep > 0 {
		fmt.Fprintf(&b, "sleep %.3f\n", is.Sleep.Seconds())
	}
	fmt.Fprintf(&b, "[ ! -e %s-\"${CONC_STEP:-0}\" ] || exit 1\n", shellescape.Quote(s.refusal()))
	fmt.Fprintf(&b, "exit %d\n", is.Exit)
	return os.WriteFile(filepath.Join(s.Dir, name), []byte(b.String()), 0o755)
}

// refusal is a file, but for a step's number, in which stubs say no.
func (s *Stubs) refusal() string { return s.Log + ".no" }

// Refuse has every stub say no, with exit status 1, in a step.
func (s *Stubs) Refuse(step int) error {
	return os.WriteFile(fmt.Sprintf("%s-%d", s.refusal(), step), nil, 0o600)
}

// fakeSudo runs the command after its options: as root in a namespace of its own,
// where this is not root already. It asks for no password.
const fakeSudo = `#!/bin/sh
while [ $# -gt 0 ]; do
	case $1 in
	--) shift; break ;;
	-[ugpC]) shift 2 ;;
	-*) shift ;;
	*) break ;;
	esac
done
[ "$(id -u)" = 0 ] && exec "$@"
exec unshare --user --map-root-user -- "$@"
`

// AddSudo makes a sudo that asks for nothing.
func (s *Stubs) AddSudo() error {
	return os.WriteFile(filepath.Join(s.Dir, "sudo"), []byte(fakeSudo), 0o755)
}

// Path is the PATH that the stubs come first in.
func (s *Stubs) Path(rest string) string { return s.Dir + ":" + rest }

// Calls reads the record, in order.
func (s *Stubs) Calls() ([]Call, error) {
	text, err := os.ReadFile(s.Log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var calls []Call
	fields := bytes.Split(bytes.TrimSuffix(text, []byte{0}), []byte{0})
	for len(fields) >= 3 {
		n, err1 := strconv.Atoi(string(fields[0]))
		step, err2 := strconv.Atoi(string(fields[1]))
		if err := errors.Join(err1, err2); err != nil || n < 0 || 3+n > len(fields) {
			return calls, fmt.Errorf("%s: not a record of calls: %w", s.Log, err)
		}
		c := Call{Step: step}
		for _, f := range fields[2 : 3+n] {
			c.Args = append(c.Args, string(f))
		}
		calls, fields = append(calls, c), fields[3+n:]
	}
	return calls, nil
}
