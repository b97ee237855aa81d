package cli

import (
	"archive/tar"
	"compress/gzip"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"al.essio.dev/pkg/shellescape"

	"example.org/conc/internal/testnode"
)

//go:embed demo
var demoFiles embed.FS

// demoProject is the project that the demo deploys, on disk.
type demoProject struct {
	dir     string // of the project; also the operator's home
	ini     string // text of deploy.ini, but for the port
	node    *testnode.Node
	program string // this program's file
	name    string // and what it is called
}

func (d demoProject) path(name ...string) string {
	return filepath.Join(append([]string{d.dir}, name...)...)
}

// demoINI is the demo's deploy.ini as it is shipped.
func demoINI() string { return demoFile("deploy.ini") }

func demoFile(name string) string {
	text, err := demoFiles.ReadFile("demo/" + name)
	if err != nil {
		panic(err) // it is part of the program
	}
	return string(text)
}

// write makes deploy.ini, the template, the archives of two releases, and what
// another terminal needs to be the operator.
func (d demoProject) write() error {
	if err := os.MkdirAll(d.path("dist"), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(d.path("bin"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"deploy.ini":   strings.ReplaceAll(d.ini, "@PORT@", strconv.Itoa(d.node.Port)),
		"site.conf.in": demoFile("site.conf.in"),
		"env":          d.env(),
		".ssh/config":  d.sshConfig(),
	} {
		if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, version := range []string{"1.0", "1.1"} {
		if err := pack(d.path("dist", "site-"+version+".tar.gz"), "site", strings.NewReplacer("@VERSION@", version)); err != nil {
			return err
		}
	}
	if err := pack(d.path("dist", "icons-2.3.tar.gz"), "icons", strings.NewReplacer()); err != nil {
		return err
	}
	return os.Symlink(d.program, d.path("bin", d.name))
}

// env is what another terminal reads to be the operator: . DIR/env
func (d demoProject) env() string {
	dir := shellescape.Quote(d.dir)
	return "# Makes this shell the demo's operator: its home, its key, its " + d.name + ".\n" +
		"HOME=" + dir + " PATH=" + shellescape.Quote(d.path("bin")) + ":$PATH\n" +
		"export HOME PATH\nunset XDG_STATE_HOME SSH_AUTH_SOCK\ncd " + dir + "\n"
}

// sshConfig names known_hosts for the user's own ssh, which does not look at
// HOME. A name that would need quoting there is left out: conc finds the file
// in the operator's home anyway.
func (d demoProject) sshConfig() string {
	if strings.ContainsAny(d.node.KnownHosts, " \t\"'%$\\#") {
		return ""
	}
	return "Host 127.0.0.1\n\tUserKnownHostsFile " + d.node.KnownHosts + "\n"
}

// pack makes a tar.gz of a directory of the demo's files.
func pack(path, dir string, fill *strings.Replacer) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	zip := gzip.NewWriter(f)
	archive := tar.NewWriter(zip)
	sub, err := fs.Sub(demoFiles, "demo/"+dir)
	if err != nil {
		return err
	}
	err = fs.WalkDir(sub, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(sub, name)
		if err != nil {
			return err
		}
		text, mode := fill.Replace(string(raw)), int64(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		header := &tar.Header{Name: name, Mode: mode, Size: int64(len(text)), ModTime: time.Now(), Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write([]byte(text))
		return err
	})
	if err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zip.Close()
}

// listLine is one line of the demo's list.
type listLine struct {
	text, name, host string
}

var listForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(\S+)\s*=\s*(local|remote)\s`) })

// demoList gives the lines of [jobs:release].
func demoList(ini string) []listLine {
	_, list, _ := strings.Cut(ini, "[jobs:release]\n")
	var lines []listLine
	for text := range strings.Lines(list) {
		if m := listForm().FindStringSubmatch(text); m != nil {
			lines = append(lines, listLine{strings.TrimRight(text, "\n"), m[1], m[2]})
		}
	}
	return lines
}

// missingFile is what the step that has to fail looks for.
const missingFile = "a-file-that-is-not-there"

// failAt gives the deploy.ini in which a step, named by number or name, fails.
func failAt(ini, step string) (string, error) {
	list := demoList(ini)
	for i, l := range list {
		if l.name != step && strconv.Itoa(i+1) != step {
			continue
		}
		bad := fmt.Sprintf("; --fail-at %s put the next line in the place of:\n;   %s\n%-9s = %-6s run cat %s", step, l.text, l.name, l.host, missingFile)
		return strings.Replace(ini, l.text, bad, 1), nil
	}
	return "", usageError{
		err:  fmt.Errorf("the demo's list has no step %q", step),
		hint: fmt.Sprintf("its steps are 1 to %d: %s", len(list), strings.Join(demoSteps(ini), ", ")),
	}
}
