package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// writeSSHScript writes what people write without a tool: ssh and scp over one
// shared connection, and xargs for many nodes.
func writeSSHScript(j *job) ([]string, error) {
	if err := j.put("app.conf.in", template("@version@")); err != nil {
		return nil, err
	}
	options := "-F " + j.config + " " + j.shared()
	var b strings.Builder
	b.WriteString("set -e\n")
	for _, s := range j.steps {
		switch s.kind {
		case send:
			fmt.Fprintf(&b, "scp -q %s %s $1:%s/\n", options, strings.Join(s.from, " "), s.to)
		case fill:
			fmt.Fprintf(&b, "sed s/@version@/%s/ app.conf.in >app.conf.$1\nscp -q %s app.conf.$1 $1:%s\n", version, options, s.to)
		case put:
			fmt.Fprintf(&b, "ssh %s $1 'cat >%s' <%s\n", options, s.to, s.from[0])
		case mirror:
			fmt.Fprintf(&b, "tar -C %s -czf - . | ssh %s $1 'mkdir -p %s && tar -xzf - -C %[3]s'\n", s.from[0], options, s.to)
		default:
			if line := s.remote(); line != "" {
				fmt.Fprintf(&b, "ssh -n %s $1 '%s'\n", options, line)
			}
		}
	}
	if err := j.put("one", b.String()); err != nil {
		return nil, err
	}
	if err := j.put("hosts", strings.Join(j.hosts, "\n")+"\n"); err != nil {
		return nil, err
	}
	return []string{"xargs", "-a", "hosts", "-n", "1", "-P", strconv.Itoa(j.forks), "sh", "one"}, nil
}

// The three that do nothing but send files have one step and one node.

func writeSCP(j *job) ([]string, error) {
	s := j.steps[0]
	to := s.to
	if s.kind == mirror { // into the directory, which has the same name, also when it is there
		to = filepath.Dir(to)
	}
	return []string{"scp", "-q", "-r", "-p", "-F", j.config, s.from[0], j.hosts[0] + ":" + to}, nil
}

func writeSFTP(j *job) ([]string, error) {
	s := j.steps[0]
	line := fmt.Sprintf("put %s %s\n", s.from[0], s.to)
	if s.kind == mirror {
		line = fmt.Sprintf("put -R %s %s\n", s.from[0], filepath.Dir(s.to))
	}
	return []string{"sftp", "-q", "-F", j.config, "-b", "batch", j.hosts[0]}, j.put("batch", line)
}

func writeRsync(flag string) func(*job) ([]string, error) {
	return func(j *job) ([]string, error) {
		s := j.steps[0]
		from := s.from[0]
		if s.kind == mirror {
			from += "/"
		}
		return []string{"rsync", flag, "-e", "ssh -F " + j.config, from, j.hosts[0] + ":" + s.to}, nil
	}
}

// writeClush and writePSSH have nothing but commands.

func writeClush(j *job) ([]string, error) {
	var b strings.Builder
	for _, s := range j.steps {
		fmt.Fprintf(&b, "clush -S -f %d -o '-F %s %s' -w %s %s || exit\n", j.forks, j.config, strings.ReplaceAll(j.shared(), "%", "%%"), strings.Join(j.hosts, ","), s.remote())
	}
	return []string{"sh", "deploy"}, j.put("deploy", b.String())
}

func writePSSH(j *job) ([]string, error) {
	if err := j.put("hosts", strings.Join(j.hosts, "\n")+"\n"); err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, s := range j.steps {
		fmt.Fprintf(&b, "parallel-ssh -h hosts -p %d -x '-F %s %s' %s || exit\n", j.forks, j.config, j.shared(), s.remote())
	}
	return []string{"sh", "deploy"}, j.put("deploy", b.String())
}

// shared lets several commands have one connection; one command has no use for it.
func (j *job) shared() string {
	if len(j.steps) == 1 {
		return ""
	}
	return j.master
}
