package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// writeConc writes the deploy.ini: the node's bundle is the lock, and what is
// sent goes there.
func writeConc(j *job) ([]string, error) {
	const name = "app.conf.tmpl"
	if err := j.put(name, template("{{.version}}")); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[DEFAULT]\nversion = %s\nop_key = %s\nbundle = bench-bundle\nsshd.ip = 127.0.0.1\nsshd.port = %d\njobs = work\n",
		version, j.node.OpKey, j.door.proxy.Port)
	b.WriteString("[group:fleet]\n")
	for _, host := range j.hosts {
		fmt.Fprintf(&b, "[node:%s]\nadmin = %s\ngroups = fleet\n", host, j.node.account(host))
	}
	b.WriteString("[jobs:work]\n")
	for i, s := range j.steps {
		line := ""
		switch s.kind {
		case lock:
			line = "remote open_bundle"
		case stage:
			line = "local open_bundle"
		case send:
			line = "local deliver " + strings.Join(s.from, " ") + " " + filepath.Join(j.dir, name)
		case mkdir:
			line = "remote mkdir " + s.to
		case untar:
			line = "remote untar " + s.from[0] + " to=" + s.to + " replace"
		case fill:
			line = "remote template " + name + " " + s.to
		case link:
			line = "remote symlink " + s.from[0] + " " + s.to
		case command:
			line = "remote run " + strings.Join(s.from, " ")
		case put:
			line = "local put " + s.from[0] + " " + s.to
		case mirror:
			line = "local deliver " + s.from[0] + " to=~/" + filepath.Dir(s.to) // under its own name, which is the same
		case unlock:
			line = "remote close_bundle"
		case unstage:
			line = "local close_bundle"
		}
		fmt.Fprintf(&b, "step%02d = %s\n", i+1, line)
	}
	if err := j.put("deploy.ini", b.String()); err != nil {
		return nil, err
	}
	return []string{j.conc, "deploy", "@fleet", "-f", strconv.Itoa(j.forks), "--max-fail", "0", "--color", "never"}, nil
}
