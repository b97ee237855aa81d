package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

func (p *program) initCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a commented deploy.ini to start from",
		Long: `Write a commented deploy.ini to start from. It passes "config check" as it is.
A file that exists is never overwritten.`,
		Args: between(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := p.flags.config
			if len(args) == 1 {
				path = args[0]
			}
			return p.writeInit(path)
		},
	}
}

func (p *program) writeInit(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return jobs.Blockedf("%s exists and was not touched", path).
			WithHint("name another file: %s", quote(p.name(), "init", "other.ini"))
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(starter)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	again := []string{p.name()}
	if filepath.Clean(path) != defaultFile {
		again = append(again, "-c", path)
	}
	if p.flags.json {
		return p.printJSON(struct {
			V    int    `json:"v"`
			Type string `json:"type"`
			File string `json:"file"`
		}{1, "init", path})
	}
	_, err = fmt.Fprintf(p.streams.Out, `%s is written. Next:
  put your node's address in it, and what your application needs
  %s
  %s
  %s
  %s
  %s
`, ui.Line(path),
		quote(append(again, "config", "check")...),
		quote(append(again, "plan", "web1")...),
		quote(append(again, "trust", "web1")...),
		quote(append(again, "deploy", "web1")...),
		quote(append(again, "nodetest", "web1")...))
	return err
}

// starter is the deploy.ini of `conc init`: small, and whole.
const starter = `; deploy.ini: everything about this deploy. Data only: %(key)s is replaced by
; that key's value for the node at hand, %% is a per cent sign.
;
;   conc config check         is this file right?
;   conc plan web1            which steps would a deploy run?
;   conc trust web1           record the node's host key, once
;   conc deploy web1          run them
;   conc nodetest web1        is the node as it should be?

[DEFAULT]                       ; for every node
app       = shop
version   = 1.0.0
admin     = deploy              ; the account to log in as
bundle    = %(app)s-bundle      ; in its home: the lock, and what is delivered
release   = releases/%(app)s-%(version)s
jobs      = release             ; the list that "conc deploy" runs
nodetest  = web                 ; the suite that "conc nodetest" runs

; op_key  = shop                ; log in with ~/.ssh/id_*-shop; without it, with
                                ; the ssh agent and the default keys
; timeout.job = 5m              ; the limit of a step that names none

[group:web]                     ; for every node whose "groups" name it
http.port = 8000

[node:web1]
groups    = web
sshd.ip   = 192.0.2.11          ; IPv4, IPv6 or a host name
sshd.port = 22

; An ordered list. Each line is one step:
;
;   NAME  = HOST [MODIFIER...] OP [ARGUMENT...]
;
; HOST is local (here) or remote (the node). MODIFIERS are sudo, timeout=5m and
; retry=3. "conc ops" lists the OPs. The first step that is not OK ends the run.
[jobs:release]
open      = remote open_bundle
stage     = local  open_bundle
deliver   = local  deliver dist/%(app)s-%(version)s.tar.gz
unpack    = remote untar %(app)s-%(version)s.tar.gz to=%(release)s
switch    = remote symlink %(release)s current
close     = remote close_bundle
unstage   = local  close_bundle

; Steps of your own, before "close":
;   migrate = remote timeout=10m run %(release)s/bin/migrate
;   restart = remote sudo systemd restart %(app)s
;   healthy = remote timeout=30s wait_http http://127.0.0.1:%(http.port)s/health

; Checks, which look and change nothing. Each line is one:
;
;   NAME  = [MODIFIER...] CHECK [ARGUMENT...]
;
; MODIFIERS are sudo, timeout=10s and level=monitoring. "conc ops" lists the CHECKs.
[nodetest:web]
release   = symlink current to %(release)s
free      = disk . free >1GiB
sshd      = port tcp:%(sshd.port)s listening
clock     = clock within 2s

; Checks of your own:
;   running = service %(app)s running enabled
;   listens = port tcp:%(http.port)s on 127.0.0.1
;   healthy = http http://127.0.0.1:%(http.port)s/health contains ok time <1s
;   expires = level=monitoring cert www.example.org:443 verified days >14
`
