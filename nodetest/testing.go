package nodetest

import (
	"encoding/json"
	"net"
	"os"
	"time"

	"example.org/conc/config"
)

// The levels of tests; see Levels.
const (
	Functional = "functional"
	Migration  = "migration"
	Load       = "load"
	Monitoring = "monitoring"
)

// T is what is needed of a test here: a *testing.T is one, and so is every
// testing.TB. The functions that take one are called from the test's own
// goroutine, as Fatalf is; those that are said to skip a test do so too where
// the test was not started by conc nodetest: by a plain go test.
type T interface {
	Helper()
	Name() string
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Level says what a test is for, at its beginning: Functional, Migration, Load
// or Monitoring. It skips a test of another level than conc nodetest --level
// asks for; without --level none is skipped. A subtest has its parent's level,
// and a test that calls Node, Sudo or Secret and no Level before is functional.
func Level(t T, level string) {
	t.Helper()
	askConc(t, testQuestion{Level: level})
}

// Node gives the attributes of the node that the test runs on. Secrets are
// masked in it. It skips a test that was not started by conc nodetest.
func Node(t T) *config.Node {
	t.Helper()
	a := askConc(t, testQuestion{Node: true})
	return config.NewNode(a.Name, a.Attrs)
}

// Secret gives an attribute of the node with its secrets in their places. They
// are masked in all that the tests print. It skips the test where conc nodetest
// --secret does not name the attribute.
func Secret(t T, key string) string {
	t.Helper()
	return askConc(t, testQuestion{Secret: key}).Value
}

// Ran is how a command ended.
type Ran struct {
	Stdout string `json:"-"`
	Stderr string `json:"-"`
	Exit   int    `json:"exit"` // its exit status; 128 and the signal's number, when it died of one
}

// Sudo runs a command as root on the node, in the test's working directory and
// with an empty standard input: exactly these arguments, without a shell. No
// password comes near the test. It skips the test where conc nodetest was not
// allowed to use sudo; a command that cannot be started, or prints more than a
// MiB, is fatal. It may be called in t.Cleanup. The command is ended when the
// test's program is.
func Sudo(t T, argv ...string) Ran {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("%v", err)
	}
	a := askConc(t, testQuestion{Sudo: argv, Dir: dir})
	a.Ran.Stdout, a.Ran.Stderr = string(a.Stdout), string(a.Stderr)
	return a.Ran
}

// socketVariable tells a test where it can ask. It is not secret: only the
// account's own processes are answered there.
const socketVariable = "CONC_NODETEST"

// testQuestion is what a test asks: one of these, with a connection of its own.
type testQuestion struct {
	Test   string   `json:"test"` // its name
	Level  string   `json:"level,omitempty"`
	Node   bool     `json:"node,omitempty"`
	Secret string   `json:"secret,omitempty"` // an attribute
	Sudo   []string `json:"sudo,omitempty"`
	Dir    string   `json:"dir,omitempty"` // for sudo
}

// testAnswer is what it gets.
type testAnswer struct {
	Skip  string `json:"skip,omitempty"`  // why the test is to be skipped
	Error string `json:"error,omitempty"` // why it cannot go on

	Name  string            `json:"name,omitempty"`
	Attrs map[string]string `json:"attrs,omitempty"`
	Value string            `json:"value,omitempty"`

	Ran
	Stdout []byte `json:"stdout,omitempty"` // of any kind of bytes
	Stderr []byte `json:"stderr,omitempty"`
}

// askConc puts a question to the conc that started the test.
func askConc(t T, q testQuestion) testAnswer {
	t.Helper()
	socket := os.Getenv(socketVariable)
	if socket == "" {
		t.Skipf("it is for a node: conc nodetest NODE ./path/to/package")
	}
	q.Test = t.Name()
	var a testAnswer
	conn, err := net.DialTimeout("unix", socket, askLimit)
	if err == nil {
		defer conn.Close() //nolint:errcheck // nothing waits in it
		if err = json.NewEncoder(conn).Encode(q); err == nil {
			err = json.NewDecoder(conn).Decode(&a)
		}
	}
	switch {
	case err != nil:
		t.Fatalf("conc, which started this test, does not answer: %v", err)
	case a.Error != "":
		t.Fatalf("%s", a.Error)
	case a.Skip != "":
		t.Skipf("%s", a.Skip)
	}
	return a
}

// askLimit is how long a test and the agent wait for each other's first word.
const askLimit = 5 * time.Second
