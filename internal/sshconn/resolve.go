package sshconn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"example.org/conc/config"
)

// Resolve finds a node's target in its attributes, filled in by ~/.ssh/config:
// an attribute of deploy.ini always wins over that file, and that file over
// what is built in. nodes gives the nodes that sshd.jump names. No network. The
// error names the key.
func Resolve(node *config.Node, nodes func(string) (*config.Node, error), o Options) (Target, error) {
	o = o.withDefaults()
	if o.User == "" {
		if u, err := user.Current(); err == nil {
			o.User = u.Username
		} else {
			o.User = o.Getenv("USER")
		}
	}
	r := resolver{nodes: nodes, o: o, file: newUserConfig(o)}
	return r.node(node)
}

type resolver struct {
	nodes func(string) (*config.Node, error)
	o     Options
	file  *userConfig
	chain []string // what is being resolved: each one's jump is the next
}

// maxHops bounds a chain of jump hosts.
const maxHops = 8

// enter takes a step along a chain of jumps; leave is to be called after it.
func (r *resolver) enter(name string) error {
	if slices.Contains(r.chain, name) {
		return fmt.Errorf("jump hosts that lead to each other: %s -> %s", strings.Join(r.chain, " -> "), name)
	}
	if len(r.chain) > maxHops {
		return fmt.Errorf("more than %d jump hosts: %s", maxHops, strings.Join(r.chain, " -> "))
	}
	r.chain = append(r.chain, name)
	return nil
}

func (r *resolver) leave() { r.chain = r.chain[:len(r.chain)-1] }

// node resolves a node and its own jump hosts.
func (r *resolver) node(n *config.Node) (Target, error) {
	if err := r.enter(n.Name()); err != nil {
		return Target{}, err
	}
	defer r.leave()

	said := map[string]config.Attr{} // what deploy.ini says
	for _, key := range []string{"admin", "sshd.ip", "sshd.port", "op_key", "sshd.hostkey", "sshd.jump"} {
		a, ok := n.Lookup(key)
		if !ok || a.Origin.Section == "built in" {
			continue
		}
		said[key] = a
		if len(config.SecretNames(a.Value)) > 0 {
			return Target{}, problem(a, errors.New("a secret cannot stand here"))
		}
	}
	alias := said["sshd.ip"].Value
	if alias == "" {
		alias = n.Name()
	}
	port := 0
	if a := said["sshd.port"]; a.Value != "" {
		var err error
		if port, err = parsePort(a.Value); err != nil {
			return Target{}, problem(a, err)
		}
	}
	t, err := r.host(alias, said["admin"].Value, port)
	if err != nil {
		return Target{}, err
	}
	t.Node, t.HostKey = n.Name(), said["sshd.hostkey"].Value
	if t.OpKey = said["op_key"].Value; t.OpKey != "" {
		t.Files, t.Certs, t.Only = opKeyFiles(r.o.Home, t.OpKey), nil, true
	}
	if a, ok := said["sshd.jump"]; ok {
		if t.Jump, err = r.jumps(a.Value, true); err != nil {
			return Target{}, problem(a, err)
		}
		return t, nil
	}
	t.Jump, err = r.ownJumps(alias)
	return t, err
}

// problem is a complaint about an attribute, which keeps that of one below it.
func problem(a config.Attr, err error) error {
	var deeper config.Problems
	if errors.As(err, &deeper) {
		return deeper
	}
	return config.Problems{{Origin: a.Origin, Reason: a.Key + ": " + err.Error()}}
}

// host resolves a name as it would be given to ssh: what is not said comes from
// ~/.ssh/config, or is built in. Its jump hosts are the caller's affair.
func (r *resolver) host(alias, account string, port int) (Target, error) {
	t := Target{User: account, Host: alias, Port: port}
	var err error
	get := func(key string) (v string) {
		if err == nil {
			v, err = r.file.first(alias, key)
		}
		return v
	}
	// A name may be an alias of ~/.ssh/config; an address is where deploy.ini says.
	if name := get("HostName"); name != "" && err == nil && !literal(alias) {
		t.Host, err = expandTokens(name, map[byte]string{'h': alias, 'n': alias})
	}
	if t.Port == 0 {
		t.Port = 22
		if s := get("Port"); s != "" && err == nil {
			if t.Port, err = parsePort(s); err != nil {
				err = fmt.Errorf("%s: Port of %s: %w", r.file.path, alias, err)
			}
		}
	}
	if t.User == "" {
		if t.User = get("User"); t.User == "" {
			t.User = r.o.User
		}
	}
	t.Only = strings.EqualFold(get("IdentitiesOnly"), "yes")
	if err != nil {
		return Target{}, err
	}
	tokens := map[byte]string{'h': t.Host, 'n': alias, 'd': r.o.Home, 'u': r.o.User, 'r': t.User, 'p': strconv.Itoa(t.Port)}
	if t.Files, err = r.file.paths(alias, "IdentityFile", tokens); err != nil {
		return Target{}, err
	}
	if t.Certs, err = r.file.paths(alias, "CertificateFile", tokens); err != nil {
		return Target{}, err
	}
	t.Known, err = r.file.knownHosts(alias, tokens)
	return t, err
}

// jumps resolves a list of hops. In deploy.ini a word may name a node.
func (r *resolver) jumps(list string, ini bool) ([]Target, error) {
	if list == "" || strings.EqualFold(list, "none") {
		return nil, nil
	}
	var hops []Target
	for i, word := range strings.Split(list, ",") {
		word = strings.TrimSpace(word)
		if ini && r.nodes != nil {
			if n, err := r.nodes(word); err == nil {
				t, err := r.node(n)
				if err != nil {
					return nil, err
				}
				own := t.Jump
				t.Jump = nil
				hops = append(append(hops, own...), t)
				continue
			}
		}
		account, host, port, err := parseHop(word)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		t, err := r.host(host, account, port)
		if err != nil {
			return nil, err
		}
		if i == 0 { // only the first hop is reached by a way of its own
			own, err := r.ownJumps(host)
			if err != nil {
				return nil, err
			}
			hops = append(hops, own...)
		}
		hops = append(hops, t)
	}
	return hops, nil
}

// ownJumps are the hops that ~/.ssh/config wants before a hop.
func (r *resolver) ownJumps(alias string) ([]Target, error) {
	list, err := r.file.first(alias, "ProxyJump")
	if err != nil || list == "" {
		return nil, err
	}
	if err := r.enter("host " + alias); err != nil {
		return nil, fmt.Errorf("%s: ProxyJump: %w", r.file.path, err)
	}
	defer r.leave()
	hops, err := r.jumps(list, false)
	if err != nil {
		return nil, fmt.Errorf("%s: ProxyJump of %s: %w", r.file.path, alias, err)
	}
	return hops, nil
}

// parseHop reads "user@host:port", of which user and port may be missing. An
// IPv6 literal needs brackets when a port follows it.
func parseHop(s string) (account, host string, port int, err error) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "ssh://"), "/")
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		account, s = s[:i], s[i+1:]
	}
	host = s
	if h, p, err := net.SplitHostPort(s); err == nil {
		if port, err = parsePort(p); err != nil {
			return "", "", 0, err
		}
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "" {
		return "", "", 0, errors.New("no host in it")
	}
	return account, host, port, nil
}

// literal tells whether host is an address, and no name.
func literal(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func parsePort(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("%q is not a port (1 to 65535)", s)
	}
	return n, nil
}

// inHome gives the file that path means: "~/" is the home.
func inHome(home, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(home, rest)
	}
	return path
}
