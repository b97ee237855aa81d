package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// peer is a tool, and how it is told what to do. Each does the work as its own
// manual teaches it, with the settings that it comes with; connections are
// shared where the tool can share them.
type peer struct {
	name    string
	needs   []string                                            // programs
	kinds   []kind                                              // of steps, that it can do; nil is all
	version []string                                            // what tells it
	library func(ctx context.Context) (version string, ok bool) // beside the programs; nil: none
	write   func(j *job) (argv []string, err error)             // writes its files into j.dir

	told string // the version, in the end
}

// peerTable is every peer, conc first.
func peerTable() []peer {
	return []peer{
		{name: "conc", write: writeConc},
		{name: "ssh", needs: []string{"ssh", "scp", "tar"}, version: []string{"ssh", "-V"}, write: writeSSHScript},
		{name: "scp", needs: []string{"scp"}, kinds: []kind{put, mirror}, version: []string{"ssh", "-V"}, write: writeSCP},
		{name: "sftp", needs: []string{"sftp"}, kinds: []kind{put, mirror}, version: []string{"ssh", "-V"}, write: writeSFTP},
		{name: "rsync", needs: []string{"rsync"}, kinds: []kind{put, mirror}, version: []string{"rsync", "--version"}, write: writeRsync("-a")},
		{name: "rsync-z", needs: []string{"rsync"}, kinds: []kind{mirror}, version: []string{"rsync", "--version"}, write: writeRsync("-az")},
		{name: "ansible", needs: []string{"ansible-playbook"}, kinds: notTrees, version: []string{"ansible", "--version"}, write: writeAnsible},
		{name: "mitogen", needs: []string{"ansible-playbook"}, kinds: notTrees, library: hasMitogen, write: writeMitogen},
		{name: "fabric", needs: []string{"fab"}, kinds: notTrees, version: []string{"fab", "--version"}, write: writeFabric},
		{name: "capistrano", needs: []string{"cap"}, kinds: notTrees, version: []string{"cap", "--version"}, write: writeCapistrano},
		{name: "clush", needs: []string{"clush"}, kinds: []kind{command}, version: []string{"clush", "--version"}, write: writeClush},
		{name: "pssh", needs: []string{"parallel-ssh"}, kinds: []kind{command}, version: []string{"parallel-ssh", "--version"}, write: writePSSH},
		{name: "spot", needs: []string{"spot"}, version: []string{"spot", "--version"}, write: writeSpot},
	}
}

// notTrees are the kinds of those that send a tree file by file, if at all: they
// would be at it for hours.
var notTrees = []kind{lock, send, mkdir, untar, fill, link, command, put, unlock}

// can tells whether a peer has a part in a work.
func (p peer) can(w work) bool {
	if p.name != "conc" && len(w.only) > 0 && !slices.Contains(w.only, p.name) {
		return false
	}
	if p.kinds == nil {
		return true
	}
	for _, k := range w.kinds() {
		if !slices.Contains(p.kinds, k) {
			return false
		}
	}
	return true
}

// installed gives the peers that are here and wanted, with their versions, and
// the names of those that are wanted and not here.
func installed(ctx context.Context, o options) (here []peer, missing []string) {
	for _, p := range peerTable() {
		if p.name != "conc" && len(o.peers) > 0 && !slices.Contains(o.peers, p.name) {
			continue
		}
		if p.name == "conc" {
			p.version = []string{o.conc, "version"}
		}
		there := true
		if p.library != nil {
			p.told, there = p.library(ctx)
		}
		for _, name := range p.needs {
			if _, err := exec.LookPath(name); err != nil {
				there = false
			}
		}
		if !there {
			missing = append(missing, p.name)
			continue
		}
		if p.version != nil {
			p.told = tellVersion(ctx, p.version)
		}
		here = append(here, p)
	}
	return here, missing
}

// number is a version among what a program says of itself.
var number = regexp.MustCompile(`\d+(\.\d+)+[-+.\w]*`)

func tellVersion(ctx context.Context, argv []string) string {
	out, _ := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	return number.FindString(string(out))
}

// job is one work for one peer.
type job struct {
	dir   string // the peer's own; it is started there
	steps []step
	hosts []string // as the ssh configuration has them
	forks int
	door  *door
	node  *node
	conc  string
	env   []string // further environment, which write may add to

	config string // the ssh configuration
	master string // options that let ssh share a connection
}

// writeSSH writes the ssh configuration, which stands in the place of the
// user's: a Host for each node. Sockets are made in a directory with a short name.
func (j *job) writeSSH(sockets string) error {
	if err := os.MkdirAll(sockets, 0o700); err != nil {
		return err
	}
	var b strings.Builder
	for _, name := range j.hosts {
		fmt.Fprintf(&b, "Host %s\n  HostName 127.0.0.1\n  Port %d\n  User %s\n", name, j.door.proxy.Port, j.node.account(name))
	}
	fmt.Fprintf(&b, "Host *\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n  BatchMode yes\n",
		j.node.KeyFile, j.node.KnownHosts)
	j.config = filepath.Join(j.dir, "ssh_config")
	j.master = "-o ControlMaster=auto -o ControlPersist=60s -o ControlPath=" + filepath.Join(sockets, "%n")
	j.env = append(j.env, "ANSIBLE_SSH_CONTROL_PATH_DIR="+sockets)
	return j.put("ssh_config", b.String())
}

// put writes one of the peer's files.
func (j *job) put(name, text string) error {
	path := filepath.Join(j.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// remote gives a step that is a shell's on the node: the lines of those peers
// that have nothing but a shell there. It is "" for the others.
func (s step) remote() string {
	switch s.kind {
	case lock:
		return "mkdir " + s.to
	case mkdir:
		return "mkdir -p " + s.to
	case untar:
		return "tar -xzf " + bundle + "/" + s.from[0] + " -C " + s.to
	case link:
		return "ln -sfn " + s.from[0] + " " + s.to
	case command:
		return strings.Join(s.from, " ")
	case unlock:
		return "rm -r " + s.to
	}
	return ""
}
