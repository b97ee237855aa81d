package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// writeSpot writes a playbook with one target. Spot has no ssh configuration.
func writeSpot(j *job) ([]string, error) {
	if err := j.put("app.conf.in", template("@version@")); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "ssh_key: %s\ntargets:\n  fleet:\n    hosts:\n", j.node.KeyFile)
	for _, host := range j.hosts {
		fmt.Fprintf(&b, "      - {host: 127.0.0.1, port: %d, user: %s, name: %s}\n", j.door.proxy.Port, j.node.account(host), host)
	}
	b.WriteString("tasks:\n  - name: deploy\n    commands:\n")
	for i, s := range j.steps {
		name := fmt.Sprintf("      - name: step %d\n", i+1)
		switch s.kind {
		case send:
			b.WriteString(name + "        copy:\n")
			for _, path := range s.from {
				fmt.Fprintf(&b, "          - {src: %s, dst: %s}\n", path, s.to+"/"+filepath.Base(path))
			}
		case put:
			fmt.Fprintf(&b, "%s        copy: {src: %s, dst: %s}\n", name, s.from[0], s.to)
		case mirror:
			fmt.Fprintf(&b, "%s        sync: {src: %s, dst: %s}\n", name, s.from[0], s.to)
		case fill:
			conf := filepath.Join(j.dir, "app.conf")
			fmt.Fprintf(&b, "%s        script: sed s/@version@/%s/ %s.in >%s.$SPOT_REMOTE_NAME\n        options: {local: true}\n", name, version, conf, conf)
			fmt.Fprintf(&b, "%s        copy: {src: %s.{SPOT_REMOTE_NAME}, dst: %s}\n", strings.Replace(name, "\n", " copy\n", 1), conf, s.to)
		default:
			if line := s.remote(); line != "" {
				fmt.Fprintf(&b, "%s        script: %s\n", name, line)
			}
		}
	}
	return []string{"spot", "-p", "spot.yml", "-t", "fleet", "-c", strconv.Itoa(j.forks)}, j.put("spot.yml", b.String())
}
