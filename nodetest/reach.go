package nodetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// late tells whether what went wrong did so because the check's time is over. A
// dial goes by the deadline and may be faster than the context's own timer.
func late(ctx context.Context) bool {
	if end, limited := ctx.Deadline(); limited && !time.Now().Before(end) {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// stalled is the error of a check whose time was over; at is what it waited for.
type stalled struct {
	at  string
	err error // the context's
}

func (s *stalled) Error() string { return s.at }
func (s *stalled) Unwrap() error { return s.err }

// reason words why a server could not be talked to, without what the line of
// deploy.ini says already.
func reason(err error) string {
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return unresolved(dns)
	case errors.As(err, &op) && op.Timeout():
		return "no answer"
	case errors.As(err, &op) && op.Err != nil:
		return op.Err.Error()
	}
	return err.Error()
}

// unresolved words an answer of the resolver that is none.
func unresolved(e *net.DNSError) string {
	switch {
	case e.IsNotFound:
		return e.Name + " has no such record"
	case e.IsTimeout:
		return "no answer from the DNS server"
	}
	return e.Err
}

// hostPort gives the host of HOST:PORT; ok says that it is one.
func hostPort(s string) (host string, ok bool) {
	host, number, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", false
	}
	_, err = portNumber(number)
	return host, err == nil
}

func portNumber(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", s)
	}
	return uint16(n), nil
}

// isHostPort judges a value for a grammar.
func isHostPort(s string) error {
	if _, ok := hostPort(s); !ok {
		return errors.New("not HOST:PORT")
	}
	return nil
}

// readRegular reads a file up to maxRead bytes. It refuses what it could wait on
// for ever.
func readRegular(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a %s, not a file", path, kindOf(fi))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxRead))
}
