package cli

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// agentBuilds are the programs that this one has built of itself for other
// platforms, by platform. Whoever comes first builds; the others wait.
type agentBuilds struct {
	mu    sync.Mutex
	known map[string]func() (string, error)
}

// agentFor gives the file of this very program for another platform: one that was
// built of it before, or else one that is built now, of its sources.
func (p *program) agentFor(ctx context.Context, goos, goarch string) (string, error) {
	p.agents.mu.Lock()
	platform := goos + "/" + goarch
	get := p.agents.known[platform]
	if get == nil {
		get = sync.OnceValues(func() (string, error) {
			file, err := p.agentFile(goos, goarch)
			if err != nil {
				return "", err
			}
			if fi, err := os.Stat(file); err == nil && fi.Mode().IsRegular() {
				return file, nil
			}
			return file, p.buildAgent(ctx, goos, goarch, file)
		})
		if p.agents.known == nil {
			p.agents.known = map[string]func() (string, error){}
		}
		p.agents.known[platform] = get
	}
	p.agents.mu.Unlock()
	return get()
}

// agentFile is where what is built of this program is kept: below the hash of its
// own file, so that a program never finds what was built of another.
func (p *program) agentFile(goos, goarch string) (string, error) {
	f, err := os.Open(p.env.Executable)
	if err != nil {
		return "", jobs.Errorf("this program's own file cannot be read: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", jobs.Errorf("this program's own file cannot be read: %w", err)
	}
	return filepath.Join(p.agentsDir(), hex.EncodeToString(sum.Sum(nil)), "conc_"+goos+"_"+goarch), nil
}

// agentsDir follows the XDG rule that a relative path counts as unset.
func (p *program) agentsDir() string {
	base := p.env.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(base) {
		base = filepath.Join(p.env.Home, ".cache")
	}
	return filepath.Join(base, "conc", "agents")
}

// buildAgent builds this program's sources for a platform, into file, whole or not
// at all. What is not built of the same sources as this program is refused: both
// ends of a deploy have to be the same program.
func (p *program) buildAgent(ctx context.Context, goos, goarch, file string) error {
	if !slices.Contains(systems, goos) {
		return jobs.Errorf("%s", foreignSystem(goos))
	}
	own := p.env.Build
	if own == nil || own.Path == "" || own.Path == "command-line-arguments" {
		return jobs.Errorf("this program does not know which package it is: it was built of named files, not by  go build  in a package's folder")
	}
	elsewhere := fmt.Sprintf("%s build-agent --os %s --arch %s -o conc_%s_%s", p.name(), goos, goarch, goos, goarch)
	if _, err := exec.LookPath("go"); err != nil {
		return jobs.Errorf("there is no go on this workstation to build it with").
			WithHint("install Go; or, where it is, with this program and its sources: %s", elsewhere)
	}
	settings := []string{"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + goarch, "GOARM=6"} // 6 runs on 7, too
	dir, err := p.sources(ctx, own.Path, settings)
	if err != nil {
		var none *jobs.Error
		if errors.As(err, &none) {
			return none.WithHint("in the folder that this program was built in: %s", elsewhere)
		}
		return err
	}
	was := vcs(own)
	clean := was[0] != "" && was[1] == "false"
	if !clean {
		if err := p.unchanged(ctx, dir, "", settings); err != nil {
			return err
		}
	}
	p.agents.mu.Lock()
	if !p.flags.quiet {
		p.ui().Tell(fmt.Sprintf("%s: building the agent for %s/%s: %s in %s\n", p.name(), goos, goarch, ui.Line(own.Path), ui.Line(dir)))
	}
	p.agents.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return jobs.Errorf("the agent cannot be kept: %w", err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(file), ".build-")
	if err != nil {
		return jobs.Errorf("the agent cannot be kept: %w", err)
	}
	defer os.RemoveAll(temp)
	built := filepath.Join(temp, "conc")
	args := append(append([]string{"build"}, buildFlags(own)...), "-o", built, own.Path)
	if out, err := goTool(ctx, dir, settings, args...); err != nil {
		return compileError(ctx, fmt.Sprintf("the agent for %s/%s cannot be built", goos, goarch), out, err)
	}
	if clean {
		module := "" // whose commit is the same
		if info, err := buildinfo.ReadFile(built); err == nil && vcs(info) == was {
			module = own.Main.Path
		}
		if err := p.unchanged(ctx, dir, module, settings); err != nil {
			return err
		}
	}
	if err := os.Rename(built, file); err != nil {
		return jobs.Errorf("the agent cannot be kept: %w", err)
	}
	p.pruneAgents()
	return nil
}

func compileError(ctx context.Context, what, out string, err error) error {
	err = buildError(ctx, what, out, err)
	var e *jobs.Error
	if errors.As(err, &e) {
		e.Hint = "it is built by go build, with CGO_ENABLED=0"
	}
	return err
}

// buildFlags are those of the flags that this program was built with that decide
// what is in it.
func buildFlags(own *debug.BuildInfo) []string {
	var flags []string
	for _, s := range own.Settings {
		switch s.Key {
		case "-tags", "-ldflags", "-trimpath":
			flags = append(flags, s.Key+"="+s.Value)
		}
	}
	return flags
}

// sources finds the folder that a package is to be built in: the current one, that
// of deploy.ini, or that of the program's own file.
func (p *program) sources(ctx context.Context, pkg string, settings []string) (string, error) {
	dirs := []string{".", filepath.Dir(p.flags.config), filepath.Dir(p.env.Executable)}
	for _, d := range dirs {
		if dir, err := filepath.Abs(d); err == nil {
			out, err := goTool(ctx, dir, settings, "list", "-f", "{{.Name}}", pkg)
			if err == nil && strings.TrimSpace(out) == "main" {
				return dir, nil
			}
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	return "", jobs.Errorf("the sources of %s are found neither from here, nor from deploy.ini's folder, nor from this program's", ui.Line(pkg))
}

// localPackage is what go list says of a package that this program is made of.
type localPackage struct {
	Dir                 string
	GoFiles, EmbedFiles []string
	Module              *struct {
		Main        bool
		Path, GoMod string
		Replace     *struct{ Version string }
	}
}

// unchanged refuses sources that have changed since this program was built, as far
// as the times of the files tell, as for make. Of the module except it is known
// from its commit that they have not.
func (p *program) unchanged(ctx context.Context, dir, except string, settings []string) error {
	own := p.env.Build
	fi, err := os.Stat(p.env.Executable)
	if err != nil {
		return jobs.Errorf("this program's own file: %w", err)
	}
	out, err := goTool(ctx, dir, settings, "list", "-deps", "-json=Dir,GoFiles,EmbedFiles,Module", own.Path)
	if err != nil {
		return compileError(ctx, own.Path+" is no package that go can read", out, err)
	}
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var l localPackage
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return jobs.Errorf("what go list says of %s cannot be read: %w", own.Path, err)
		}
		m := l.Module
		if m == nil || m.Path == except || !m.Main && (m.Replace == nil || m.Replace.Version != "") {
			continue
		}
		files := append(slices.Concat(l.GoFiles, l.EmbedFiles), m.GoMod)
		for _, name := range files {
			if !filepath.IsAbs(name) {
				name = filepath.Join(l.Dir, name)
			}
			if src, err := os.Stat(name); err == nil && src.ModTime().After(fi.ModTime()) {
				return jobs.Errorf("the sources have changed since this program was built: %s. Both ends of a deploy have to be the same program: build it again", ui.Line(name))
			}
		}
	}
}

// vcs gives a program's commit, and whether there were changes to it.
func vcs(info *debug.BuildInfo) (v [2]string) {
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v[0] = s.Value
		case "vcs.modified":
			v[1] = s.Value
		}
	}
	return v
}

// keptAgents is of how many programs, the newest, what was built is kept.
const keptAgents = 5

// pruneAgents removes what was built of programs that have been replaced since.
func (p *program) pruneAgents() {
	entries, err := os.ReadDir(p.agentsDir())
	if err != nil {
		return
	}
	time := func(e fs.DirEntry) (t time.Time) {
		if fi, err := e.Info(); err == nil {
			t = fi.ModTime()
		}
		return t
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return time(b).Compare(time(a)) })
	for _, e := range entries[min(len(entries), keptAgents):] {
		_ = os.RemoveAll(filepath.Join(p.agentsDir(), e.Name()))
	}
}
