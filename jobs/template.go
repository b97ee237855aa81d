package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"text/template"

	"example.org/conc/bundle"
	"example.org/conc/config"
)

// Template writes a file from a text/template and the node's attributes.
type Template struct {
	Source      string // see Env.Source
	Destination string
	Mode        fs.FileMode       // 0: the existing file's, or 0644
	Values      map[string]string // beside the node's attributes, and before them

	host Host // for ByHand; "" is the node
}

const maxTemplate = 16 << 20

func templateEntry() Entry {
	return Entry{
		Name:    "template",
		Args:    "SOURCE DESTINATION [mode=0644] [KEY=VALUE...]",
		Summary: "write a file from a template and the node's attributes",
		Help: `Fills in SOURCE, a Go text/template, and writes DESTINATION on the step's host:
{{.version}}, or {{attr "http.port"}} for a key with a dot; {{if has "key"}}
asks whether there is one. The functions of text/template itself (printf, eq,
and, or, not, len, slice, index) are there too; none runs a program or reads a
file. Values stand as they are, without quotes. KEY=VALUE adds some. The secrets
among the attributes may be used; when the line names one itself
(db.password=%(db.password)s), only those that it names are sent to the node. On
the node a relative SOURCE is in the bundle, on the workstation it starts at
deploy.ini's folder. The file is written whole: a reader sees the old one or the
new one. A link at DESTINATION is replaced. The mode is that of the file that is
there, or 0644. The same content again is OK and changes nothing.

BLOCKED: SOURCE is not there, or is a pattern that matches none or several.
FAILED: the template is wrong or asks for a key that is not there (file, line
and key are named), DESTINATION is a directory, or its directory is missing: the
old file is whole. ERROR: a secret cannot be had, or the disk is full.`,
		Example: "remote template app.conf.in shop/app.conf mode=0640",
		Parse: func(args []string) (Op, error) {
			op := Template{}
			rest := args[:0:0]
			for i, a := range args {
				key, value, ok := strings.Cut(a, "=")
				switch {
				case i < 2 || !ok || key == "mode":
					rest = append(rest, a)
				case !keyForm().MatchString(key):
					return nil, fmt.Errorf("%q is not a key", key)
				default:
					if op.Values == nil {
						op.Values = map[string]string{}
					}
					if _, twice := op.Values[key]; twice {
						return nil, fmt.Errorf("%s is given twice", key)
					}
					op.Values[key] = value
				}
			}
			args, opts, err := options(rest, "mode=")
			if err == nil {
				err = want(args, "SOURCE DESTINATION", 2, 2)
			}
			if err != nil {
				return nil, err
			}
			if op.Mode, err = parseMode(opts["mode="]); err != nil {
				return nil, err
			}
			op.Source, op.Destination = args[0], args[1]
			return op, op.Validate()
		},
	}
}

var keyForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`) })

// Validate checks the arguments.
func (t Template) Validate() error {
	if t.Source == "" {
		return errors.New("an empty source")
	}
	return fileName(t.Destination)
}

// Repeatable says that it may be run again.
func (t Template) Repeatable() {}

// Secrets lists those of the node's attributes: a plan is made without reading
// the template. A line that names a secret itself names all that it needs.
func (t Template) Secrets(n *config.Node) []string {
	for _, v := range t.Values {
		if len(config.SecretNames(v)) > 0 {
			return nil
		}
	}
	var names []string
	for _, a := range n.Attrs() {
		if a.Key != "sudo.secret" {
			names = append(names, config.SecretNames(a.Value)...)
		}
	}
	return names
}

func (t Template) on(h Host) Op {
	t.host = h
	return t
}

// ByHand says what to do: there is no shell line for it.
func (t Template) ByHand(n *config.Node) []string {
	src, dst := typedSource(n, t.host, t.Source), typed(n, t.Destination)
	lines := []string{"cp " + src + " " + dst, "${EDITOR:-vi} " + dst + "   # fill in what stands in {{ }}"}
	if t.Mode != 0 {
		lines = append(lines, fmt.Sprintf("chmod %04o %s", t.Mode, dst))
	}
	return lines
}

// Do writes the file.
func (t Template) Do(_ context.Context, env *Env) error {
	text, err := t.render(env)
	if err != nil {
		return err
	}
	dest := env.Path(t.Destination)
	info, err := os.Lstat(dest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		info = nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory", dest)
	case info.Mode()&fs.ModeSymlink != 0: // is replaced, not what it points to
		info = nil
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is a device or a FIFO, not a file", dest)
	}
	if err := wantDir(filepath.Dir(dest)); err != nil {
		return err
	}
	mode := t.mode(info)
	if info != nil && info.Mode().Perm() == mode && holds(dest, text) {
		env.Note("unchanged")
		return nil
	}
	return judged(writeWhole(dest, text, mode, info))
}

func (t Template) mode(info fs.FileInfo) fs.FileMode {
	switch {
	case t.Mode != 0:
		return t.Mode
	case info != nil:
		return info.Mode().Perm()
	}
	return 0o644
}

// Verify compares the file with what it would be.
func (t Template) Verify(_ context.Context, env *Env) error {
	text, err := t.render(env)
	if err != nil {
		return err
	}
	dest := env.Path(t.Destination)
	info, err := os.Lstat(dest)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || !holds(dest, text):
		return fmt.Errorf("%s has other content", dest)
	case info.Mode().Perm() != t.mode(info):
		return fmt.Errorf("%s has mode %04o, want %04o", dest, info.Mode().Perm(), t.mode(info))
	}
	return nil
}

func (t Template) render(env *Env) ([]byte, error) {
	name := env.Source(t.Source)
	if hasMeta(t.Source) {
		var err error
		if name, err = env.One(t.Source); err != nil {
			return nil, err
		}
	}
	in, info, err := bundle.OpenRegular(name)
	if gone(err) {
		missing := Blockedf("there is no template %s", name)
		if env.Host == Remote && name == env.Source(bundlePrefix+t.Source) {
			return nil, missing.WithHint("a relative SOURCE is in the bundle; ~/%s is in the home", t.Source)
		}
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if info.Size() > maxTemplate {
		return nil, fmt.Errorf("%s: larger than 16 MiB", name)
	}
	source, err := io.ReadAll(io.LimitReader(in, maxTemplate))
	if err != nil {
		return nil, err
	}
	v := values{env: env, more: t.Values}
	tmpl, err := template.New(filepath.Base(name)).Option("missingkey=error").Funcs(template.FuncMap{
		"attr":  v.attr,
		"has":   v.has,
		"index": func(_ map[string]string, key string) (string, error) { return v.attr(key) },
	}).Parse(string(source))
	if err != nil {
		return nil, err
	}
	data, err := v.mentioned(string(source))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&bounded{w: &out, left: maxTemplate}, data); err != nil {
		var known *Error
		if errors.As(err, &known) { // a secret that cannot be had
			return nil, &Error{Status: known.Status, Err: err, Hint: known.Hint}
		}
		return nil, v.explained(err)
	}
	return out.Bytes(), nil
}

// values is what a template can ask for.
type values struct {
	env  *Env
	more map[string]string
}

func (v values) has(key string) bool {
	_, own := v.more[key]
	_, ok := v.env.Node.Lookup(key)
	return own || ok
}

func (v values) attr(key string) (string, error) {
	raw, own := v.more[key]
	if !own {
		a, ok := v.env.Node.Lookup(key)
		if !ok {
			return "", fmt.Errorf("%s has no attribute %q", v.env.Node.Name(), key)
		}
		raw = a.Value
	}
	s, err := config.Reveal(raw, v.env.Secret)
	if err != nil {
		return "", Errorf("%s: %w", key, err)
	}
	return s, nil
}

// explained adds the remedy when a key with a dot was written as a field.
func (v values) explained(err error) error {
	for _, a := range v.env.Node.Attrs() {
		if strings.Contains(a.Key, ".") && strings.Contains(err.Error(), "<."+a.Key+">") {
			return Failedf("%w", err).WithHint(`a key with a dot is written {{attr "%s"}}`, a.Key)
		}
	}
	return err
}

// mentioned is the template's data. A secret is only looked up when the
// template's text has its key: nobody is asked for one that is not used.
func (v values) mentioned(source string) (map[string]string, error) {
	data := map[string]string{}
	put := func(key, raw string) (err error) {
		if len(config.SecretNames(raw)) > 0 && !strings.Contains(source, "."+key) {
			return nil
		}
		data[key], err = v.attr(key)
		return err
	}
	for _, a := range v.env.Node.Attrs() {
		if _, own := v.more[a.Key]; own {
			continue
		}
		if err := put(a.Key, a.Value); err != nil {
			return nil, err
		}
	}
	for key, raw := range v.more {
		if err := put(key, raw); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// bounded takes no more than left bytes.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("the result is larger than 16 MiB")
	}
	return b.w.Write(p)
}

// holds tells whether a file has exactly this content.
func holds(name string, text []byte) bool {
	in, info, err := bundle.OpenRegular(name)
	if err != nil {
		return false
	}
	defer in.Close()
	if info.Size() != int64(len(text)) {
		return false
	}
	got, err := io.ReadAll(in)
	return err == nil && bytes.Equal(got, text)
}

// writeWhole writes a file under a temporary name, syncs it and renames it. old
// is what it replaces, whose owner it keeps, or nil.
func writeWhole(dest string, text []byte, mode fs.FileMode, old fs.FileInfo) (err error) {
	temp, err := freshBeside(dest)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(temp)
		}
	}()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if old != nil {
		if err := keepOwner(temp, old); err != nil {
			return err
		}
	}
	if err := errors.Join(f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, dest); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dest))
}

// freshBeside gives the name under which something is made before it is renamed
// to dest. It is always the same one, so that what a killed process has left is
// removed by whoever comes next.
func freshBeside(dest string) (string, error) {
	sum := sha256.Sum256([]byte(filepath.Base(dest)))
	temp := filepath.Join(filepath.Dir(dest), ".conc-"+hex.EncodeToString(sum[:8])+".new")
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return temp, nil
}
