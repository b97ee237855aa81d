package main

import (
	"fmt"
	"strconv"
	"strings"
)

// writeFabric writes a fabfile. Fabric's own groups run one command at a time
// on all nodes; a thread for each node is faster.
func writeFabric(j *job) ([]string, error) {
	if err := j.put("app.conf.in", template("@version@")); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from fabric import Connection, task


@task
def deploy(c):
    def one(host):
        with Connection(host, config=c.config) as n:
            steps(n)
    with ThreadPoolExecutor(%d) as pool:
        list(pool.map(one, %s))


def steps(n):
`, j.forks, quoted(j.hosts))
	for _, s := range j.steps {
		switch s.kind {
		case send:
			for _, path := range s.from {
				fmt.Fprintf(&b, "    n.put(%q, %q)\n", path, s.to+"/")
			}
		case put:
			fmt.Fprintf(&b, "    n.put(%q, %q)\n", s.from[0], s.to)
		case fill:
			fmt.Fprintf(&b, "    text = open('app.conf.in').read().replace('@version@', %q)\n    n.put(BytesIO(text.encode()), %q)\n", version, s.to)
		default:
			if line := s.remote(); line != "" {
				fmt.Fprintf(&b, "    n.run(%q)\n", line)
			}
		}
	}
	return []string{"fab", "--ssh-config=" + j.config, "deploy"}, j.put("fabfile.py", b.String())
}

// quoted gives a list as Python and Ruby write it.
func quoted(list []string) string {
	var all []string
	for _, s := range list {
		all = append(all, strconv.Quote(s))
	}
	return "[" + strings.Join(all, ", ") + "]"
}
