package nodetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"example.org/conc/config"
	"example.org/conc/jobs"
)

// httpCheck is the check of http: one request, and what is wanted of the answer.
type httpCheck struct {
	url              *url.URL
	method           string
	header           http.Header // of the request
	body             string      // of the request
	login            string      // NAME:PASSWORD
	follow, insecure bool
	connect          string // HOST:PORT in place of the URL's
	proxy            *url.URL
	ca, cert, key    string // files
	wants            []httpWant
}

// httpWant is something that is wanted of the answer, or of one header in it.
type httpWant struct {
	header string // "" is not about a header
	want
}

func httpEntry() Entry {
	return Entry{
		Name: "http",
		Args: "URL [status CODE] [[body] contains|lacks|matches TEXT] [header NAME contains|lacks|matches TEXT|absent] [time BOUND] [days BOUND] " +
			"[follow] [insecure] [method METHOD] [request-header 'NAME: VALUE'] [request-body TEXT] [login NAME:PASSWORD] [connect HOST:PORT] [proxy URL] [ca FILE] [client-cert FILE client-key FILE]",
		Summary: "a web server's answer: status, headers, body, time, certificate",
		Help: `The node asks for the URL. What is wanted of the answer, each as often as you like:

status is a code such as 404, a class such as 2xx, or a bound such as <400; 200 where
none is named. contains, lacks and matches look at the body, as for file, up to its
first MiB; header NAME is followed by one of them, or by absent. A header that is
there several times counts with all its values. time is how long the whole answer
may take: <500ms. days is how many days the server's certificate is still good for:
>14.

How it is asked for: with GET, or the METHOD. Redirects are not followed, or up to
ten with follow; what request-header and login say is not sent to another host or port then, and the
request-body makes it FAILED.
The certificate is verified, for the URL's host and by the node's own roots or
those of the PEM file ca; insecure leaves that out. connect is the server to connect
to in place of the URL's host, which stays the name that is asked for: 127.0.0.1:443.
No proxy is used but the one that is named.

A server that cannot be reached, or says what is not HTTP, is FAILED. One that does
not answer is TIMED OUT at the end of the check's time.`,
		Example: "timeout=5s http http://127.0.0.1:%(http.port)s/health time <1s",
		Goss:    "http",
		Parse:   parseHTTP,
	}
}

// maxBody is how much of an answer is looked at, and maxHops how many redirects
// are followed.
const (
	maxBody   = 1 << 20
	maxHeader = 256 << 10
	maxHops   = 10
)

var (
	textProperties = grammar{values: map[string]func(string) error{contains: nil, lacks: nil, matches: isPattern}}

	httpProperties = grammar{
		flags: []string{"follow", "insecure"},
		values: with(textProperties.values, map[string]func(string) error{
			"status": isStatus, "time": isBound(secondsNumber), "days": isBound(plainNumber),
			"method": isMethod, "request-header": isHeader, "request-body": nil, "login": isLogin,
			"connect": isHostPort, "proxy": isURL, "ca": nil, "client-cert": nil, "client-key": nil,
		}),
	}
)

func parseHTTP(args []string) (Check, error) {
	raw, rest, err := subject(args, "a URL")
	if err != nil {
		return nil, err
	}
	c := httpCheck{method: http.MethodGet, header: http.Header{}}
	if c.url, err = readURL(raw); err != nil {
		return nil, err
	}
	for len(rest) > 0 {
		var w httpWant
		g, n := httpProperties, 1
		switch {
		case rest[0] == "body":
			g, rest = textProperties, rest[1:]
			if len(rest) == 0 {
				return nil, errors.New("body is followed by contains, lacks or matches and a text")
			}
		case rest[0] == "header" && len(rest) > 2 && rest[2] == "absent":
			c.wants = append(c.wants, httpWant{rest[1], want{property: "absent"}})
			rest = rest[3:]
			continue
		case rest[0] == "header":
			if len(rest) < 4 {
				return nil, errors.New("header is followed by a name, and then by absent, or by contains, lacks or matches and a text")
			}
			g, w.header, rest = textProperties, rest[1], rest[2:]
		}
		if _, takes := g.values[rest[0]]; takes {
			n = min(2, len(rest))
		}
		ws, err := g.read(rest[:n])
		if err != nil {
			return nil, err
		}
		w.want, rest = ws[0], rest[n:]
		if !c.set(w.want) {
			c.wants = append(c.wants, w)
		}
	}
	if c.connect != "" && strings.ContainsFunc(c.url.Hostname(), func(r rune) bool { return r > unicode.MaxASCII }) {
		return nil, errors.New("with connect, the URL's host is written in its ASCII form (xn--...)")
	}
	if (c.cert == "") != (c.key == "") {
		return nil, errors.New("client-cert and client-key go together")
	}
	return c, nil
}

// set takes what is about the request; it is false for what is wanted of the answer.
func (c *httpCheck) set(w want) bool {
	switch w.property {
	case "follow":
		c.follow = true
	case "insecure":
		c.insecure = true
	case "method":
		c.method = w.value
	case "request-header":
		name, value, _ := strings.Cut(w.value, ":")
		c.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	case "request-body":
		c.body = w.value
	case "login":
		c.login = w.value
	case "connect":
		c.connect = w.value
	case "proxy":
		c.proxy, _ = readURL(w.value) // judged by the grammar, or later by the dial
	case "ca":
		c.ca = w.value
	case "client-cert":
		c.cert = w.value
	case "client-key":
		c.key = w.value
	default:
		return false
	}
	return true
}

// readURL reads an http:// or https:// URL. It is not shown: there may be a
// password in it.
func readURL(s string) (*url.URL, error) {
	u, err := url.Parse(config.Mask(s)) // a token's NULs are no part of it
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("it is not an http:// or https:// URL")
	}
	return u, nil
}

func isURL(s string) error {
	_, err := readURL(s)
	return err
}

func isStatus(s string) error {
	if len(s) == 3 && s[0] >= '1' && s[0] <= '5' && s[1:] == "xx" {
		return nil
	}
	if b, err := readBound(s, "=", plainNumber); err != nil || b.limit < 100 || b.limit > 599 {
		return errors.New("not a code from 100 to 599, a class such as 2xx, or a bound such as <400")
	}
	return nil
}

// statusIs tells whether a code is what isStatus has let pass.
func statusIs(code int, wanted string) bool {
	if class, ok := strings.CutSuffix(wanted, "xx"); ok {
		return class == strconv.Itoa(code/100)
	}
	b, err := readBound(wanted, "=", plainNumber)
	return err == nil && b.holds(float64(code))
}

func isMethod(s string) error {
	for _, r := range s {
		if (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' {
			return errors.New("not a method such as HEAD")
		}
	}
	return nil
}

// isHeader does not name the value: it may be a key to something.
func isHeader(s string) error {
	name, value, ok := strings.Cut(s, ":")
	if !ok || strings.TrimSpace(name) == "" || strings.ContainsAny(name, " \t\r\n") || strings.ContainsAny(value, "\r\n") {
		return errors.New("not 'NAME: VALUE'")
	}
	return nil
}

func isLogin(s string) error {
	if !strings.Contains(s, ":") {
		return errors.New("not NAME:PASSWORD")
	}
	return nil
}

// Look asks once.
func (c httpCheck) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	client, err := c.client(env)
	if err != nil {
		return nil, err
	}
	req, err := c.request(ctx)
	if err != nil {
		return nil, err
	}
	asked := c.method + " " + c.url.Redacted()
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		if late(ctx) {
			return nil, &stalled{"no answer to " + asked, ctx.Err()}
		}
		var u *url.Error
		if errors.As(err, &u) { // the URL is told already, without its password
			err = u.Err
		}
		return []Finding{{Want: asked, Got: reason(err)}}, nil
	}
	defer resp.Body.Close()
	var body []byte
	if c.reads() {
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
	}
	took := time.Since(begun)
	if err != nil && late(ctx) {
		return nil, &stalled{fmt.Sprintf("status %s, %d bytes, and no end to %s", resp.Status, len(body), asked), ctx.Err()}
	}
	var findings []Finding
	if err != nil {
		findings = append(findings, Finding{Want: asked + " to its end", Got: fmt.Sprintf("%d bytes, and then: %s", len(body), reason(err))})
	}
	return append(findings, c.judge(resp, body, took)...), nil
}

// reads tells whether the body matters: one that never ends must not keep a
// check waiting that asks for the status alone.
func (c httpCheck) reads() bool {
	return slices.ContainsFunc(c.wants, func(w httpWant) bool {
		_, text := textProperties.values[w.property]
		return w.property == "time" || w.header == "" && text
	})
}

// request is what is asked for.
func (c httpCheck) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url.String(), strings.NewReader(c.body))
	if err != nil {
		return nil, jobs.Errorf("the request cannot be made")
	}
	req.Header = c.header.Clone()
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "conc")
	}
	req.Host = req.Header.Get("Host") // "" is the URL's
	if name, password, ok := strings.Cut(c.login, ":"); ok {
		req.SetBasicAuth(name, password)
	}
	return req, nil
}

func (c httpCheck) client(env *jobs.Env) (*http.Client, error) {
	trust := &tls.Config{InsecureSkipVerify: c.insecure}
	if c.ca != "" {
		roots, err := readRoots(env.Path(c.ca))
		if err != nil {
			return nil, err
		}
		trust.RootCAs = roots
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(env.Path(c.cert), env.Path(c.key))
		if err != nil {
			return nil, unreadable(err)
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	t := &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader, Proxy: http.ProxyURL(c.proxy)}
	if c.proxy == nil {
		t.Proxy = nil
	}
	if c.connect != "" {
		t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == authority(c.url) {
				addr = c.connect
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}
	return &http.Client{Transport: t, CheckRedirect: c.redirect}, nil
}

// redirect does not tell another host what was meant for this one. Go itself
// drops the login, and does not drop headers that it does not know.
func (c httpCheck) redirect(req *http.Request, via []*http.Request) error {
	switch {
	case !c.follow:
		return http.ErrUseLastResponse
	case len(via) > maxHops:
		return fmt.Errorf("more than %d redirects", maxHops)
	}
	if authority(req.URL) != authority(c.url) {
		if c.body != "" && req.ContentLength > 0 {
			return errors.New("the redirect to another host wants the request's body")
		}
		for name := range c.header {
			req.Header.Del(name)
		}
		req.Header.Del("Authorization")
		req.Header.Del("Referer")
	}
	return nil
}

// authority gives a URL's host and port, the latter even where it is not named.
func authority(u *url.URL) string {
	p := u.Port()
	if p == "" {
		p = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), p)
}
