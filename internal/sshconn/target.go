package sshconn

import (
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"al.essio.dev/pkg/shellescape"
)

// Target is where a node is, and how to get there.
type Target struct {
	Node    string // name, for messages; "" for a hop that is no node
	User    string
	Host    string // name or address, as dialled
	Port    int
	OpKey   string   // op_key; "" is the agent and the default keys
	HostKey string   // pin "SHA256:…"; "" is known_hosts
	Jump    []Target // hops before it, the first to dial first; theirs are empty
	Files   []string // identity files: those that op_key names, or ~/.ssh/config
	Certs   []string // certificate files that ~/.ssh/config names
	Only    bool     // no key of the agent that is not among Files
	Known   []string // known_hosts files; empty: ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
}

// String gives user@host:port, with brackets for an IPv6 literal.
func (t Target) String() string { return t.User + "@" + t.addr() }

// addr is what is dialled.
func (t Target) addr() string { return net.JoinHostPort(t.Host, strconv.Itoa(t.Port)) }

// record is the address under which known_hosts has the host.
func (t Target) record() string {
	return net.JoinHostPort(strings.ToLower(t.Host), strconv.Itoa(t.Port))
}

// plainUser is an account's name that ssh cannot take for anything else.
var plainUser = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// SSHArgs gives the arguments with which the user's own ssh program reaches
// the same place with the same options: {"-p", "22", "-i", KEY, "deploy@host"}.
// The destination is the last one. A pin cannot be told to ssh.
func (t Target) SSHArgs() []string {
	args := []string{"-p", strconv.Itoa(t.Port)}
	for _, f := range t.Files {
		args = append(args, "-i", f)
	}
	if t.OpKey != "" || t.Only {
		args = append(args, "-o", "IdentitiesOnly=yes")
	}
	for _, f := range t.Certs {
		args = append(args, "-o", "CertificateFile="+sshQuote(f))
	}
	if len(t.Known) > 0 {
		files := make([]string, len(t.Known))
		for i, f := range t.Known {
			files[i] = sshQuote(f)
		}
		args = append(args, "-o", "UserKnownHostsFile="+strings.Join(files, " "))
	}
	args = append(args, "-o", "StrictHostKeyChecking=yes")
	switch {
	case len(t.Jump) == 0:
	case t.plainJump():
		hops := make([]string, len(t.Jump))
		for i, h := range t.Jump {
			hops[i] = h.String()
		}
		args = append(args, "-J", strings.Join(hops, ","))
	default:
		args = append(args, "-o", "ProxyCommand="+t.proxyCommand())
	}
	if plainUser.MatchString(t.User) && !strings.HasPrefix(t.Host, "-") {
		return append(args, t.User+"@"+t.Host)
	}
	return append(args, "-l", t.User, "--", t.Host)
}

// copyID is the line by which a person brings a key to the target. No account's
// name means anything to a shell, or is an option, in it.
func (t Target) copyID(key string) string {
	args := []string{"ssh-copy-id", "-i", key + ".pub", "-p", strconv.Itoa(t.Port)}
	if plainUser.MatchString(t.User) {
		return shellescape.QuoteCommand(append(args, t.User+"@"+t.Host))
	}
	return shellescape.QuoteCommand(append(args, "-o", "User="+t.User, t.Host))
}

// plainJump tells whether -J says all there is to say of the hops: it takes no
// keys and files for them.
func (t Target) plainJump() bool {
	for _, h := range t.Jump {
		if len(h.Files)+len(h.Certs)+len(h.Known) > 0 || h.OpKey != "" || h.Only || !plainUser.MatchString(h.User) {
			return false
		}
	}
	return true
}

// proxyCommand is the line by which ssh reaches the last hop, and that hop the
// target. A hop's own arguments pass a shell and one round of ssh's % tokens.
func (t Target) proxyCommand() string {
	last := t.Jump[len(t.Jump)-1]
	last.Jump = t.Jump[:len(t.Jump)-1]
	words := []string{"ssh"}
	for _, a := range last.SSHArgs() {
		words = append(words, shellescape.Quote(strings.ReplaceAll(a, "%", "%%")))
	}
	// The option stands before the destination.
	return strings.Join(append(words[:1:1], append([]string{"-W", "'[%h]:%p'"}, words[1:]...)...), " ")
}

// sshQuote writes a file's name as a word of an ssh option. ssh expands %.
func sshQuote(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if strings.ContainsAny(path, " \t") {
		return `"` + path + `"`
	}
	return path
}

// knownFiles are the known_hosts files to read, the user's first.
func (t Target) knownFiles(home string) []string {
	if len(t.Known) > 0 {
		return t.Known
	}
	return []string{filepath.Join(home, ".ssh", "known_hosts"), "/etc/ssh/ssh_known_hosts"}
}

// label names the target in messages about it.
func (t Target) label() string {
	if t.Node == "" {
		return t.String()
	}
	return t.Node + " (" + t.String() + ")"
}
