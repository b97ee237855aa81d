package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// mitogenWhere prints Mitogen's version, and where its strategies for Ansible are.
const mitogenWhere = `import ansible_mitogen, mitogen, os
print('.'.join(map(str, mitogen.__version__)))
print(os.path.join(os.path.dirname(ansible_mitogen.__file__), 'plugins', 'strategy'))`

// mitogen asks the Python that Ansible runs in.
func mitogen(ctx context.Context) (version, strategies string, ok bool) {
	path, err := exec.LookPath("ansible-playbook")
	if err != nil {
		return "", "", false
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", "", false
	}
	line, _, _ := strings.Cut(string(text), "\n")
	python := strings.Fields(strings.TrimPrefix(line, "#!"))
	if len(python) == 0 {
		return "", "", false
	}
	out, err := exec.CommandContext(ctx, python[len(python)-1], "-c", mitogenWhere).Output()
	if err != nil {
		return "", "", false
	}
	version, strategies, ok = strings.Cut(strings.TrimSpace(string(out)), "\n")
	return version, strategies, ok
}

func hasMitogen(ctx context.Context) (string, bool) {
	version, _, ok := mitogen(ctx)
	return version, ok
}

// writeMitogen is writeAnsible with the other strategy.
func writeMitogen(j *job) ([]string, error) {
	_, strategies, _ := mitogen(context.Background())
	j.env = append(j.env, "ANSIBLE_STRATEGY=mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS="+strategies)
	return writeAnsible(j)
}

// writeAnsible writes a playbook of builtin modules, without facts. Paths start
// with ~: where a module starts is not the same with every strategy.
func writeAnsible(j *job) ([]string, error) {
	if err := j.put("app.conf.j2", template("{{ version }}")); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "- hosts: all\n  gather_facts: false\n  vars:\n    version: %s\n  tasks:\n", version)
	task := func(lines ...string) { b.WriteString("    - " + strings.Join(lines, "\n      ") + "\n") }
	for _, s := range j.steps {
		switch s.kind {
		case send:
			task("copy:", "  src: '{{ item }}'", "  dest: ~/"+s.to+"/", "loop: ['"+strings.Join(s.from, "', '")+"']")
		case put:
			task("copy:", "  src: "+s.from[0], "  dest: ~/"+s.to)
		case mkdir:
			task("file:", "  path: ~/"+s.to, "  state: directory")
		case untar:
			task("unarchive:", "  src: ~/"+bundle+"/"+s.from[0], "  dest: ~/"+s.to, "  remote_src: true")
		case fill:
			task("template:", "  src: app.conf.j2", "  dest: ~/"+s.to)
		case link:
			task("file:", "  src: "+s.from[0], "  path: ~/"+s.to, "  state: link")
		case lock, command:
			task("command:", "  cmd: '"+s.remote()+"'", "  chdir: ~/")
		case unlock:
			task("file:", "  path: ~/"+s.to, "  state: absent")
		}
	}
	if err := j.put("deploy.yml", b.String()); err != nil {
		return nil, err
	}
	if err := j.put("hosts", strings.Join(j.hosts, "\n")+"\n"); err != nil {
		return nil, err
	}
	config := "[defaults]\ninventory = hosts\ninterpreter_python = /usr/bin/python3\nretry_files_enabled = false\n"
	if err := j.put("ansible.cfg", config); err != nil {
		return nil, err
	}
	j.env = append(
		j.env,
		"ANSIBLE_CONFIG="+filepath.Join(j.dir, "ansible.cfg"),
		"ANSIBLE_LOCAL_TEMP="+filepath.Join(j.dir, "tmp"),
		// Its own options, and the configuration that stands for the user's.
		"ANSIBLE_SSH_ARGS=-C -o ControlMaster=auto -o ControlPersist=60s -F "+j.config,
		"PATH="+os.Getenv("PATH"),
	)
	return []string{"ansible-playbook", "-f", strconv.Itoa(j.forks), "deploy.yml"}, nil
}
