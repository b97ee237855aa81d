package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/pflag"

	"example.org/conc/config"
	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// resultOptions are the flags of nodetest that say where its results go.
type resultOptions struct {
	formats []string
	output  string
}

func (o *resultOptions) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.formats, "format", nil, "write `FORMAT,...`: text, json, junit, tap, nagios, prometheus; FORMAT=FILE writes that one to a file")
	f.StringVar(&o.output, "output", "", "write the format that is not text to `FILE`, whole and at once, beside the text")
}

// The formats of results.
const (
	formatText       = "text"
	formatJSON       = "json"
	formatJUnit      = "junit"
	formatTAP        = "tap"
	formatNagios     = "nagios"
	formatPrometheus = "prometheus"
)

var formats = []string{formatText, formatJSON, formatJUnit, formatTAP, formatNagios, formatPrometheus}

// outputs are where results go.
type outputs struct {
	screen string // the format on standard output
	files  []outputFile
	nagios bool // it is among them: the exit code is Nagios's
}

type outputFile struct{ format, path string }

// outputs reads the flags. Standard output has the text, unless another format
// is to go there.
func (o resultOptions) outputs(json bool) (outputs, error) {
	out := outputs{screen: formatText}
	var homeless []string
	text := false
	for _, f := range o.formats {
		name, path, placed := strings.Cut(f, "=")
		name = strings.TrimSpace(name)
		switch {
		case !slices.Contains(formats, name):
			err := fmt.Errorf("--format %s: it is one of %s", f, strings.Join(formats, ", "))
			hint := ""
			if near := config.Near(name, formats); len(near) > 0 {
				hint = "did you mean " + near[0] + "?"
			}
			return out, usageError{err: err, hint: hint}
		case placed && path == "":
			return out, usagef("--format %s: the file's name is missing", f)
		case name == formatText && placed && path != stdoutName:
			return out, usagef("--format %s: text goes to standard output", f)
		case name == formatText:
			text = true
		case placed && path != stdoutName:
			out.files = append(out.files, outputFile{name, path})
		case !slices.Contains(homeless, name):
			homeless = append(homeless, name)
		}
		out.nagios = out.nagios || name == formatNagios
	}
	if json {
		out.screen = formatJSON
		homeless = slices.DeleteFunc(homeless, func(f string) bool { return f == formatJSON })
	}
	example := "name a file for each: --format text,junit=results.xml,prometheus=results.prom"
	switch {
	case json && text:
		return out, usageError{errors.New("--json writes JSON where the text would go"), "write it to a file: --format text,json --output FILE"}
	case o.output != "" && o.output != stdoutName && len(homeless) == 0:
		return out, usageError{errors.New("--output: no format is named that goes there"), "name one: --format text,junit --output results.xml"}
	case o.output != "" && o.output != stdoutName && len(homeless) == 1:
		out.files = append(out.files, outputFile{homeless[0], o.output})
	case len(homeless) == 0:
	case len(homeless) == 1 && !json && !text:
		out.screen = homeless[0]
	case len(homeless) == 1:
		return out, usageError{
			fmt.Errorf("--format: standard output has the %s, and %s needs a file", out.screen, homeless[0]),
			fmt.Sprintf("name it: --output FILE, or --format %s=FILE", homeless[0]),
		}
	default:
		return out, usageError{fmt.Errorf("--format: there is one place for %s", strings.Join(homeless, " and ")), example}
	}
	return out, out.check()
}

// stdoutName stands for standard output where a file is named.
const stdoutName = "-"

// check finds what would keep the results from being written, before any node
// is asked.
func (out outputs) check() error {
	seen := map[string]string{}
	for _, f := range out.files {
		path := absolute(f.path)
		if other := seen[path]; other != "" {
			return usagef("%s: both %s and %s would be written there", f.path, other, f.format)
		}
		seen[path] = f.format
		if fi, err := os.Stat(path); err == nil && fi.IsDir() {
			return usagef("%s: it is a directory, and %s goes to a file", f.path, f.format)
		}
		if fi, err := os.Stat(filepath.Dir(path)); err != nil || !fi.IsDir() {
			return usagef("%s: there is no directory %s", f.path, filepath.Dir(path))
		}
	}
	return nil
}

// render makes one format of what came of all nodes.
func (r *round) render(format string, all []ui.Examined, code int) ([]byte, error) {
	switch format {
	case formatJUnit:
		return ui.JUnit(all)
	case formatTAP:
		return ui.TAP(all), nil
	case formatNagios:
		text, _ := ui.Nagios(all)
		return text, nil
	case formatPrometheus:
		return ui.Prometheus(all), nil
	}
	var b bytes.Buffer
	ui.TestLines{Out: &b, Run: r.run, Now: r.env.Now}.All(all, code, Version)
	return b.Bytes(), nil
}

// write writes the files, each of which is the old one or the new one, whole,
// and names those that it wrote. All are tried. What a monitoring system reads
// stays as it is when the operator has ended the examination: of the nodes that
// says nothing.
func (r *round) write(all []ui.Examined, code int) (written []string, failed error) {
	for _, f := range r.out.files {
		if (f.format == formatPrometheus || f.format == formatNagios) && anyStopped(all) {
			continue
		}
		data, err := r.render(f.format, all, code)
		if err == nil {
			err = replaceFile(f.path, data)
		}
		if err != nil {
			failed = errors.Join(failed, jobs.Errorf("%s cannot be written: %w", f.format, err))
			continue
		}
		written = append(written, f.path)
	}
	return written, failed
}

// replaceFile writes a file that others may read. What a link points at is
// replaced, not the link; a device or a pipe is written to.
func replaceFile(path string, data []byte) error {
	fi, err := os.Stat(path)
	switch {
	case err == nil && !fi.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	case err == nil:
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return renameio.WriteFile(path, data, 0o644, renameio.WithTempDir(filepath.Dir(path)), renameio.WithExistingPermissions())
}

// nagiosEnd ends a command that Nagios called and that has no results: what kept
// it from them is UNKNOWN, not the exit code that conc has for it.
func (p *program) nagiosEnd(o resultOptions, err error) error {
	out, wrong := o.outputs(p.flags.json)
	if err == nil || wrong != nil || !out.nagios || errors.As(err, new(ended)) {
		return err
	}
	p.report(nil, err)
	text, code := ui.NagiosUnknown(err.Error())
	if out.screen == formatNagios {
		_, _ = p.ui().Results().Write(text)
	}
	return ended{code}
}
