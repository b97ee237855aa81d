package main

import (
	"fmt"
	"strings"
)

// writeCapistrano writes a Capfile with one stage and one task, which stands beside
// Capistrano's own deploy: that wants a repository.
func writeCapistrano(j *job) ([]string, error) {
	if err := j.put("app.conf.erb", template("<%= version %>")); err != nil {
		return nil, err
	}
	if err := j.put("Capfile", "require \"capistrano/setup\"\nrequire \"capistrano/deploy\"\nrequire \"capistrano/scm/git\"\ninstall_plugin Capistrano::SCM::Git\n"); err != nil {
		return nil, err
	}
	if err := j.put("config/deploy/production.rb", "server "+strings.Join(strings.Split(strings.Trim(quoted(j.hosts), "[]"), ", "), "\nserver ")+"\n"); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `require "erb"
require "stringio"
set :ssh_options, { config: [%q] }
version = %q

task :work do
  on roles(:all), in: :groups, limit: %d do
`, j.config, version, j.forks)
	for _, s := range j.steps {
		switch s.kind {
		case send:
			for _, path := range s.from {
				fmt.Fprintf(&b, "    upload! %q, %q\n", path, s.to+"/")
			}
		case put:
			fmt.Fprintf(&b, "    upload! %q, %q\n", s.from[0], s.to)
		case fill:
			fmt.Fprintf(&b, "    upload! StringIO.new(ERB.new(File.read(\"app.conf.erb\")).result(binding)), %q\n", s.to)
		default:
			if line := s.remote(); line != "" {
				fmt.Fprintf(&b, "    execute %q\n", line)
			}
		}
	}
	b.WriteString("  end\nend\n")
	return []string{"cap", "production", "work"}, j.put("config/deploy.rb", b.String())
}
