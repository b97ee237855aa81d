package nodetest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"strings"
	"time"

	"example.org/conc/jobs"
)

// certificate is the check of cert: one in a file, or of a TLS server.
type certificate struct {
	file   string // or
	server string // HOST:PORT
	name   string // that the server is asked for, and that has to be verified
	ca     string
	wants  []want
}

func certEntry() Entry {
	return Entry{
		Name:    "cert",
		Args:    "FILE|HOST:PORT [days BOUND] [name NAME] [issuer TEXT] [subject TEXT] [sha256 HEX] [verified] [server-name NAME] [ca FILE]",
		Summary: "a certificate: how long it is good, for which names, from whom",
		Help: `FILE is in PEM or DER form; its first certificate counts, the others are its chain.
From HOST:PORT the node gets what the TLS server there shows, whether it can be
trusted or not; server-name is the name that the server is asked for (SNI), HOST
where none is said. A file whose name looks like HOST:PORT is written as ./NAME.

days is how many whole days it is still good for, with an operator: >14; 0 on the
last day, less than 0 after it. One that is not good yet is FAILED. name is a host
name or an IP address that it has to be made for; a wildcard in it counts. issuer
and subject are a part of the issuer's and the subject's name, as in CN=Example CA.
sha256 is that of the certificate itself. verified wants that its chain leads to a
root that the node trusts, or to one in the PEM file ca, and, for a server, that it
is made for the server's name. With no property it has to be good today.

A server that cannot be reached, or does not speak TLS, is FAILED.`,
		Example: "level=monitoring cert shop.example.org:443 verified days >14",
		Parse:   parseCert,
	}
}

var certProperties = grammar{
	flags: []string{"verified"},
	values: map[string]func(string) error{
		"days": isBound(plainNumber), "name": nil, "issuer": nil, "subject": nil, "sha256": isSHA256, "server-name": nil, "ca": nil,
	},
}

func parseCert(args []string) (Check, error) {
	where, rest, err := subject(args, "a file, or HOST:PORT")
	if err != nil {
		return nil, err
	}
	var c certificate
	if host, ok := hostPort(where); ok && !strings.Contains(where, "/") {
		c.server, c.name = where, host
	} else {
		c.file = where
	}
	wants, err := certProperties.read(rest)
	if err != nil {
		return nil, err
	}
	for _, w := range wants {
		switch w.property {
		case "server-name":
			if c.file != "" {
				return nil, errors.New("server-name is for HOST:PORT")
			}
			c.name = w.value
		case "ca":
			c.ca = w.value
		default:
			c.wants = append(c.wants, w)
		}
	}
	if len(c.wants) == 0 {
		c.wants = []want{{"days", ">=0"}}
	}
	return c, nil
}

// Look gets the certificate and looks at it.
func (c certificate) Look(ctx context.Context, env *jobs.Env) ([]Finding, error) {
	get, where := c.shown, c.server
	if c.file != "" {
		where = env.Path(c.file)
		get = func(context.Context) ([]*x509.Certificate, error) { return readCertificates(where) }
	}
	var roots *x509.CertPool
	if c.ca != "" {
		var err error
		if roots, err = readRoots(env.Path(c.ca)); err != nil {
			return nil, err
		}
	}
	chain, err := get(ctx)
	switch {
	case err != nil && late(ctx):
		return nil, &stalled{"no certificate from " + where, ctx.Err()}
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{{Want: "a certificate in " + where, Got: "nothing there"}}, nil
	case errors.Is(err, fs.ErrPermission) && c.file != "":
		return nil, unreadable(err)
	case err != nil:
		return []Finding{{Want: "a certificate from " + where, Got: reason(err)}}, nil
	}
	var findings []Finding
	for _, w := range c.wants {
		findings = append(findings, c.property(chain, roots, w))
	}
	return findings, nil
}

// shown gets the chain that a server shows, whether it can be trusted or not.
func (c certificate) shown(ctx context.Context) (chain []*x509.Certificate, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	talk := tls.Client(conn, &tls.Config{
		ServerName:         c.name,
		InsecureSkipVerify: true, // it is looked at, whatever it is
		VerifyConnection: func(s tls.ConnectionState) error {
			chain = s.PeerCertificates
			return nil
		},
	})
	err = talk.HandshakeContext(ctx)
	if len(chain) > 0 {
		return chain, nil // what went wrong after it, for want of one of ours, does not matter
	}
	if err == nil {
		err = errors.New("the server shows no certificate")
	}
	return nil, err
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	raw, err := readRegular(path)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(string(raw), "-----BEGIN ") {
		chain, err := x509.ParseCertificates(raw)
		if err != nil || len(chain) == 0 {
			return nil, errors.New("neither PEM nor DER")
		}
		return chain, nil
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return chain, nil
}

// readRoots reads the certificates of a PEM file that are to be trusted.
func readRoots(path string) (*x509.CertPool, error) {
	text, err := readRegular(path)
	if err != nil {
		return nil, unreadable(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, jobs.Errorf("%s has no certificate in it", path)
	}
	return roots, nil
}

func (c certificate) property(chain []*x509.Certificate, roots *x509.CertPool, w want) Finding {
	leaf := chain[0]
	switch w.property {
	case "days":
		return daysLeft(leaf, w.value, time.Now())
	case "name":
		err := leaf.VerifyHostname(w.value)
		return found(err == nil, "name", w.value, namesOf(leaf))
	case "issuer":
		return found(strings.Contains(leaf.Issuer.String(), w.value), "issuer", w.value, leaf.Issuer.String())
	case "subject":
		return found(strings.Contains(leaf.Subject.String(), w.value), "subject", w.value, leaf.Subject.String())
	case "sha256":
		sum := sha256.Sum256(leaf.Raw)
		got := hex.EncodeToString(sum[:])
		return found(strings.EqualFold(got, w.value), "sha256", strings.ToLower(w.value), got)
	}
	others := x509.NewCertPool()
	for _, o := range chain[1:] {
		others.AddCert(o)
	}
	f := Finding{Want: "verified", Got: "verified"}
	if c.name != "" {
		f.Want += " for " + c.name
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: c.name, Roots: roots, Intermediates: others, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if f.OK = err == nil; err != nil {
		f.Got = err.Error()
	}
	return f
}

// namesOf gives what a certificate is made for.
func namesOf(c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// daysLeft judges for how many whole days more a certificate is good.
func daysLeft(c *x509.Certificate, wanted string, now time.Time) Finding {
	if now.Before(c.NotBefore) {
		return found(false, "days", wanted, "none: not good before "+c.NotBefore.UTC().Format(time.DateTime+" MST"))
	}
	days := math.Floor(c.NotAfter.Sub(now).Hours() / 24)
	b, err := readBound(wanted, ">=", plainNumber)
	return found(err == nil && b.holds(days), "days", wanted, fmt.Sprintf("%.0f (until %s)", days, c.NotAfter.UTC().Format(time.DateTime+" MST")))
}
