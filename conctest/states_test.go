package conctest_test

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"example.org/conc/conctest"
	"example.org/conc/jobs"
)

// ini is a deploy.ini with lists for what a list in Go does not show.
const ini = `[DEFAULT]
bundle = shop-bundle
[node:web1]
sshd.ip   = 192.0.2.11
sshd.port = 2222
sshd.jump = ops@192.0.2.1
admin     = shop
[jobs:config]
open    = remote open_bundle
deliver = local  deliver shop.conf.tmpl
conf    = remote template shop.conf.tmpl etc/shop.conf
close   = remote close_bundle
[jobs:copy]
open    = remote open_bundle
copy    = remote run cp big target
close   = remote close_bundle
[jobs:put]
open    = remote open_bundle
put     = local  put big target
close   = remote close_bundle
[jobs:root]
open    = remote open_bundle
who     = remote sudo run id -u
restart = remote sudo run systemctl restart shop
close   = remote close_bundle
`

func TestRelatedNodes(t *testing.T) {
	r := conctest.Run(t, app, "config", conctest.State{
		INI:        ini,
		Attributes: map[string]string{"db": "%(node:db1:sshd.ip)s", "admin": "shopkeeper"},
		Nodes:      map[string]map[string]string{"db1": {"sshd.ip": "192.0.2.21"}},
		Project:    fstest.MapFS{"shop.conf.tmpl": {Data: []byte("db={{attr \"db\"}}\n")}},
		Files:      map[string]conctest.File{"etc": {Dir: true, Mode: 0o750}, "etc/shop.conf": {Content: "old", Mode: 0o600}, "current": {Link: "etc"}},
	}).Want(jobs.OK)
	if got := r.File("current/shop.conf"); got != "db=192.0.2.21\n" {
		t.Errorf("got %q", got)
	}
	if fi, err := fs.Stat(r.Files(), "etc"); err != nil || fi.Mode().Perm() != 0o750 {
		t.Errorf("got %v, %v", fi, err)
	}
}

func TestUnknownKeyInATemplate(t *testing.T) {
	r := conctest.Run(t, app, "config", conctest.State{
		INI: ini, Project: fstest.MapFS{"shop.conf.tmpl": {Data: []byte("{{attr \"colour\"}}\n")}},
	})
	if r.Code == 0 || r.Has("etc/shop.conf") {
		t.Errorf("got exit code %d", r.Code)
	}
}

func TestFullDisk(t *testing.T) {
	big := strings.Repeat("x", 100_000)
	s := conctest.State{
		INI: ini, Files: map[string]conctest.File{"big": {Content: big}, "target": {Content: "old"}},
		Fault: conctest.Fault{Step: "copy", Kind: conctest.FullDisk, Bytes: 50_000},
	}
	r := conctest.Run(t, app, "copy", s).Want(jobs.Failed)
	if got := len(r.File("target")); got != 50_000 {
		t.Errorf("got %d bytes, want those up to the limit", got)
	}
	if r = r.Resume("copy").Want(jobs.OK); r.File("target") != big {
		t.Error("the copy is not whole")
	}
	s.Fault = conctest.Fault{Step: "copy", Kind: conctest.Kill, Bytes: 50_000}
	r = conctest.Run(t, app, "copy", s).Want(jobs.Errored)
	if got := len(r.File("target")); got != 50_000 {
		t.Errorf("killed: got %d bytes, want those up to the limit", got)
	}
	if _, err := os.Stat(filepath.Join(r.Home, "core")); err == nil {
		t.Error("a core was left")
	}
}

func TestSudo(t *testing.T) {
	r := conctest.Run(t, app, "root", conctest.State{INI: ini, Stubs: map[string]conctest.Stub{"systemctl": {Exit: 4, Stderr: "no such unit\n"}}})
	if strings.Contains(r.Err+r.Output, "unshare") {
		t.Skip("no user namespace here")
	}
	if r.Want(jobs.Failed).StatusOf("who") != jobs.OK || r.Output != "0\nno such unit\n" {
		t.Errorf("got %v, output %q", r.Steps, r.Output)
	}
	if len(r.Called("systemctl")) != 1 || r.Calls[0].Step != 3 || r.Steps[2].Exit != 4 {
		t.Errorf("got %v, %+v", r.Calls, r.Steps)
	}
}

func TestJournalInDoubt(t *testing.T) {
	s := before()
	s.Journal = &conctest.Journal{Done: "open", Doubt: true}
	r := conctest.Run(t, app, "release", s) // a deploy, and not a step
	if r.Want(jobs.Blocked).File("shop/schema") != "1" {
		t.Error("the interrupted run's step was performed")
	}
	r.Mark("migrate")
	if r = r.Resume("restart").Want(jobs.OK); r.Open != nil {
		t.Error("the bundle is still open")
	}
}

func ExampleRun() {
	var t *testing.T // the test's own
	r := conctest.Run(t, app, "release", conctest.State{
		Files: map[string]conctest.File{"shop/schema": {Content: "1"}},
		Stubs: map[string]conctest.Stub{"systemctl": {}, "announce": {}},
		Fault: conctest.Fault{Step: "restart", Kind: conctest.Kill},
	}).Want(jobs.Errored)
	r.Resume("restart").Want(jobs.OK)
	if got := r.File("shop/schema"); got != "2" {
		t.Errorf("got schema %q, want 2", got)
	}
}

// A delivery meets a full disk on the node: what arrives by SFTP, and what the agent
// writes.
func TestFullDiskOfADelivery(t *testing.T) {
	for name, size := range map[string]int{"small": 5_000, "large": 5_000_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{}).Read(content)
			r := conctest.Run(t, app, "put", conctest.State{
				INI: ini, Project: fstest.MapFS{"big": {Data: content}}, Files: map[string]conctest.File{"target": {Content: "old"}},
				Fault: conctest.Fault{Step: "put", Kind: conctest.FullDisk, Bytes: 4_000},
			}).Want(jobs.Errored)
			if got := r.File("target"); got != "old" {
				t.Errorf("got %d bytes, want the old ones", len(got))
			}
			if got := r.Steps[len(r.Steps)-1].Message; !strings.Contains(got, "no space left") {
				t.Errorf("got message %q", got)
			}
			if r = r.Resume("put").Want(jobs.OK); r.File("target") != string(content) {
				t.Error("the file is not whole")
			}
		})
	}
}
