package config

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/dustin/go-humanize"
)

// The checks of the values that conc reads. Each gets the value as substituted,
// and its error says what would be right.

var errEmpty = errors.New("is empty; leave the line out for none")

func checkFilled(s string) error {
	if s == "" {
		return errEmpty
	}
	return nil
}

func checkPort(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return errors.New("is no port: 1 to 65535")
	}
	return nil
}

func checkDuration(s string) error {
	_, err := ParseDuration(s)
	if err != nil {
		err = errors.New("is " + err.Error())
	}
	return err
}

func checkSize(s string) error {
	if n, err := humanize.ParseBytes(s); err != nil || n > 1<<50 {
		return errors.New(`is no size: write "500MiB", "1GiB" or a number of bytes`)
	}
	return nil
}

func checkDisconnect(s string) error {
	if s != "finish" && s != "kill" {
		return errors.New("is neither finish nor kill")
	}
	return nil
}

// checkHost wants an IP address or a host's name.
func checkHost(s string) error {
	switch {
	case isIP(s) || isHostName(s):
		return nil
	case s == "":
		return errors.New("is empty; leave the line out to use the node's name")
	case strings.HasPrefix(s, "["):
		return errors.New("is no address: write it without brackets")
	case strings.Count(s, ":") == 1:
		return errors.New("is no address: the port belongs in sshd.port")
	}
	return errors.New("is neither an IP address nor a host name")
}

var zonePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.-]*$`) })

func isIP(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && zonePattern().MatchString(a.Zone())
}

var labelPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`) })

// isHostName follows RFC 1123, with the underscores that people have. A name
// whose last label is a number would be taken for a bad IPv4 address.
func isHostName(s string) bool {
	labels := strings.Split(strings.TrimSuffix(s, "."), ".")
	for _, l := range labels {
		if !labelPattern().MatchString(l) {
			return false
		}
	}
	return len(s) <= 253 && strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// checkHostKey wants a fingerprint as ssh-keygen -l shows it.
func checkHostKey(s string) error {
	sum, ok := strings.CutPrefix(s, "SHA256:")
	if b, err := base64.RawStdEncoding.Strict().DecodeString(sum); !ok || err != nil || len(b) != 32 {
		return errors.New(`is no fingerprint: "SHA256:" and 43 characters, as conc trust and ssh-keygen -l show it`)
	}
	return nil
}

// checkJump wants the form of a jump host: none, a node or host, user@host:port.
func checkJump(s string) error {
	if s == "none" || isName(s) {
		return nil
	}
	bad := errors.New("is no jump host: a node's name, user@host:port, or none")
	host := s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		if host = s[i+1:]; i == 0 {
			return bad
		}
	}
	if isIP(host) || isHostName(host) {
		return nil
	}
	i := strings.LastIndexByte(host, ':')
	if i < 0 || checkPort(host[i+1:]) != nil {
		if i = len(host); !strings.HasSuffix(host, "]") {
			return bad
		}
	}
	host = host[:i]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok && isIP(inner) && strings.Contains(inner, ":") {
			return nil
		}
		return bad
	}
	if !isHostName(host) && !(isIP(host) && !strings.Contains(host, ":")) {
		return bad
	}
	return nil
}

// checkOpKey wants the end of the name of a file in ~/.ssh.
func checkOpKey(s string) error {
	if strings.ContainsAny(s, `/\`) {
		return errors.New("has a slash: it is the end of a file's name in ~/.ssh, id_<type>-<op_key>")
	}
	return nil // empty is none, for a node whose group has one
}

// checkBundle wants a directory below the admin's home, and not one that is
// there for something else.
func checkBundle(s string) error {
	top, _, _ := strings.Cut(s, "/")
	switch {
	case s == "":
		return errors.New("is empty")
	case strings.HasPrefix(s, "~"):
		return errors.New("starts with ~: it is relative to the admin's home as it is")
	case strings.HasPrefix(s, "/"):
		return errors.New("is absolute: it must be relative to the admin's home")
	case s == "." || s != path.Clean(s) || top == "..":
		return errors.New(`does not name a directory below the admin's home plainly: no ".", "..", or double or last slash`)
	case top == ".conc" || top == ".ssh":
		return errors.New("is in " + top + ", which is not conc's to lock")
	case len(s) > 200:
		return errors.New("is longer than 200 bytes")
	}
	return nil
}

// checkVenv wants a path: absolute, or relative to the admin's home.
func checkVenv(s string) error {
	p := strings.TrimPrefix(s, "~/")
	switch {
	case s == "":
		return errEmpty
	case strings.HasPrefix(p, "~"):
		return errors.New("is in the home of someone else: write ~/DIR, DIR or /DIR")
	case p == "." || p == "/" || p != path.Clean(p) || strings.HasPrefix(p, "..") && (p == ".." || p[2] == '/'):
		return errors.New(`does not name a directory plainly: no ".", "..", or double or last slash`)
	}
	return nil
}

func checkListName(s string) error {
	if !isName(s) {
		return errors.New("is no name for a list")
	}
	return nil
}

func checkSecret(s string) error {
	if !secretToken().MatchString(s) {
		return errors.New(`is not "secret:NAME": a password does not belong in a file`)
	}
	return nil
}
