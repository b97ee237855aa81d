package jobs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.org/conc/config"
)

// The pause between two looks grows from pollFirst to pollMost; lookLimit is the
// time for one look.
const (
	pollFirst = 100 * time.Millisecond
	pollMost  = time.Second
	lookLimit = 10 * time.Second
)

// poll looks until look returns nil, and tells its last answer when the time is
// over. An answer that is an *Error ends it at once.
func poll(ctx context.Context, look func(context.Context) error) error {
	var last error
	for pause := pollFirst; ; pause = min(2*pause, pollMost) {
		lookCtx, cancel := context.WithTimeout(ctx, lookLimit)
		err := look(lookCtx)
		cancel()
		var final *Error
		if err == nil || errors.As(err, &final) {
			return err
		}
		// A look that was cut short by the limit itself says less than the one before.
		if last == nil || !over(ctx) {
			last = err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return cut(ctx, "%v", last)
		}
	}
}

// over tells whether ctx is done, or about to be: a dial goes by its deadline,
// and may be faster than the timer.
func over(ctx context.Context) bool {
	end, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && !time.Now().Before(end)
}

// cutShort is the error of an op that ended because its context did. It says
// what the op was at, and leaves the rest to Perform.
type cutShort struct {
	text string
	why  error
}

func (c *cutShort) Error() string { return c.text }
func (c *cutShort) Unwrap() error { return c.why }

func cut(ctx context.Context, format string, args ...any) error {
	return &cutShort{text: fmt.Sprintf(format, args...), why: ctx.Err()}
}

// WaitPort waits until a TCP port accepts connections.
type WaitPort struct {
	Addr string // HOST:PORT; PORT alone is this host's own
}

func waitPortEntry() Entry {
	return Entry{
		Name:    "wait_port",
		Args:    "[HOST:]PORT",
		Summary: "wait until a TCP port accepts connections",
		Help: `It is tried at once, then after 0.1 s, and at last every second, from the host that
the job is on; a port alone is one of that host itself. The limit is the job's
timeout: when it passes the step is TIMED OUT, and says what the last try got.`,
		Example: "remote timeout=30s wait_port 5432",
		Parse: func(args []string) (Op, error) {
			if len(args) != 1 {
				return nil, fmt.Errorf("it takes one argument, not %d", len(args))
			}
			return WaitPort{Addr: args[0]}, nil
		},
	}
}

func (w WaitPort) hostPort() (host, port string, err error) {
	if !strings.Contains(w.Addr, ":") {
		host, port = "localhost", w.Addr
	} else if host, port, err = net.SplitHostPort(w.Addr); err != nil {
		return "", "", err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("%q is not a port from 1 to 65535", port)
	}
	if host == "" {
		host = "localhost"
	}
	return host, port, nil
}

// Validate checks the address.
func (w WaitPort) Validate() error {
	_, _, err := w.hostPort()
	return err
}

// Do waits.
func (w WaitPort) Do(ctx context.Context, env *Env) error {
	return poll(ctx, func(ctx context.Context) error { return w.Verify(ctx, env) })
}

// Verify tries once.
func (w WaitPort) Verify(ctx context.Context, _ *Env) error {
	host, port, err := w.hostPort()
	if err != nil {
		return Errorf("%w", err)
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil && over(ctx) {
		return fmt.Errorf("%s does not answer", net.JoinHostPort(host, port))
	}
	if err != nil {
		return err
	}
	return c.Close()
}

// ByHand loops as a person would.
func (w WaitPort) ByHand(*config.Node) []string {
	host, port, _ := w.hostPort()
	return []string{"until " + quote("nc", "-z", host, port) + "; do sleep 1; done"}
}

// Repeatable and Inert: it only looks.
func (w WaitPort) Repeatable() {}
func (w WaitPort) Inert()      {}

// WaitHTTP waits until a URL answers as it should.
type WaitHTTP struct {
	URL      string
	Status   int    // 0 is 200
	Contains string // in the first MiB of the body; "" is anything
}

// maxBody is how much of an answer is looked at.
const maxBody = 1 << 20

func waitHTTPEntry() Entry {
	return Entry{
		Name:    "wait_http",
		Args:    "URL [status=200] [contains=TEXT]",
		Summary: "wait until a URL answers with a status, and a text in it",
		Help: `It is asked at once, then after 0.1 s, and at last every second, from the host that
the job is on, until it answers with the status and its first MiB contains the
text. Redirects are not
followed, proxies not used, certificates verified. The limit is the job's
timeout: when it passes the step is TIMED OUT, and says what the last answer was.

FAILED at once when the server's certificate is not valid.`,
		Example: "remote timeout=30s wait_http http://127.0.0.1:%(http.port)s/health",
		Parse:   parseWaitHTTP,
	}
}

func parseWaitHTTP(args []string) (Op, error) {
	var w WaitHTTP
	for i, a := range args {
		key, value, _ := strings.Cut(a, "=")
		switch {
		case i == 0:
			w.URL = a
		case key == "status":
			n, err := strconv.Atoi(value)
			if err != nil || n < 100 || n > 599 {
				return nil, fmt.Errorf("status %q is not from 100 to 599", value)
			}
			w.Status = n
		case key == "contains" && value != "":
			w.Contains = value
		default:
			return nil, fmt.Errorf("unexpected argument %q", config.Mask(a))
		}
	}
	if w.URL == "" {
		return nil, errors.New("it needs a URL")
	}
	return w, nil
}

// Validate checks the URL.
func (w WaitHTTP) Validate() error {
	u, err := url.Parse(config.Mask(w.URL)) // a token's NULs are no part of it
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("%q is not an http:// or https:// URL", config.Mask(w.URL))
	}
	return nil
}

// Do waits.
func (w WaitHTTP) Do(ctx context.Context, env *Env) error {
	return poll(ctx, func(ctx context.Context) error { return w.Verify(ctx, env) })
}

// Verify asks once.
func (w WaitHTTP) Verify(ctx context.Context, _ *Env) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL, nil)
	if err != nil {
		return Errorf("%w", err)
	}
	req.Header.Set("User-Agent", "conc")
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return Failedf("%w", err)
	}
	if err != nil && over(ctx) {
		return fmt.Errorf("%s does not answer", w.URL)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode != w.status() {
		return fmt.Errorf("%s answered %s, want %d", w.URL, resp.Status, w.status())
	}
	if w.Contains == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if !bytes.Contains(body, []byte(w.Contains)) {
		if err != nil {
			return err
		}
		return fmt.Errorf("%s answered %s, without %q in it", w.URL, resp.Status, w.Contains)
	}
	return nil
}

func (w WaitHTTP) status() int {
	if w.Status == 0 {
		return http.StatusOK
	}
	return w.Status
}

// ByHand loops as a person would.
func (w WaitHTTP) ByHand(*config.Node) []string {
	lines := []string{fmt.Sprintf("until test \"$(%s)\" = %d; do sleep 1; done",
		quote("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", w.URL), w.status())}
	if w.Contains != "" {
		lines = append(lines, fmt.Sprintf("until %s | %s; do sleep 1; done",
			quote("curl", "-s", w.URL), quote("grep", "-qF", "--", w.Contains)))
	}
	return lines
}

// Repeatable and Inert: it only looks.
func (w WaitHTTP) Repeatable() {}
func (w WaitHTTP) Inert()      {}
