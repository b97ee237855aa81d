package nodetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// authority of the tests: a root, and what it has signed.
type signer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign makes a certificate for shop.test that is good between two times from now.
// A nil signer makes a root.
func (s *signer) sign(t *testing.T, name string, from, to time.Duration) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
	}
	parent, parentKey := template, key
	if s != nil {
		parent, parentKey = s.cert, s.key
		template.DNSNames, template.IPAddresses = []string{"shop.test", "*.web.test"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t, cert, key}
}

func (s *signer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})
}

// serve shows the certificate to whoever speaks TLS, and gives the port.
func (s *signer) serve(auth tls.ClientAuthType) string {
	config := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{s.cert.Raw}, PrivateKey: s.key}},
		ClientAuth:   auth,
		MaxVersion:   tls.VersionTLS12, // it is refused within the handshake
	}
	return listen(s.t, func(c net.Conn) { _ = tls.Server(c, config).Handshake() })
}

func TestCertChecks(t *testing.T) {
	env := here(t)
	const day = 24 * time.Hour
	root := (*signer)(nil).sign(t, "Test Root", -day, 3650*day)
	good := root.sign(t, "good", -day, 20*day+time.Hour)
	old := root.sign(t, "old", -20*day, -25*time.Hour)
	early := root.sign(t, "early", time.Hour, 20*day)
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(env.Home, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("root.pem", root.pem())
	write("good.pem", append([]byte("a comment\n-----BEGIN X-----\n-----END X-----\n"), good.pem()...))
	write("good.der", good.cert.Raw)
	write("old.pem", old.pem())
	write("early.pem", early.pem())
	write("key.pem", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	write("noise", []byte("hello\n"))
	if err := syscall.Mkfifo(filepath.Join(env.Home, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(good.cert.Raw)
	fill := strings.NewReplacer(
		"SERVER", "127.0.0.1:"+good.serve(tls.NoClientCert), "CLOSED", "127.0.0.1:"+closedPort(t),
		"MUTUAL", "127.0.0.1:"+good.serve(tls.RequireAnyClientCert),
		"MUTE", "127.0.0.1:"+listen(t, hold),
		"SSH", "127.0.0.1:"+listen(t, func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-x\r\n")); hold(c) }),
		"SUM", hex.EncodeToString(sum[:]),
		"GOODEND", good.cert.NotAfter.UTC().Format("2006-01-02 15:04:05 MST"), "OLDEND", old.cert.NotAfter.UTC().Format("2006-01-02 15:04:05 MST"),
		"EARLY", early.cert.NotBefore.UTC().Format("2006-01-02 15:04:05 MST"), "HOME", env.Home,
	)
	checkLines(t, env, fill, []lineCase{
		{"cert good.pem", "OK"},
		{"cert good.der days >14 days 20 name shop.test name a.web.test name 127.0.0.1 issuer 'CN=Test Root' subject good sha256 SUM", "OK"},
		{"cert good.pem verified ca root.pem", "OK"},
		{"cert good.pem days >30", "FAILED days >30: days 20 (until GOODEND)"},
		{"cert good.pem name a.b.web.test", "FAILED name a.b.web.test: name shop.test, *.web.test, 127.0.0.1"},
		{"cert root.pem name x", "FAILED name x: name none"},
		{"cert good.pem issuer Example", "FAILED issuer Example: issuer CN=Test Root"},
		{"cert good.pem verified", "FAILED verified: x509: certificate signed by unknown authority"},
		{"cert old.pem", "FAILED days >=0: days -2 (until OLDEND)"},
		{"cert early.pem days >1", "FAILED days >1: days none: not good before EARLY"},
		{"cert none.pem", "FAILED a certificate in HOME/none.pem: nothing there"},
		{"cert key.pem", "FAILED a certificate from HOME/key.pem: no certificate in it"},
		{"cert noise", "FAILED a certificate from HOME/noise: neither PEM nor DER"},
		{"cert fifo", "FAILED a certificate from HOME/fifo: HOME/fifo is a fifo, not a file"},
		{"cert SERVER days >14", "OK"},
		{"cert SERVER verified ca root.pem", "OK"},
		{"cert SERVER verified ca root.pem server-name shop.test", "OK"},
		{"cert SERVER verified ca root.pem server-name other.test", "FAILED verified for other.test: x509: certificate is valid for shop.test, *.web.test, not other.test"},
		{"cert MUTUAL days >14", "OK"},
		{"cert CLOSED", "FAILED a certificate from CLOSED: connect: connection refused"},
		{"cert SSH", "FAILED a certificate from SSH: tls: first record does not look like a TLS handshake"},
		{"timeout=200ms cert MUTE", "TIMED OUT over its limit of 200ms: no certificate from MUTE"},
	})
}
